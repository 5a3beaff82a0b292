#!/usr/bin/perl.real
# perl on a server that lies: where it is asked to be rehome's hand, that program first does what is in /root/lie. That a lie
# was really told is in /root/told.
use strict;
my $helpers = <<'HELPERS';
my $told = 0;
sub told { return if $told++; open(my $mark, '>>', '/root/told') or die; print $mark "told\n" }
sub like { # fields of an entry, of a message of three bytes unless it is said otherwise
    my %is = (name => 'lie', kind => 'f', size => 3, mode => 0644, user => 'vmail', links => 1, inode => 4711, time => 5,
        attributes => '', points_to => '', @_);
    my @times = (1600000000, $is{time}, 1600000000, 5);
    return (@is{qw(name kind size)}, @times, @is{qw(mode user user links)}, 1, @is{qw(inode attributes points_to)});
}
sub besides { # the folder that holds the mail is listed, and then more is said
    my ($say) = @_;
    my $honest = \&list_folder;
    *list_folder = sub {
        my @inner = $honest->(@_);
        if ($_[0] =~ m{/cur\z}) { told(); $say->(@_) }
        return @inner;
    };
}
sub named { # of a folder that is known its names are told, and then more is said
    my ($say) = @_;
    my $honest = \&tell_names;
    *tell_names = sub { $honest->(@_); if ($_[0] =~ m{/cur\z}) { told(); $say->(@_) } };
}
sub instead { # of an answer to requests of this letter
    my ($letter, $say) = @_;
    $requests{$letter} = [sub { told(); $say->(@_) }, 0];
}
HELPERS
my $lie;
if (open(my $file, '<', '/root/lie')) { local $/; $lie = <$file> }
if (defined $lie && @ARGV > 2 && $ARGV[0] eq '-e') { $ARGV[1] =~ s/^while \(1\) \{\n    my \$frame/$helpers$lie\n$&/m }
exec { '/usr/bin/perl.real' } '/usr/bin/perl', @ARGV;
