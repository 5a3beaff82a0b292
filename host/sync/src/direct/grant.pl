# On the source: lets one key in, for one hand that only reads in one tree, and takes it away again.
# Invariant: authorized_keys is only ever replaced in one step, by a file of the same mode and owner, under a lock; of its
# lines only those are taken out that were put in here: the one with our token, and those too old to be still in use.
use strict;
use Fcntl qw(:DEFAULT :flock);
use POSIX qw(strftime);

my ($what, $token, $user, $keys, $sudo, $public, $root, $old) = @ARGV;
# A key is used within seconds of being let in.
my ($DEAD, $EXPIRES) = (600, 300);
$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
$ENV{LC_ALL} = 'C';
umask 077;

sub decline { print "no $_[0]\n"; exit 0 }
my $base = $> == 0 ? '/run' : -w "/run/user/$>" ? "/run/user/$>" : '/tmp';
my $folder = "$base/rehome-direct-$token";

sub remove_folder {
    my ($gone) = @_;
    unlink("$gone/agent", "$gone/serve");
    rmdir($gone);
}
sub is_dead { my $age = time - $_[0]; return abs($age) > $DEAD }
sub sweep_folders {
    opendir(my $listing, $base) or return;
    for my $name (grep { /\Arehome-direct-[0-9a-f]{32}\z/ } readdir($listing)) {
        my @stat = lstat("$base/$name") or next;
        remove_folder("$base/$name") if -d _ && $stat[4] == $> && is_dead($stat[9]);
    }
}
sub version { # of sshd, as a number
    my $said = qx(sshd -V 2>&1 </dev/null);
    return $said =~ /OpenSSH_([0-9]+)\.([0-9]+)/ ? $1 * 100 + $2 : 0;
}
sub keys_file { # where sshd looks for the keys of the login; nothing where there is no such file
    return $keys if $keys ne '';
    my @account = getpwnam($user) or return;
    my ($uid, $home) = @account[2, 7];
    (my $quoted = $user) =~ s/'/'\\''/g;
    my ($said) = qx(sshd -T -C user='$quoted',host=localhost,addr=127.0.0.1 2>/dev/null </dev/null) =~ /^authorizedkeysfile (.*)$/m;
    my %stands_for = ('%' => '%', u => $user, h => $home, U => $uid);
    for my $file (split / /, defined $said ? $said : '.ssh/authorized_keys .ssh/authorized_keys2') {
        $file =~ s/%([%uhU])/$stands_for{$1}/g;
        $file = "$home/$file" if $file !~ m{\A/};
        return $file if -e $file;
    }
    return;
}
sub of_ours { # token, when, and whether a newline had to be added before
    return $_[0] =~ m{\Arestrict,[^\n]*/rehome-direct-([0-9a-f]{32})/serve" [^\n]* rehome-direct-\1-([0-9]+)(-n)?\n\z};
}
sub without_ours { # and without what the dead left
    my ($content) = @_;
    my @kept;
    my @lines = split /^/m, $content;
    while (@lines) {
        my $line = shift @lines;
        my ($whose, $when, $newline) = of_ours($line);
        if (!defined $whose || $whose ne $token && !is_dead($when)) { push @kept, $line; next }
        chomp $kept[-1] if $newline && @kept && !@lines;
    }
    return join '', @kept;
}
sub replace { # the content of the file of keys by what $change makes of it
    my ($file, $change) = @_;
    my $new = "$file.rehome-$token";
    for (1 .. 100) {
        select(undef, undef, undef, 0.05) if $_ > 1;
        sysopen(my $handle, $file, O_RDONLY | O_NOFOLLOW) or decline("$file cannot be opened: $!");
        flock($handle, LOCK_EX | LOCK_NB) or next;
        my @before = stat($handle);
        my @there = lstat($file);
        next if !@there || $there[1] != $before[1] || $there[0] != $before[0];
        decline("$file is no plain file") if !-f _ || $there[3] != 1;
        my $content = do { local $/; <$handle> };
        $content = '' if !defined $content;
        my $wanted = $change->($content);
        return if $wanted eq $content;
        sysopen(my $out, $new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or decline("$new cannot be created: $!");
        my $done = eval {
            my @mine = stat($out);
            if ($mine[4] != $before[4] || $mine[5] != $before[5]) { chown($before[4], $before[5], $out) or die "$!\n" }
            chmod($before[2] & 07777, $out) or die "$!\n";
            require IO::Handle;
            print $out $wanted and $out->flush and $out->sync or die "$!\n";
            my @now = lstat($file);
            die "it changed meanwhile\n" if "@now[0, 1, 7, 9, 10]" ne "@before[0, 1, 7, 9, 10]";
            rename($new, $file) or die "$!\n";
        };
        return if $done;
        my $why = $@;
        unlink($new);
        chomp $why;
        decline("$file cannot be replaced: $why") if $why ne 'it changed meanwhile';
    }
    decline("$file is always in use");
}
sub put_file {
    my ($name, $content) = @_;
    sysopen(my $out, "$folder/$name", O_WRONLY | O_CREAT | O_EXCL, 0600) or die "$!\n";
    print $out $content and close($out) or die "$!\n";
}
sub serve { # a script: only its path stands in authorized_keys
    my @words = ('/usr/bin/env', '-i', "PATH=$ENV{PATH}", 'LC_ALL=C', '/usr/bin/perl', "$folder/agent", $root, '', $old, 'fetch');
    s/'/'\\''/g for @words;
    return "printf '\\036rehome-$token\\n'\nexec " . join(' ', map { "'$_'" } @words) . "\n";
}

if ($what eq 'remove') {
    remove_folder($folder);
    my $file = keys_file();
    replace($file, \&without_ours) if defined $file;
    print "ok\n";
    exit 0;
}
my $version = version();
decline('it is not OpenSSH that lets rehome in there') if !$version;
decline('its OpenSSH is older than 7.2 and knows no restricted keys') if $version < 702;
my $file = keys_file();
defined $file or decline("it is not a file of keys that lets $user in there");
sweep_folders();
for my $left (glob("\Q$file\E.rehome-*")) {
    my @stat = lstat($left);
    unlink($left) if @stat && $left =~ /\.rehome-[0-9a-f]{32}\z/ && is_dead($stat[9]);
}
my $agent = do { local $/; <STDIN> };
mkdir($folder, 0700) or decline("$folder cannot be created: $!");
if (!eval { put_file('agent', $agent); put_file('serve', serve()); 1 }) {
    my $why = $@;
    remove_folder($folder);
    chomp $why;
    decline("$folder cannot be written to: $why");
}
my $options = 'restrict,';
$options .= 'expiry-time="' . strftime('%Y%m%d%H%M%S', localtime(time + $EXPIRES)) . '",' if $version >= 707;
my $command = ($sudo ? '/usr/bin/sudo -n -- ' : '') . "/bin/sh $folder/serve";
replace($file, sub {
    my $content = without_ours($_[0]);
    my $newline = $content ne '' && $content !~ /\n\z/;
    my $mark = "rehome-direct-$token-" . time . ($newline ? '-n' : '');
    return $content . ($newline ? "\n" : '') . qq($options) . qq(command="$command" $public $mark\n);
});
print "ok\n";
