# On a side: shows the records of migrations, and puts one in place of another.
# Invariant: a record is written only where all records are still those that the writer has seen, under a lock, and whole:
# a temporary file, brought to disk, renamed, its folder brought to disk. What stands in a record is rehome's matter.
# Arguments: root of the side, `look`; or root, `swap`, a migration's id, its new record (empty: none), with the records as
# they were seen as input. Prints a word, then the machine's id (machine-id(5)) and the records as they are now.
use strict;
use Fcntl qw(:DEFAULT :flock :mode);
use IO::Handle;

my ($root, $what, $id, $new) = @ARGV;
my ($MOST, $LARGEST) = (200, 65536);
my $folder = "$root/var/lib/rehome";
umask 077;
binmode($_) for *STDIN, *STDOUT;

sub decline { print "no $_[0]\n"; exit 0 }
sub machine {
    for my $file ("$root/etc/machine-id", "$root/var/lib/dbus/machine-id") {
        open(my $in, '<', $file) or next;
        my $line = <$in>;
        return $1 if defined $line && $line =~ /\A([0-9a-f]{32})$/;
    }
    return '-';
}
sub records { # each with its migration's id and its length, in the order of the ids
    opendir(my $listing, $folder) or return $!{ENOENT} ? '' : decline("$folder cannot be read: $!");
    my @ids = sort grep { /\A[0-9a-f]{32}\z/ } readdir($listing);
    decline("$folder holds more than $MOST records") if @ids > $MOST;
    my $all = '';
    for my $one (@ids) {
        sysopen(my $in, "$folder/$one", O_RDONLY | O_NOFOLLOW) or decline("$folder/$one cannot be read: $!");
        binmode($in);
        my $length = read($in, my $text, $LARGEST + 1);
        decline("$folder/$one cannot be read: $!") if !defined $length;
        decline("$folder/$one is no record: it is too large") if $length > $LARGEST;
        $all .= "record $one $length\n$text";
    }
    return $all;
}
sub answer { print "$_[0]\nmachine ", machine(), "\n$_[1]"; exit 0 }
sub to_disk { # fsync(2)
    my ($handle, $name) = @_;
    $handle->sync or decline("$name cannot be brought to disk: $!");
}
sub locked { # the folder, ours alone, made if it is not there
    for (1 .. 100) {
        select(undef, undef, undef, 0.05) if $_ > 1;
        if (mkdir($folder, 0700)) {
            sysopen(my $above, "$root/var/lib", O_RDONLY) or decline("$root/var/lib cannot be read: $!");
            to_disk($above, "$root/var/lib");
        }
        elsif (!$!{EEXIST}) { decline("$folder cannot be made: $!") }
        my @there = lstat($folder) or next;
        decline("$folder is no folder") if !S_ISDIR($there[2]);
        decline("$folder belongs to somebody else, or others may write to it") if $there[4] != $> || $there[2] & 022;
        sysopen(my $handle, $folder, O_RDONLY | O_NOFOLLOW) or next;
        flock($handle, LOCK_EX | LOCK_NB) or next;
        my @now = lstat($folder) or next;
        my @ours = stat($handle);
        return $handle if $now[0] == $ours[0] && $now[1] == $ours[1];
    }
    decline("$folder is always locked");
}

answer('seen', records()) if $what eq 'look';
decline('it does not say what to do') if $what ne 'swap' || $id !~ /\A[0-9a-f]{32}\z/ || !defined $new;
my $seen = do { local $/; <STDIN> };
$seen = '' if !defined $seen;
my $handle = locked();
my $now = records();
answer('changed', $now) if $now ne $seen;
if ($new eq '') {
    unlink("$folder/$id") or $!{ENOENT} or decline("$folder/$id cannot be removed: $!");
    to_disk($handle, $folder);
    # Receipts of what it did (receipt.pl) go with it; the last one takes the folder, too.
    if (opendir(my $listing, "$folder/receipts")) {
        unlink("$folder/receipts/$_") for grep { /\A$id\.[0-9]+\z/ } readdir($listing);
    }
    rmdir("$folder/receipts");
    rmdir($folder);
    answer('done', records());
}
my $part = "$folder/$id.new";
unlink($part);
sysopen(my $out, $part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or decline("$part cannot be made: $!");
my $written = print($out $new) && $out->flush && $out->sync && close($out);
if (!$written) {
    my $why = $!;
    unlink($part);
    decline("$part cannot be written: $why");
}
rename($part, "$folder/$id") or decline("$folder/$id cannot be put in place: $!");
to_disk($handle, $folder);
answer('done', records());
