# On a side: runs a command that must not be done twice, and keeps a receipt of it that says whether it began and how it ended,
# also where nobody hears of it any more: the link, rehome or its machine may be gone by then.
# Invariant: a receipt is made once, and is on the disk before its command begins; whoever looks for one that is not there
# leaves one that says so, and the command can never begin after that.
# Arguments: root of the side, `run`, a key, and the command; or root, `look`, a key, which prints `none`, `running`, `gone`
# (it began, is not there any more, and left no status), or `ended STATUS`, a line feed and what it wrote to standard output
# (or `ended STATUS -`: that was too much to keep).
use strict;
use Fcntl qw(:DEFAULT :flock);
use POSIX ();
use IO::Handle;

my ($root, $what, $key, @command) = @ARGV;
my $MOST = 65536;
my $folder = "$root/var/lib/rehome/receipts";
umask 077;
binmode($_) for *STDIN, *STDOUT;

sub decline { print STDERR "no receipt: $_[0]\n"; exit 125 }
sub to_disk { # fsync(2) of a folder
    my ($name) = @_;
    my $handle;
    sysopen($handle, $name, O_RDONLY | O_NOFOLLOW) && $handle->sync or decline("$name cannot be brought to disk: $!");
}
sub make_folder {
    my ($name, $above) = @_;
    if (mkdir($name, 0700)) { to_disk($above) }
    elsif (!$!{EEXIST}) { decline("$name cannot be made: $!") }
}
sub create { # a receipt that is not there yet; nothing where it is
    my ($at) = ("$root/var/lib");
    for my $name ("$at/rehome", $folder) { make_folder($name, $at); $at = $name }
    sysopen(my $handle, "$folder/$key", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600)
        or ($!{EEXIST} ? return : decline("$folder/$key cannot be made: $!"));
    return $handle;
}
sub note { # a line, on the disk when it returns
    my ($handle, $text) = @_;
    print($handle $text) && $handle->flush && $handle->sync or decline("$folder/$key cannot be written: $!");
}
sub since { # when a process began, by its number: proc_pid_stat(5); nothing where there is none, or a dead one
    open(my $in, '<', "/proc/$_[0]/stat") or return '';
    my $line = <$in>;
    my ($state, @rest) = split ' ', substr($line, 2 + rindex($line, ')'));
    return $state eq 'Z' || $state eq 'X' ? '' : $rest[18];
}
sub boot {
    open(my $in, '<', '/proc/sys/kernel/random/boot_id') or return '-';
    my $line = <$in>;
    return $line =~ /\A([0-9a-f-]{36})$/ ? $1 : '-';
}

decline('it does not say for what') if !defined $key || $key !~ /\A[0-9a-f]{32}\.[0-9]{1,20}\z/;
if ($what eq 'look') {
    my $handle = create();
    if ($handle) {
        note($handle, "void\n");
        to_disk($folder);
        print "none\n";
        exit 0;
    }
    sysopen($handle, "$folder/$key", O_RDWR | O_NOFOLLOW) or decline("$folder/$key cannot be read: $!");
    # Whoever runs the command holds this lock from the beginning.
    if (!flock($handle, LOCK_EX | LOCK_NB)) { print "running\n"; exit 0 }
    my $text = do { local $/; <$handle> };
    $text = '' if !defined $text;
    # Made a moment ago, perhaps, by somebody who has yet to lock it: then it is given up before that.
    note($handle, "void\n") if $text eq '';
    if ($text !~ /\Abegun (\S+) ([0-9]+) ([0-9]+)\n(.*)\z/s) { print "none\n"; exit 0 }
    my ($on, $process, $since, $end) = ($1, $2, $3, $4);
    if ($end =~ /\Aended ([0-9]+) -\n\z/) { print "ended $1 -\n" }
    elsif ($end =~ /\Aended ([0-9]+) ([0-9]+)\n(.*)\z/s && length $3 == $2) { print "ended $1\n$3" }
    elsif ($on eq boot() && since($process) eq $since) { print "running\n" }
    else { print "gone\n" }
    exit 0;
}
decline('it does not say what to do') if $what ne 'run' || !@command;
my $handle = create() or decline("$folder/$key is there already: the command was begun before, or given up");
flock($handle, LOCK_EX | LOCK_NB) && -z $handle or decline("$folder/$key was looked at meanwhile: the command was given up");
to_disk($folder);
pipe(my $waits, my $go) && pipe(my $said, my $saying) or decline("a pipe: $!");
# The whole group is asked to end when the time is over: the command does, and how it ended is written down.
$SIG{$_} = sub { } for qw(HUP INT TERM);
$SIG{PIPE} = 'IGNORE';
my $child = fork;
defined $child or decline("fork: $!");
if (!$child) {
    # So that it ends with us where its beginning cannot be written down.
    close($go);
    $SIG{PIPE} = 'DEFAULT';
    sysread($waits, my $word, 1) or POSIX::_exit(125);
    open(STDOUT, '>&', $saying) or POSIX::_exit(125);
    exec { $command[0] } @command;
    print STDERR "$command[0]: $!\n";
    POSIX::_exit(127);
}
close($_) for $waits, $saying;
note($handle, 'begun ' . boot() . " $child " . since($child) . "\n");
syswrite($go, 'x');
my ($output, $ended, $status) = ('', 0);
while (1) {
    if (!$ended && waitpid($child, POSIX::WNOHANG()) == $child) { ($ended, $status) = (1, $?) }
    my $reads = '';
    vec($reads, fileno($said), 1) = 1;
    # What a daemon that it started may say later is nobody's.
    my $count = select($reads, undef, undef, $ended ? 0 : 0.05);
    last if $ended && $count <= 0;
    next if $count <= 0;
    my $got = sysread($said, my $piece, 65536);
    next if !defined $got && $!{EINTR};
    if (!$got) {
        # Its output is closed: there is nothing else to wait for.
        while (!$ended) { if (waitpid($child, 0) == $child) { ($ended, $status) = (1, $?) } }
        last;
    }
    for (my $at = 0; $at < $got; ) {
        my $sent = syswrite(STDOUT, $piece, $got - $at, $at);
        if (!defined $sent) { next if $!{EINTR}; last }
        $at += $sent;
    }
    $output .= $piece if length $output <= $MOST;
}
my $told = $status & 127 ? 128 + ($status & 127) : $status >> 8;
# Where that cannot be written down any more, whoever listens hears it all the same.
my $end = length $output > $MOST ? "ended $told -\n" : "ended $told " . length($output) . "\n$output";
print($handle $end) && $handle->flush && $handle->sync or print STDERR "no receipt of the end: $folder/$key cannot be written: $!\n";
exit $told;
