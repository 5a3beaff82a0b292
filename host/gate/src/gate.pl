#!/usr/bin/perl
# rehome-gate: what a restricted ssh key of rehome's may do on this machine. sshd starts it in place of any command
# (authorized_keys, command="…"); it lets pass what is in the tables below, word for word, and nothing else.
# Invariant: whatever is asked is compared, and what runs is built from the tables; no part of a question reaches a shell.
# `rehome gate` made it from what was approved. perl 5.14 and perl-base are enough. Refusals are in this machine's log.
use strict;
use Fcntl qw(:DEFAULT :mode);
use POSIX ();

my $SELF = '@SELF@';
my $STATE = '@STATE@';
my $DIGEST = '@DIGEST@';
my ($WRAPPER, $HOLD, $WHO, $END, $SOCKET, $RELAY, $AGENT, $RECORD, $RECEIPT) = (@PROGRAMS@);
# {id, words => [literal or hole], input, ok, yields, kept}
my @COMMANDS = (@COMMANDS@);
# by root: {mode, names, scope}
my %TREES = (@TREES@);
my %SOCKETS = (@SOCKETS@);
# {host, port, socket, databases, patterns}
my $REDIS = @REDIS@;

my ($LONGEST, $FRESH) = (16 << 20, 60);
$ENV{PATH} = '@PATH@';
$ENV{LC_ALL} = 'C';
$ENV{HOME} = (getpwuid($<))[7] || '/';
delete @ENV{ grep { !/\A(?:PATH|LC_ALL|HOME)\z/ } keys %ENV };
umask 077;

sub shown { my ($text) = @_; $text =~ s/([^\x20-\x7e])/sprintf('\x%02x', ord $1)/ge; return substr($text, 0, 200) }
sub refuse {
    my $why = shown($_[0]);
    if (my $child = fork) { waitpid($child, 0) }
    elsif (defined $child) {
        open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
        exec('logger', '-t', 'rehome-gate', '-p', 'auth.warning', '--', "refused: $why");
        POSIX::_exit(127);
    }
    print STDERR "rehome-gate: $why\n";
    exit 126;
}

# The line, as rehome writes it: `exec` and words in single quotes

sub words_of {
    my ($line) = @_;
    $line =~ s/\Aexec // or refuse('a command line that is not of rehome\'s kind');
    my @words;
    while ($line =~ /\G'([^']*(?:'\\''[^']*)*)'(?: (?=')|\z)/gc) { push @words, $1 }
    refuse('a command line that is not of rehome\'s kind') if !@words || (pos($line) || 0) != length $line;
    s/'\\''/'/g for @words;
    return @words;
}

# Values

sub printable { # what every value keeps to, see value.rs
    my ($value) = @_;
    return $value ne '' && length $value <= 4096 && $value !~ /\A-/
        && $value !~ /[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]/;
}
sub file_of { my ($kind, $id) = @_; $id =~ s/[^A-Za-z0-9.-]/_/g; return "$STATE/$kind-$id" }
sub kept { # lines that were kept, and their age in seconds
    my ($file) = @_;
    sysopen(my $handle, $file, O_RDONLY | O_NOFOLLOW) or return;
    my $age = time - (stat $handle)[9];
    local $/;
    my $text = <$handle>;
    return ($age, split /\n/, defined $text ? $text : '');
}
sub keep {
    my ($file, @lines) = @_;
    mkdir($STATE, 0700) or $!{EEXIST} or refuse("$STATE cannot be made: $!");
    my $new = "$file.$$";
    unlink($new);
    sysopen(my $handle, $new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or refuse("$new cannot be written: $!");
    print $handle map { "$_\n" } @lines;
    require IO::Handle;
    $handle->flush && $handle->sync && close($handle) && rename($new, $file) or refuse("$file cannot be written: $!");
}
sub output_of { # what a command of the table prints, started by us
    my ($command) = @_;
    my $child = open(my $pipe, '-|');
    defined $child or refuse("fork: $!");
    if (!$child) {
        open(STDIN, '<', '/dev/null');
        open(STDERR, '>', '/dev/null');
        chdir('/');
        exec { $command->{words}[0] } @{ $command->{words} };
        POSIX::_exit(127);
    }
    alarm(60);
    my $text = '';
    while (sysread($pipe, my $piece, 65536)) { $text .= $piece; last if length $text > $LONGEST }
    alarm(0);
    close($pipe);
    my $status = $? >> 8;
    return scalar(grep { $_ == $status } @{ $command->{ok} }) ? $text : undef;
}
sub values_of { # what a request yields, see exec.rs
    my ($command) = @_;
    my $text = output_of($command);
    return () if !defined $text;
    my $yields = $command->{yields};
    return map { s/\s+\z//; $_ } split /\n/, $text if $yields eq 'lines';
    return split ' ', $text if $yields eq 'words';
    my ($member) = $yields =~ m{\Ajson-lines:/([A-Za-z0-9_-]+)\z} or return ();
    return $text =~ /"\Q$member\E"\s*:\s*"([^"\\]*)"/g;
}
sub is_yielded { # now, or a moment ago
    my ($value, $command) = @_;
    my $file = file_of('yielded', $command->{id});
    my ($age, @values) = kept($file);
    return 1 if defined $age && $age < $FRESH && grep { $_ eq $value } @values;
    @values = values_of($command);
    keep($file, @values);
    return scalar grep { $_ eq $value } @values;
}
sub keep_first { # the first line that a command prints, the first time it is asked for
    my ($command) = @_;
    my $file = file_of('first', $command->{kept});
    return if -e $file;
    my $text = output_of($command);
    keep($file, (split /\n/, $text)[0]) if defined $text && $text =~ /\A[^\n]/;
}
sub in_tree { # a file or folder of a tree, and no link on the way
    my ($value, $root) = @_;
    $root =~ s{/+\z}{};
    return 0 if index($value, "$root/") != 0;
    my $at = $root;
    for my $part (split m{/}, substr($value, 1 + length $root), -1) {
        return 0 if $part eq '' || $part eq '.' || $part eq '..';
        $at .= "/$part";
        my @stat = lstat($at) or return 0;
        return 0 if S_ISLNK($stat[2]);
    }
    my @stat = lstat($at);
    return S_ISREG($stat[2]) || S_ISDIR($stat[2]);
}
sub fits { # a value in a hole
    my ($value, $hole) = @_;
    return 0 if !printable($value);
    if (defined $hole->{first}) {
        my ($age, @lines) = kept(file_of('first', $hole->{first}));
        return defined $age && @lines && $lines[0] eq $value;
    }
    return in_tree($value, $hole->{root}) if defined $hole->{root};
    return 0 if $value !~ /\A(?:$hole->{pattern})\z/s;
    my @sources = @{ $hole->{of} } or return 1;
    my $count = grep { my $source = $_; ref $source ? scalar grep { $_ eq $value } @$source : is_yielded($value, by_id($source)) } @sources;
    return $hole->{all} ? $count == @sources : $count > 0;
}
sub by_id { my ($id) = @_; return (grep { $_->{id} eq $id } @COMMANDS)[0] }

# What may be run

sub line_fits { # of standard input, by its template
    my ($line, $pieces) = @_;
    my $regex = join '', map { ref $_ ? "($_->{pattern})" : quotemeta($_) } @$pieces;
    my @values = $line =~ /\A$regex\z/s or return 0;
    my @holes = grep { ref $_ } @$pieces;
    return !@holes || @values == @holes && !grep { !fits($values[$_], $holes[$_]) } 0 .. $#holes;
}
sub takes { # whether a command is granted with this input
    my ($input, $text) = @_;
    return $text eq ($input eq '' ? '' : substr($input, 1)) if !ref $input;
    return !grep { !line_fits($_, $input) } split /(?<=\n)/, $text;
}
sub sent { # all of the input
    my $text = '';
    while (sysread(STDIN, my $piece, 65536)) { $text .= $piece; refuse('its input is too long') if length $text > $LONGEST }
    return $text;
}
sub feed { # gives a command its input, by a pipe: programs that wait for events cannot wait for a file
    my ($text) = @_;
    pipe(my $read, my $write) or refuse("a pipe for its input: $!");
    # Linux's pipes take 64 KiB before anybody reads.
    my $child = length $text > 65536 ? fork : undef;
    if (!defined $child || !$child) {
        close($read) if defined $child;
        for (my $at = 0; $at < length $text; ) { $at += syswrite($write, $text, length($text) - $at, $at) || last }
        POSIX::_exit(0) if defined $child;
    }
    close($write) && open(STDIN, '<&', $read) or refuse("a pipe for its input: $!");
}
sub matches {
    my ($command, @argv) = @_;
    my @words = @{ $command->{words} };
    return 0 if @words != @argv;
    for my $at (0 .. $#words) { return 0 if !ref $words[$at] && $words[$at] ne $argv[$at] }
    for my $at (0 .. $#words) { return 0 if ref $words[$at] && !fits($argv[$at], $words[$at]) }
    return 1;
}
# Input comes only once rehome has heard that the command began: where some is expected, this program begins in its place,
# inside the wrapper, and becomes the command once it has seen the input (`run`).

sub found { # what is granted in these words; several phases may be, with another input each
    my (@argv) = @_;
    my @found = grep { matches($_, @argv) } @COMMANDS or refuse('not granted: ' . join ' ', @argv);
    return @found;
}
sub command { # of the table
    my (@argv) = @_;
    my @found = found(@argv);
    keep_first($_) for grep { defined $_->{kept} } @found;
    return @argv if grep { !ref $_->{input} && $_->{input} eq 'stream' } @found;
    return ($SELF, 'run', @argv) if grep { ref $_->{input} || $_->{input} ne '' } @found;
    feed('');
    return @argv;
}
sub run {
    my (@argv) = @_;
    my @found = found(@argv);
    my $text = sent();
    grep { takes($_->{input}, $text) } @found or refuse('not granted with this input: ' . join ' ', @argv);
    feed($text);
    exec { $argv[0] } @argv;
    print STDERR "$argv[0]: $!\n";
    POSIX::_exit(127);
}
sub agent {
    my ($root, $beside, $old) = @_;
    my $tree = $TREES{$root} or refuse("not granted: the tree $root");
    refuse('a tree under another name') if $beside =~ m{/} || $old !~ /\A1?\z/;
    return ('/usr/bin/perl', '-e', $AGENT, '--', $root, $beside, $old, $tree->{mode}, $tree->{names}, @{ $tree->{scope} });
}
sub own { # rehome's own programs; nothing where it is none of them
    my (@argv) = @_;
    if (@argv >= 4 && $argv[0] eq '/bin/sh' && $argv[1] eq '-c' && $argv[3] eq 'rehome') {
        my ($program, @rest) = @argv[2, 4 .. $#argv];
        return (@argv[0 .. 3], "$rest[0]\x1frehome-gate $DIGEST") if $program eq $WHO && @rest == 1;
        return @argv if $program eq $END && @rest == 3 && $rest[0] =~ /\A[0-9a-f]{16}\z/ && $rest[1] =~ /\A[0-9a-f]{16}\z/
            && $rest[2] =~ /\A(?:[0-9]{1,10}|\[0-9\]\*)\z/;
        return @argv if $program eq $SOCKET && @rest == 1 && $SOCKETS{ $rest[0] };
    }
    if (@argv >= 5 && $argv[0] eq '/usr/bin/perl' && $argv[1] eq '-e' && $argv[3] eq '--') {
        my ($program, @rest) = @argv[2, 4 .. $#argv];
        return agent(@rest) if $program eq $AGENT && @rest == 3;
        return @argv if $program eq $RECORD && is_record(@rest);
        return receipt(@argv) if $program eq $RECEIPT;
        return ($SELF, 'relay', @rest) if $program eq $RELAY && (@rest == 1 && $SOCKETS{ $rest[0] } || is_redis(@rest));
    }
    return;
}
sub receipt { # what became of a command, or one that leaves a receipt
    my ($root, $what, $key, @argv) = @_[4 .. $#_];
    refuse('no receipt') if @_ < 7 || $root ne '' || $key !~ /\A[0-9a-f]{32}\.[0-9]{1,20}\z/ || $what ne (@argv ? 'run' : 'look');
    return (@_[0 .. 6], @argv ? command(@argv) : ());
}
sub is_record { # whose the side is: read, or one record replaced
    my ($root, $what, $id, $text) = @_;
    return 0 if @_ < 2 || $root ne '';
    return @_ == 2 if $what eq 'look';
    return @_ == 4 && $what eq 'swap' && $id =~ /\A[0-9a-f]{32}\z/ && length $text <= 65536;
}
sub is_redis {
    my ($where, $port) = @_;
    return $REDIS && (defined $port ? $REDIS->{port} && $where eq '127.0.0.1' && $port eq $REDIS->{port}
        : defined $REDIS->{socket} && $where eq $REDIS->{socket});
}
sub answer { # what sshd was asked to run
    my @words = words_of($_[0]);
    my ($sh, $c, $wrapper, $name, $token, undef, @argv) = @words;
    # The connection's own session.
    if (@words == 5 && $sh eq '/bin/sh' && $c eq '-c' && $wrapper eq $HOLD && $name eq 'rehome' && $token =~ /\A[0-9a-f]{32}\z/) {
        exec { $sh } @words;
    }
    refuse('a command of another version of rehome; install the gate that this one prints')
        if @words < 7 || $sh ne '/bin/sh' || $c ne '-c' || $wrapper ne $WRAPPER || $name ne 'rehome';
    refuse('a token that is none') if $token !~ /\A[0-9a-f]{32}\z/;
    my @run = own(@argv);
    @run = command(@argv) if !@run;
    exec { '/bin/sh' } '/bin/sh', '-c', $WRAPPER, 'rehome', $token, $ENV{HOME}, @run;
    refuse("/bin/sh: $!");
}

# Sockets: as nobody, so that a server that knows its users by their sockets knows none of this one

sub become_nobody {
    return if $> != 0;
    my ($uid, $gid) = (getpwnam('nobody'))[2, 3];
    $uid or die "there is no user nobody\n";
    $) = "$gid $gid";
    $( = $gid;
    $< = $> = $uid;
    die "cannot become nobody: $!\n" if $< != $uid || $> != $uid || $) !~ /\A$gid(?: $gid)?\z/;
}
sub relay {
    my (@where) = @_;
    if (is_redis(@where)) { become_nobody() if @where == 2; redis(@where); exit 0 }
    die "not granted: @where\n" if @where != 1 || !$SOCKETS{ $where[0] };
    become_nobody();
    exec { '/usr/bin/perl' } '/usr/bin/perl', '-e', $RELAY, '--', @where;
    die "perl: $!\n";
}

# Redis: commands that read keys of the granted patterns, and nothing else

@GLOB@
sub may_ask {
    my ($name, @rest) = @_;
    $name = uc $name;
    my @patterns = @{ $REDIS->{patterns} };
    return 1 if $name eq 'PING' || $name eq 'QUIT' || $name eq 'AUTH';
    return @rest == 1 && lc $rest[0] eq 'server' if $name eq 'INFO';
    return @rest == 1 && scalar grep { $_ eq $rest[0] } @{ $REDIS->{databases} } if $name eq 'SELECT';
    return @rest == 5 && uc $rest[1] eq 'MATCH' && uc $rest[3] eq 'COUNT' && scalar grep { $_ eq $rest[2] } @patterns
        if $name eq 'SCAN';
    my %reads = (PTTL => 1, DUMP => 1, TYPE => 1, GET => 1, HGETALL => 1, SMEMBERS => 1, LRANGE => 3, ZRANGE => 4, XRANGE => 3);
    return $reads{$name} && @rest == $reads{$name} && scalar grep { $rest[0] =~ glob_to_regex($_) } @patterns;
}
sub redis {
    my ($where, $port) = @_;
    require Socket;
    my $family = defined $port ? Socket::PF_INET() : Socket::PF_UNIX();
    my $name = defined $port ? Socket::pack_sockaddr_in($port, Socket::inet_aton($where)) : Socket::pack_sockaddr_un($where);
    socket(my $server, $family, Socket::SOCK_STREAM(), 0) or die "socket: $!\n";
    connect($server, $name) or die "@_: $!\n";
    $SIG{PIPE} = 'IGNORE';
    my $child = fork;
    defined $child or die "fork: $!\n";
    if (!$child) { pump($server, \*STDOUT); kill('TERM', getppid()); POSIX::_exit(0) }
    my $in = '';
    while (1) {
        my ($used, @request) = request($in);
        if (!$used) {
            last if !sysread(STDIN, $in, 65536, length $in);
            die "a request that is too long\n" if length $in > $LONGEST;
            next;
        }
        if (!may_ask(@request)) { kill('TERM', $child); refuse("not granted: Redis, $request[0]" . (@request > 1 ? ' ' . $request[1] : '')) }
        send_all($server, substr($in, 0, $used));
        substr($in, 0, $used) = '';
    }
    shutdown($server, 1);
    waitpid($child, 0);
}
sub request { # the first whole one in a buffer, and its length; nothing where more must come
    my ($in) = @_;
    $in =~ /\A\*([1-9][0-9]?)\r\n/g or (length $in > 16 ? die "not a request of Redis\n" : return 0);
    my ($count, $at, @words) = ($1, pos $in);
    while ($count--) {
        pos($in) = $at;
        $in =~ /\G\$([0-9]{1,8})\r\n/gc or (length($in) - $at > 16 ? die "not a request of Redis\n" : return 0);
        my ($length, $from) = ($1, pos $in);
        return 0 if length $in < $from + $length + 2;
        push @words, substr($in, $from, $length);
        $at = $from + $length + 2;
    }
    return ($at, @words);
}
sub send_all {
    my ($out, $bytes) = @_;
    for (my $at = 0; $at < length $bytes; ) { $at += syswrite($out, $bytes, length($bytes) - $at, $at) || die "it takes no more\n" }
}
sub pump { my ($in, $out) = @_; while (sysread($in, my $bytes, 65536)) { send_all($out, $bytes) } }

if (@ARGV > 1 && $ARGV[0] eq 'relay') { relay(@ARGV[1 .. $#ARGV]) }
elsif (@ARGV > 1 && $ARGV[0] eq 'run') { run(@ARGV[1 .. $#ARGV]) }
elsif (@ARGV == 1 && $ARGV[0] ne '') { answer($ARGV[0]) }
else { refuse('nothing was asked for: this key is for rehome alone') }
