# The far hand of rehome: works inside one folder, for a program that sends it frames on stdin.
# Invariant: every path is opened part by part from the root's handle with O_NOFOLLOW, and only bare names are acted on.
# perl 5.14, perl-base and coreutils are enough (Debian 7). The frames are described in wire.rs; local*.rs do the same in Rust.
# What it is asked for and was not started for is refused: `fetch` (for another hand, which fetches from it directly) reads
# content, `list` looks, `read` does both, `add` also adds files, and replaces and sets aside those of certain names.
use strict;
use Fcntl qw(:DEFAULT :flock :mode);
use POSIX qw(EACCES EAGAIN EEXIST EIO ELOOP ENOENT ENOTDIR EPERM EROFS EXDEV);
use Config;

# With a mode, only names that match one of the globs in $replaces are replaced (they hold no `/`, which parts them), and only
# what is below one of the folders in @scope is opened, if there are any.
my ($tree, $beside, $old, $mode, $replaces, @scope) = @ARGV;
$mode = '' if !defined $mode;
my ($LONGEST, $PIECE, $FEW, $VERSIONS, $O_NOATIME, $OMIT) = (1 << 20, 65536, 16, 10000, 0x40000, (1 << 30) - 2);
$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
$ENV{LC_ALL} = 'C';
umask 0;

# What perl has no word for, by number: [lstat, fstat, utimensat, syncfs, clock_gettime, size of struct stat, where its
# st_mtime is (st_ctime follows), how a time is packed, llistxattr, flistxattr, lgetxattr, fgetxattr, fsetxattr,
# fremovexattr, and, where perl has words for it, struct stat in perl's order with the nanoseconds of st_mtime and st_ctime].
# On another machine times are whole seconds and every file is fsynced.
my %machines = (
    'x86_64'  => [262, 5, 280, 306, 228, 144, 88, 'q2', 195, 196, 192, 193, 190, 199,
        '@0Q @8Q @24L @16Q @28L @32L @40Q @48q @72q @88q @104q @56q @64q @96q @112q'],
    'aarch64' => [79, 80, 88, 267, 113, 128, 88, 'q2', 12, 13, 9, 10, 7, 16,
        '@0Q @8Q @16L @20L @24L @28L @32Q @48q @72q @88q @104q @56l @64q @96q @112q'],
    'i[3-6]86' => [300, 197, 320, 344, 265, 96, 72, 'l2', 233, 234, 230, 231, 228, 237],
);
my ($call) = map { $machines{$_} } grep { $Config{archname} =~ /^$_/ } keys %machines;

# Where we are, and the folders on the way there: [path, handle].
my ($root, $here, $here_handle, @above, $locked, %user, %group, %uid, %gid);
my ($writing, %changed, %known);
# With a mode: letters of what may be asked, what was made here, and what names may be replaced.
my ($allowed, %made, @replaceable);
my $unsynced = {}; # beside the folders in %changed: {few => [handles], file_systems => {device => handle}}
my ($in, $out) = ('', '');
# Another hand that we fetch from; how much of $in was asked for ahead, and whether the frame at hand was.
my ($link, $ahead, $asked) = (undef, 0, 0);

# Frames

sub flush {
    while (length $out) {
        my $sent = syswrite(STDOUT, $out);
        if (!defined $sent) { next if $!{EINTR}; exit 1 }
        substr($out, 0, $sent) = '';
    }
}
# The letter comes last: a byte that might begin a line of the wrapper around this program is only passed on with the next one.
sub send_raw { # without copies of what may be long
    $out .= pack('N', 1 + length $_[1]);
    $out .= $_[1];
    $out .= $_[0];
    flush() if length $out > $PIECE;
}
sub tell_back { my $letter = shift; send_raw($letter, pack('(N/a*)*', @_)) }

sub next_frame {
    while (1) {
        if (length $in >= 4) {
            my $length = unpack('N', $in);
            exit 1 if $length < 1 || $length > $LONGEST;
            if (length $in >= 4 + $length) {
                my $frame = substr($in, 4, $length);
                substr($in, 0, 4 + $length) = '';
                $asked = $ahead > 0;
                $ahead -= 4 + $length if $asked;
                return $frame;
            }
        }
        flush();
        # Until more is asked for somebody may move the folders that we are in.
        undef $here;
        @above = ();
        # Nobody there for two minutes (rehome says something every 20 s): give up the lock by ending.
        alarm($mode eq 'fetch' ? 600 : $locked ? 120 : 0);
        my $got = sysread(STDIN, $in, 2 * $PIECE, length $in);
        alarm(0);
        if (!defined $got) { next if $!{EINTR}; exit 1 }
        exit 0 if !$got;
    }
}

# Failures: a reference to [why, path]

sub fault { die [@_] }
sub system_fault { my $number = $! + 0; die ["E$number"] }
sub fault_is { my ($fault, @numbers) = @_; ref $fault && scalar grep { $fault->[0] eq "E$_" } @numbers }
sub vanished { my ($fault) = @_; fault_is($fault, ENOENT, ENOTDIR, ELOOP) || ref $fault && $fault->[0] eq 'regular' }

# Places

my $FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

sub enter { # into a folder of the one we are in
    my ($name) = @_;
    my $handle;
    sysopen($handle, $name, $FOLDER) && chdir($handle) or system_fault();
    return $handle;
}
sub in_scope { # it is below a folder of the scope, or on the way to one
    my ($path) = @_;
    return $path eq '' || scalar grep { index("$path/", "$_/") == 0 || index("$_/", "$path/") == 0 } @scope;
}
sub folder { # into a folder below the root
    my ($path) = @_;
    return $here_handle if defined $here && $here eq $path;
    fault('E' . EPERM) if @scope && !in_scope($path);
    undef $here;
    pop @above while @above && index("$path/", "$above[-1][0]/") != 0;
    my ($at, $handle) = @above ? @{ $above[-1] } : ('', $root);
    chdir($handle) or system_fault();
    my $rest = $at eq '' ? $path : length $at == length $path ? '' : substr($path, 1 + length $at);
    for my $part (split m{/}, $rest, -1) {
        fault('path') if $part eq '' || $part eq '.' || $part eq '..' || index($part, "\0") >= 0;
        $handle = enter($part);
        $at = $at eq '' ? $part : "$at/$part";
        push @above, [$at, $handle];
    }
    ($here, $here_handle) = ($path, $handle);
    return $handle;
}
sub parent_of { my $cut = rindex($_[0], '/'); return $cut < 0 ? '' : substr($_[0], 0, $cut) }
sub place { # into the folder that holds it; returns the bare name
    my ($path) = @_;
    my $cut = rindex($path, '/');
    my $name = substr($path, $cut + 1);
    fault('path') if $name eq '' || $name eq '.' || $name eq '..' || index($name, "\0") >= 0;
    fault('E' . EPERM) if @scope && !in_scope($path);
    my $folder = $cut < 0 ? '' : substr($path, 0, $cut);
    folder($folder) if !defined $here || $here ne $folder;
    return $name;
}
sub moved { # what lies in it is opened from the root again
    my ($path) = @_;
    undef $here if defined $here && index("$here/", "$path/") == 0;
    @above = grep { index("$_->[0]/", "$path/") != 0 } @above;
}
sub through { # a name in another folder than the one we are in; the kernel goes through the handle, not through a path
    my ($handle, $name) = @_;
    return '/proc/self/fd/' . fileno($handle) . "/$name";
}

# Looking

sub nanoseconds { # of modification and change; nothing when these changed since they were $modified and $changed
    my ($what, $modified, $changed) = @_;
    return (0, 0) if !$call;
    my $buffer = "\0" x $call->[5];
    my $done = ref $what
        ? syscall($call->[1], fileno($what), $buffer)
        : syscall($call->[0], -100, "$what", $buffer, 0x100);
    return if $done != 0;
    my ($is_modified, $of_modified, $is_changed, $of_changed) = unpack("x$call->[6] $call->[7] $call->[7]", $buffer);
    return $is_modified == $modified && $is_changed == $changed ? ($of_modified, $of_changed) : ();
}
my $stat = "\0" x 256;
sub look { # stat without following; the last elements are nanoseconds of modification and change
    my ($what) = @_;
    if ($call && $call->[14]) {
        my $done = ref $what
            ? syscall($call->[1], fileno($what), $stat)
            : syscall($call->[0], -100, "$what", $stat, 0x100);
        return $done == 0 ? unpack($call->[14], $stat) : system_fault();
    }
    for (1 .. 100) {
        my @stat = ref $what ? stat($what) : lstat($what);
        @stat or system_fault();
        my @nanoseconds = nanoseconds($what, $stat[9], $stat[10]);
        return (@stat, @nanoseconds) if @nanoseconds;
    }
    fault('E' . EAGAIN);
}
my %kinds = (S_IFREG, 'f', S_IFDIR, 'd', S_IFLNK, 'l');
sub kind { return $kinds{ $_[0] & S_IFMT } || 'o' }
sub user_name {
    my ($uid) = @_;
    if (!defined $user{$uid}) { my $name = getpwuid($uid); $user{$uid} = defined $name ? $name : $uid }
    return $user{$uid};
}
sub group_name {
    my ($gid) = @_;
    if (!defined $group{$gid}) { my $name = getgrgid($gid); $group{$gid} = defined $name ? $name : $gid }
    return $group{$gid};
}

# Attributes: a hash of names and values; an ACL is text with names in it, see attributes.rs

my ($MOST_ATTRIBUTES, $E2BIG, $ERANGE, $ENOSYS, $ENODATA, $EOPNOTSUPP) = (256 * 1024, 7, 34, 38, 61, 95);

sub whole { # what a call writes into a buffer that is large enough; undef where there is nothing such
    my ($number, @words) = @_;
    for (my $room = 4096; $room <= $MOST_ATTRIBUTES; $room *= 4) {
        my $buffer = "\0" x $room;
        my $length = syscall($number, @words, $buffer, $room);
        return substr($buffer, 0, $length) if $length >= 0;
        return if $! == $ENODATA || $! == $EOPNOTSUPP;
        system_fault() if $! != $ERANGE;
    }
    fault("E$E2BIG");
}
my $names = "\0" x 256;
sub has_attributes { my ($name) = @_; return syscall($call->[8], "$name", $names, 256) != 0 } # or cannot tell
sub attributes { # of an entry by its bare name, or of a file that is open
    my ($what) = @_;
    my ($list, $get, $word) = ref $what ? @$call[9, 11] : @$call[8, 10];
    $word = ref $what ? fileno($what) : "$what";
    my $names = whole($list, $word);
    my %all;
    for my $name (split /\0/, defined $names ? $names : '') {
        next if $name !~ /\Auser\./ && $name !~ /\Asystem\.posix_acl_(?:access|default)\z/;
        my $value = whole($get, $word, "$name");
        next if !defined $value;
        $all{$name} = $name =~ /\Auser\./ ? $value : acl_text($value);
    }
    return \%all;
}
sub packed {
    my ($all) = @_;
    my $bytes = join '', map { pack('N/a* N/a*', $_, $all->{$_}) } sort keys %$all;
    fault("E$E2BIG") if length $bytes > $MOST_ATTRIBUTES;
    return $bytes;
}
sub acl_text {
    my ($version, @entries) = unpack('V (v v V)*', $_[0]);
    my $text = '';
    while (my ($tag, $permissions, $id) = splice(@entries, 0, 3)) {
        $text .= "$tag $permissions " . ($tag == 2 ? user_name($id) : $tag == 8 ? group_name($id) : '') . "\n";
    }
    return $text;
}
sub acl_value {
    my $value = pack('V', 2);
    for my $line (split /\n/, $_[0]) {
        my ($tag, $permissions, $name) = split / /, $line, 3;
        my $id = $tag == 2 ? uid_of($name) : $tag == 8 ? gid_of($name) : 0xffffffff;
        $value .= pack('v v V', $tag, $permissions, $id);
    }
    return $value;
}
sub set_attributes { # of a file that is open; those that are not copied stay
    my ($file, $wanted) = @_;
    return if !$call;
    my $present = attributes($file);
    return if packed($present) eq $wanted;
    my %wanted = unpack('(N/a*)*', $wanted);
    for my $name (keys %$present) {
        next if exists $wanted{$name};
        syscall($call->[13], fileno($file), "$name") == 0 or system_fault();
    }
    for my $name (keys %wanted) {
        my $value = $name =~ /\Auser\./ ? $wanted{$name} : acl_value($wanted{$name});
        syscall($call->[12], fileno($file), "$name", $value, length $value, 0) == 0 or system_fault();
    }
}
sub fields_of { # an entry
    my ($name) = @_;
    my @s = look($name);
    my $kind = kind($s[2]);
    my ($points_to, $attributes) = ('', '');
    if ($kind eq 'l') { $points_to = readlink($name); defined $points_to or system_fault() }
    elsif ($call && has_attributes($name)) { $attributes = packed(attributes($name)) }
    my ($user, $group) = ($user{ $s[4] }, $group{ $s[5] });
    $user = user_name($s[4]) if !defined $user;
    $group = group_name($s[5]) if !defined $group;
    return ($name, $kind, @s[7, 9, 13, 10, 14], $s[2] & 07777, $user, $group, @s[3, 0, 1], $attributes, $points_to);
}
sub all_names { # of a folder below the root, with `.` and `..`, and perhaps one twice
    my ($path) = @_;
    folder($path);
    opendir(my $listing, '.') or system_fault();
    # An error in the middle shows in $! alone: what looks like the end must not make files look deleted.
    $! = 0;
    my @all = readdir($listing);
    system_fault() if $!;
    closedir($listing);
    return @all;
}
sub names_in { # of a folder below the root
    # Some file systems tell a name twice when it is replaced meanwhile (btrfs).
    my %names;
    @names{all_names(@_)} = ();
    delete @names{'.', '..'};
    return keys %names;
}
sub list_folder { # returns the folders in it: name, and key as in %known
    my ($path) = @_;
    my (@inner, @entries);
    for my $name (sort(names_in($path))) {
        # A file like nearly all, in few words; whatever else there is takes its time.
        if ($call && $call->[14] && syscall($call->[0], -100, $name, $stat, 0x100) == 0) {
            my @s = unpack($call->[14], $stat);
            if (($s[2] & S_IFMT) == S_IFREG && defined $user{ $s[4] } && defined $group{ $s[5] }
                && syscall($call->[8], $name, $names, 256) == 0) {
                push @entries, $name, 'f', @s[7, 9, 13, 10, 14], $s[2] & 07777, $user{ $s[4] }, $group{ $s[5] }, @s[3, 0, 1], '', '';
                if (@entries > 15 * 200) { tell_back('e', $path, @entries); @entries = () }
                next;
            }
        }
        my @fields = eval { fields_of($name) };
        if (!@fields) { next if vanished($@); die $@ }
        push @inner, [$name, "@fields[11, 12, 5, 6]"] if $fields[1] eq 'd';
        push @entries, @fields;
        if (@entries > 15 * 200) { tell_back('e', $path, @entries); @entries = () }
    }
    tell_back('e', $path, @entries);
    return @inner;
}
sub tell_names {
    my ($path) = @_;
    my @names = grep { $_ ne '.' && $_ ne '..' } all_names($path);
    do { tell_back('n', $path, join("\0", splice(@names, 0, 1000), '')) } while @names;
}
sub find_links {
    my ($below, @inodes) = @_;
    my %wanted;
    @wanted{@inodes} = ();
    my @waiting = ($below);
    while (@waiting) {
        my $path = pop @waiting;
        my @names = eval { names_in($path) };
        if (my $fault = $@) { next if vanished($fault); die $fault }
        my @entries;
        for my $name (@names) {
            my @stat = lstat($name) or next;
            if (S_ISDIR($stat[2])) { push @waiting, $path eq '' ? $name : "$path/$name" }
            elsif (exists $wanted{"$stat[0] $stat[1]"}) {
                my @fields = eval { fields_of($name) };
                push @entries, @fields;
            }
        }
        tell_back('e', $path, @entries) if @entries;
    }
}
sub list {
    my ($below, $depth, $pruned) = @_;
    folder($below);
    my @waiting = ([$below, $depth, '']);
    while (@waiting) {
        my ($path, $depth, $key) = @{ pop @waiting };
        my $leaf = $pruned && $key ne '' ? $known{$path} : undef;
        if (defined $leaf && $leaf eq $key) { tell_back('s', $path); next }
        # The last one is taken first: `new` before `cur`, so that a message on its way is seen twice rather than never.
        my @inner = eval { defined $leaf ? tell_names($path) : list_folder($path) };
        if (my $fault = $@) {
            if (vanished($fault) && $path ne $below) { tell_back('g', $path); next }
            die ref $fault ? [$fault->[0], $path] : $fault;
        }
        next if defined $leaf || $depth <= 1;
        push @waiting, map { [($path eq '' ? $_->[0] : "$path/$_->[0]"), $depth - 1, $_->[1]] } @inner;
    }
}

# Content

sub now {
    my $buffer = "\0" x 16;
    return (time, 0) if !$call || syscall($call->[4], 0, $buffer) != 0;
    return unpack($call->[7], $buffer);
}
sub unripe { # how long to wait until a later change must have a later time
    my (@stat) = @_;
    my $tick = $stat[13] ? 0.05 : 1.05;
    my ($seconds, $nanoseconds) = now();
    my $wait = $stat[9] - $seconds + ($stat[13] - $nanoseconds) / 1e9 + $tick;
    return $wait <= 0 || $wait > $tick + 0.02 ? 0 : $wait;
}
my $QUIETLY = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
sub open_quietly {
    my ($name) = @_;
    my $handle;
    sysopen($handle, $name, $QUIETLY | $O_NOATIME) or $!{EPERM} && sysopen($handle, $name, $QUIETLY) or system_fault();
    return $handle;
}
sub fetch {
    my ($file, $most, $ripen) = @_;
    my $handle = open_quietly(place($file));
    my @before = look($handle);
    fault('regular') if !S_ISREG($before[2]);
    my $wait = $ripen ? unripe(@before) : 0;
    if ($wait) { select(undef, undef, undef, $wait); @before = look($handle) }
    # Written to again: perhaps at this moment, and the time of a write is that of its beginning.
    my $restless = $ripen && unripe(@before);
    my $left = $before[7];
    fault('large') if $left > $most;
    tell_back('o', $left, $before[9], $before[13]);
    if ($restless) { tell_back('c', 1); return }
    while ($left > 0) {
        my $got = sysread($handle, my $piece, $left < $PIECE ? $left : $PIECE);
        if (!defined $got) { next if $!{EINTR}; system_fault() }
        last if !$got;
        $left -= $got;
        send_raw('d', $piece);
    }
    my @after = look($handle);
    my $changed = $left > 0 || $after[7] != $before[7] || $after[9] != $before[9] || $after[13] != $before[13];
    tell_back('c', $changed ? 1 : 0);
}

# Hashes (SHA-256). Digest::SHA comes with perl and not with perl-base; then it is sha256sum, which opens the files anew by
# the numbers of their handles, never by a path, and perhaps leaves a time of access.

sub to_hash { # the handle of a regular file, and what it is; nothing where it cannot be read
    my ($file) = @_;
    my $whole = eval {
        my $handle = open_quietly(place($file));
        my @stat = look($handle);
        fault('regular') if !S_ISREG($stat[2]);
        [$handle, @stat];
    };
    die $@ if !$whole && !ref $@;
    return $whole;
}
sub is_as_before {
    my ($handle, @before) = @{ $_[0] };
    my @after = eval { look($handle) };
    return @after && $after[7] == $before[7] && $after[9] == $before[9] && $after[13] == $before[13];
}
sub hash_by_perl {
    my ($handle, @stat) = @{ $_[0] };
    my ($sha, $left) = (Digest::SHA->new(256), $stat[7]);
    while ($left > 0) {
        my $got = sysread($handle, my $piece, $left < $PIECE ? $left : $PIECE);
        if (!defined $got) { next if $!{EINTR}; return '' }
        return '' if !$got;
        $left -= $got;
        $sha->add($piece);
    }
    return $sha->digest;
}
sub hashes_by_program { # by number of the handle
    my @numbers = map { fcntl($_->[0], F_SETFD, 0); fileno($_->[0]) } @_;
    return {} if !@numbers;
    my $child = open(my $pipe, '-|');
    defined $child or system_fault();
    if (!$child) {
        open(STDERR, '>', '/dev/null');
        exec('sha256sum', '--', map { "/proc/self/fd/$_" } @numbers);
        POSIX::_exit(127);
    }
    my %hashes;
    while (my $line = <$pipe>) {
        $hashes{$2} = pack('H64', $1) if $line =~ m{\A([0-9a-f]{64}) [ *]/proc/self/fd/([0-9]+)$};
    }
    # A file that cannot be read has no line, which is an answer; a program that is not there is none.
    fault("E$ENOSYS") if !close($pipe) && $? >> 8 == 127;
    return \%hashes;
}
sub tell_hashes {
    my @files = map { scalar to_hash($_) } @_;
    my $by_perl = $old eq '' && eval { require Digest::SHA; 1 };
    my $hashes = $by_perl ? {} : hashes_by_program(grep { $_ } @files);
    my $hash = sub { $by_perl ? hash_by_perl($_[0]) : $hashes->{ fileno($_[0][0]) } };
    my @told;
    for my $file (@files) {
        my $told = $file ? $hash->($file) : undef;
        push @told, defined $told && is_as_before($file) ? $told : '';
    }
    tell_back('x', @told);
}

# Writing

sub message { # a small file that never changes, in one piece
    my ($file, $most) = @_;
    my $name = place($file);
    # A handle of perl's is slower to make than such a file is to read.
    my $number = $call && $call->[14] ? POSIX::open($name, $QUIETLY | $O_NOATIME) : undef;
    if (!defined $number) {
        my $handle = open_quietly($name);
        my @stat = stat($handle) or system_fault();
        send_raw('w', content($handle, $most, @stat));
        return;
    }
    my $content = eval {
        syscall($call->[1], $number, $stat) == 0 or system_fault();
        content($number, $most, unpack($call->[14], $stat));
    };
    my $fault = $@;
    POSIX::close($number);
    die $fault if !defined $content;
    send_raw('w', $content);
}
sub content { # of a file that is open: a handle, or its number
    my ($file, $most, @stat) = @_;
    fault('regular') if !S_ISREG($stat[2]);
    fault('large') if $stat[7] > $most;
    my ($content, $piece) = ('', '');
    while ((my $left = $stat[7] - length $content) > 0) {
        my $got = ref $file ? sysread($file, $piece, $left) : POSIX::read($file, $piece, $left);
        if (!defined $got) { next if $!{EINTR}; system_fault() }
        last if $got == 0;
        # Nearly always it is all there is.
        if (length $content) { $content .= $piece } else { $content = $piece }
    }
    return $content;
}
sub note_made { $made{ $_[0] } = 1 if defined $allowed }
sub forbid_setuid { fault('E' . EPERM) if defined $allowed && $_[0] ne '' && $_[0] & 06000 }
sub put { my ($path, $content, @rest) = @_; begin($path); more($content); finish(@rest) }
sub begin {
    my ($path) = @_;
    $writing = { path => $path };
    my $done = eval {
        my $name = place($path);
        sysopen($writing->{handle}, $name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or system_fault();
        note_made($path);
        1;
    };
    $writing->{fault} = $@ if !$done;
}
sub more {
    my ($piece) = @_;
    return if !$writing || $writing->{fault};
    my $at = 0;
    while ($at < length $piece) {
        my $sent = syswrite($writing->{handle}, $piece, length($piece) - $at, $at);
        if (!defined $sent) { next if $!{EINTR}; $writing->{fault} = ['E' . ($! + 0)]; return }
        $at += $sent;
    }
}
sub finish {
    my ($mode, $user, $group, $attributed, $attributes, $seconds, $nanoseconds) = @_;
    my $w = $writing or fault('path');
    undef $writing;
    die $w->{fault} if $w->{fault};
    forbid_setuid($mode);
    my @stat = look($w->{handle});
    give($w->{handle}, \@stat, $user, $group);
    set_attributes($w->{handle}, $attributes) if $attributed;
    chmod($mode, $w->{handle}) or system_fault();
    set_time($w->{handle}, $seconds, $nanoseconds) if $seconds ne '';
    note($unsynced, $w->{handle});
    $changed{parent_of($w->{path})} = 1;
}
# (agent_fetch.pl)
# Durability: a few are synced one by one, many by one syncfs a file system

sub bring_to_disk { # fsync(2); perl has no word of its own for it
    my ($handle) = @_;
    require IO::Handle;
    $handle->sync or system_fault();
}
sub note { # something to sync later
    my ($handles, $handle) = @_;
    if (!$call) { bring_to_disk($handle); return }
    push @{ $handles->{few} }, $handle;
    group_noted($handles) if @{ $handles->{few} } > $FEW;
}
sub group_noted { my ($handles) = @_; $handles->{file_systems}{ (stat $_)[0] } ||= $_ for @{ delete $handles->{few} || [] } }
sub sync_all { # every file that was finished, every name that changed
    my ($handles, @paths) = ($unsynced, sort keys %changed);
    $unsynced = {};
    %changed = ();
    for my $path (@paths) {
        my $handle = eval { folder($path) };
        # A folder that was itself set aside meanwhile needs nothing: it was part of what was moved.
        if (!$handle) { next if vanished($@); die $@ }
        note($handles, $handle);
    }
    group_noted($handles) if $handles->{file_systems};
    bring_to_disk($_) for @{ $handles->{few} || [] };
    for my $handle (values %{ $handles->{file_systems} || {} }) {
        syscall($call->[3], fileno($handle)) == 0 or system_fault();
    }
}

# Owners, modes, times

sub number {
    my ($known, $name, $asked, $what) = @_;
    return $known->{$name} if defined $known->{$name};
    $asked = $name if !defined $asked && $name =~ /\A[0-9]{1,10}\z/;
    defined $asked or fault($what);
    return $known->{$name} = $asked;
}
sub uid_of { my ($user) = @_; return number(\%uid, $user, defined $uid{$user} ? undef : scalar getpwnam($user), 'user') }
sub gid_of { my ($group) = @_; return number(\%gid, $group, defined $gid{$group} ? undef : scalar getgrnam($group), 'group') }
sub ids { my ($user, $group) = @_; return (uid_of($user), gid_of($group)) }
sub give { # to a file that is open, or to a link by its bare name; only where it differs
    my ($what, $stat, $user, $group) = @_;
    return if $user eq '';
    my ($uid, $gid) = ids($user, $group);
    return if $stat->[4] == $uid && $stat->[5] == $gid;
    if (ref $what) { chown($uid, $gid, $what) or system_fault() }
    else { POSIX::lchown($uid, $gid, $what) or system_fault() }
}
sub set_time { # of a file that is open, or of a link by its bare name
    my ($what, $seconds, $nanoseconds) = @_;
    if (!$call) { # whole seconds; a link keeps its own
        if (ref $what) { my $atime = (stat $what)[8]; utime($atime, $seconds + 0, $what) or system_fault() }
        return;
    }
    my $pack = $call->[7] eq 'q2' ? 'q4' : 'l4';
    my $times = pack($pack, 0, $OMIT, $seconds, $nanoseconds);
    my $done = ref $what
        ? syscall($call->[2], fileno($what), 0, $times, 0)
        : syscall($call->[2], -100, "$what", $times, 0x100);
    $done == 0 or system_fault();
}
sub correct {
    my ($path, $kind, $mode, $user, $group, $attributed, $attributes, $seconds, $nanoseconds) = @_;
    my $name = place($path);
    # Bringing a folder to the disk brings the inodes that changed before along, on ext4 and xfs.
    $changed{parent_of($path)} = 1 if $kind ne 'd';
    my $what = $kind eq 'l' ? $name : open_quietly($name);
    my @stat = look($what);
    fault('regular') if kind($stat[2]) ne $kind;
    forbid_setuid($mode) if $kind ne 'd';
    give($what, \@stat, $user, $group);
    set_attributes($what, $attributes) if $attributed && ref $what;
    if ($mode ne '' && ref $what) { chmod($mode, $what) or system_fault() }
    set_time($what, $seconds, $nanoseconds) if $seconds ne '';
}

# Names

sub make_symlink {
    my ($path, $points_to, $user, $group, $seconds, $nanoseconds) = @_;
    symlink($points_to, place($path)) or system_fault();
    note_made($path);
    $changed{parent_of($path)} = 1;
    correct($path, 'l', '', $user, $group, 0, '', $seconds, $nanoseconds);
}
sub move {
    my ($from, $to, $replace) = @_;
    my $old = place($from);
    my $source = $here_handle;
    my $new = place($to);
    $old = through($source, $old) if parent_of($from) ne parent_of($to);
    if ($replace) { rename($old, $new) or system_fault() }
    else { link($old, $new) or system_fault(); unlink($old) or system_fault() }
    note_made($to) if delete $made{$from};
    # A folder whose names changed before keeps to be noted.
    $changed{$to} = 1 if delete $changed{$from};
    $changed{parent_of($from)} = $changed{parent_of($to)} = 1;
    moved($from);
    moved($to);
}
sub add_link {
    my ($existing, $path) = @_;
    my $old = place($existing);
    my $source = $here_handle;
    my $new = place($path);
    $old = through($source, $old) if parent_of($existing) ne parent_of($path);
    link($old, $new) or system_fault();
    $changed{parent_of($path)} = 1;
}
sub make_folder {
    my ($path, $mode, $user, $group) = @_;
    my $name = place($path);
    if (!mkdir($name, $mode & 0777)) {
        my $error = $!;
        my @stat = lstat($name);
        return if $error == EEXIST && @stat && S_ISDIR($stat[2]);
        fault('E' . ($error + 0));
    }
    note_made($path);
    $changed{parent_of($path)} = 1;
    correct($path, 'd', '', $user, $group, 0, '', '', '');
}
sub remove {
    my ($path) = @_;
    # unlink of perl as root may try to unlink a folder on some systems; Linux refuses that.
    unlink(place($path)) or system_fault();
    $changed{parent_of($path)} = 1;
}
sub remove_folder {
    my ($path) = @_;
    rmdir(place($path)) or system_fault();
    moved($path);
    $changed{parent_of($path)} = 1;
}
sub enter_or_make { my ($name) = @_; mkdir($name, 0700) or $!{EEXIST} or system_fault(); return enter($name) }
sub move_aside { # to BASE/PREFIX/LABEL/path; where that is taken, below LABEL~2, LABEL~3, ...
    my ($folder, $name, $base, $prefix, $label, $path) = @_;
    chdir($base) or system_fault();
    my $store = $base;
    $store = enter_or_make($_) for @$prefix;
    for my $version (1 .. $VERSIONS) {
        my $labelled = $version == 1 ? $label : "$label~$version";
        chdir($store) or system_fault();
        my $place;
        my $free = eval { $place = enter_or_make($_) for $labelled, split(m{/}, parent_of($path)); 1 };
        if (!$free) { next if fault_is($@, ENOTDIR, ELOOP); die $@ }
        # Nobody else writes here: the folder is ours, mode 0700, and the tree is locked.
        next if lstat($name);
        $!{ENOENT} or system_fault();
        rename(through($folder, $name), $name) or system_fault();
        note($unsynced, $place);
        return;
    }
    fault('E' . EEXIST);
}
sub set_aside {
    my ($path, $label) = @_;
    my $name = eval { place($path) };
    if (!defined $name) { return if fault_is($@, ENOENT); die $@ }
    if (!lstat($name)) { return if $!{ENOENT}; system_fault() }
    my $folder = $here_handle;
    undef $here;
    moved($path);
    $changed{parent_of($path)} = 1;
    if ($beside ne '' && chdir($root)) {
        my $done = eval {
            my $parent;
            sysopen($parent, '..', $FOLDER) or system_fault();
            move_aside($folder, $name, $parent, ['.rehome-aside', $beside], $label, $path);
            1;
        };
        return if $done;
        # Another file system, or a folder that this user may not write to: then inside the tree.
        die $@ if !fault_is($@, EXDEV, EACCES, EPERM, EROFS);
    }
    move_aside($folder, $name, $root, ['.rehome-aside'], $label, $path);
}
sub space {
    chdir($root) or system_fault();
    undef $here;
    open(my $pipe, '-|', 'stat', '-f', '-c', '%a %S %d %c', '--', '.') or system_fault();
    my ($blocks, $size, $inodes, $all) = split ' ', <$pipe>;
    close($pipe) or fault('E' . EIO);
    tell_back('v', sprintf('%.0f', $blocks * $size), $inodes, $all);
}
sub lock_tree {
    if (!flock($root, LOCK_EX | LOCK_NB)) { fault('busy') if $!{EWOULDBLOCK}; system_fault() }
    $locked = 1;
}

# Requests: what is done, and whether `K` follows
my %requests = (
    l => [\&lock_tree, 1],
    u => [sub { flock($root, LOCK_UN) or system_fault(); $locked = 0 }, 1],
    v => [\&space, 0],
    k => [\&ids, 1],
    t => [sub { my @fields = fields_of(place($_[0])); tell_back('e', parent_of($_[0]), @fields) }, 1],
    L => [\&list, 1],
    B => [sub { my $first = shift; %known = () if $first; my %more = @_; @known{keys %more} = values %more }, 1],
    n => [\&tell_names, 1],
    i => [\&find_links, 1],
    C => [sub { tell_back('t', now()) }, 0],
    R => [\&fetch, 0],
    m => [\&message, 0],
    Q => [\&put, 1],
    O => [\&open_link, 0],
    J => [\&fetch_all, 0],
    G => [\&tell_hashes, 0],
    Y => [\&make_symlink, 1],
    M => [\&move, 1],
    H => [\&add_link, 1],
    F => [\&make_folder, 1],
    P => [\&correct, 1],
    A => [\&set_aside, 1],
    X => [\&remove, 1],
    Z => [\&remove_folder, 1],
    S => [\&sync_all, 1],
    E => [\&finish, 1],
);
my %modes = (fetch => 'Rm', list => 'luvktLBniC', read => 'luvktLBniCRmG', add => 'luvktLBniCRmGQYMHFPAXS' . 'WDE');
$allowed = $mode eq '' ? undef : $modes{$mode};
exit 1 if $mode ne '' && !defined $allowed;
@replaceable = map { glob_to_regex($_) } split m{/}, defined $replaces ? $replaces : '';

# (glob.pl)
sub name_of { return substr($_[0], 1 + rindex($_[0], '/')) }
sub is_temporary { return name_of($_[0]) =~ /\A\.rehome-tmp-[0-9a-f]{16}\z/ }
sub permit { # or fail: what this hand was started for
    my ($letter, @fields) = @_;
    return if !defined $allowed;
    my $path = defined $fields[0] ? $fields[0] : '';
    fault('E' . EPERM) if index($allowed, $letter) < 0
        || $letter eq 'M' && ($fields[2] || !is_temporary($path))
        || $letter eq 'X' && !is_temporary($path)
        || $letter eq 'P' && !$made{$path}
        || $letter eq 'A' && !is_temporary($path) && !grep { name_of($path) =~ $_ } @replaceable;
}

binmode STDIN;
binmode STDOUT;
my $opened = eval { sysopen($root, $tree, O_RDONLY | O_DIRECTORY) or system_fault(); chdir($root) or system_fault(); 1 };
if (!$opened) { tell_back('f', ref $@ ? $@->[0] : 'E5'); flush(); exit 0 }
# Where the layout of struct stat is not what it is thought to be, whole seconds it is (tests ask for that, too).
undef $call if $old || $call && !(() = nanoseconds($root, (stat $root)[9, 10]));
undef $call->[14] if $call && $call->[14] && "@{[(look($root))[0 .. 7, 9, 10]]}" ne "@{[(stat $root)[0 .. 7, 9, 10]]}";
tell_back('h', 1, $call ? 1 : 0);

while (1) {
    my $frame = next_frame();
    my $letter = substr($frame, 0, 1);
    if ($letter eq 'D' && (!defined $allowed || $mode eq 'add')) { more(substr($frame, 1)); next }
    if ($letter eq 'N') { keep_link(); next }
    my @fields = unpack('x (N/a*)*', $frame);
    if ($letter eq 'W' && (!defined $allowed || $mode eq 'add')) { begin(@fields); next }
    my $request = $requests{$letter} or exit 1;
    my $done = eval { permit($letter, @fields); $request->[0]->(@fields); 1 };
    if (!$done) {
        my $fault = $@;
        if (!ref $fault) { print STDERR $fault; exit 1 }
        tell_back('f', @$fault);
    } elsif ($request->[1]) {
        tell_back('K');
    }
}
