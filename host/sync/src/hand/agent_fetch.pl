# Part of agent.pl, and stands there in its place: fetching content that another hand has for us, at the end of a link of our own.
# Invariant: what the other hand says is believed no more than rehome believes it: limits, letters and numbers are checked,
# and a lie ends the link. No wait is without end, and neither side waits for the other while that one waits for it.

my ($NEWS, $SILENCE, $FRAMES_AHEAD) = (5, 60, 5);

sub lost { die ['lost', $_[0]] }
sub lie { die ['lie', $_[0]] }
sub drop_link {
    my $gone = $link or return '';
    ($link, $ahead) = (undef, 0);
    my $words = $gone->{said};
    while (length $words < 8192 && sysread($gone->{words}, my $more, 4096)) { $words .= $more }
    close($gone->{$_}) for 'to', 'from', 'words';
    for my $signal (('TERM') x 20, 'KILL') {
        kill($signal, $gone->{child});
        last if waitpid($gone->{child}, $signal eq 'KILL' ? 0 : POSIX::WNOHANG()) != 0;
        select(undef, undef, undef, 0.1);
    }
    return substr($words, 0, 500);
}
sub open_link { # a program whose output begins, after what a login may print, with a mark; then a hand talks there
    my ($patience, $mark, @program) = @_;
    drop_link();
    pipe(my $input, my $to) && pipe(my $from, my $output) && pipe(my $words, my $errors) or system_fault();
    $SIG{PIPE} = 'IGNORE';
    my $child = fork;
    defined $child or system_fault();
    if (!$child) {
        $SIG{PIPE} = 'DEFAULT';
        open(STDIN, '<&', $input) && open(STDOUT, '>&', $output) && open(STDERR, '>&', $errors)
            and exec { $program[0] } @program;
        POSIX::_exit(127);
    }
    close($_) for $input, $output, $errors;
    fcntl($_, F_SETFL, O_NONBLOCK) for $to, $from, $words;
    $link = { child => $child, to => $to, from => $from, words => $words, in => '', out => '', said => '', silent => 0 };
    my $done = eval {
        my ($until, $began) = (time + 3 * $patience);
        while (($began = index($link->{in}, $mark)) < 0) {
            lie('much before its first word') if length $link->{in} > $PIECE;
            lost('it does not come to its first word') if time > $until;
            wait_for_link($patience);
        }
        substr($link->{in}, 0, $began + length $mark) = '';
        my ($letter, $content) = answer($patience);
        lost("it said $content") if $letter eq 'f';
        lie('something else than a greeting') if $letter ne 'h';
        1;
    };
    my $fault = $@;
    if ($done) { tell_back('j', 1, ''); return }
    die $fault if !ref $fault;
    my $words = drop_link();
    tell_back('j', 0, $words =~ /\S/ ? $words : $fault->[1]);
}
sub keep_link { # somebody is still there; one that is gone shows when it is needed
    $link && !length $link->{out} or return;
    syswrite($link->{to}, pack('N', 1) . 'N');
}
sub hear_news { # of rehome, while we wait for others; without it we end, as in next_frame
    my $got = sysread(STDIN, $in, 2 * $PIECE, length $in);
    if (!defined $got) { return if $!{EINTR}; exit 1 }
    exit 0 if !$got;
    $link->{unheard} = 0;
    ask_ahead() if $link->{fetches};
}
sub wait_for_link { # until it has something for us, or has taken something
    my ($patience) = @_;
    my ($reads, $writes) = ('', '');
    vec($reads, fileno($link->{from}), 1) = 1;
    vec($reads, fileno($link->{words}), 1) = 1 if !$link->{mute};
    vec($reads, fileno(STDIN), 1) = 1 if length $in < 2 * $LONGEST;
    vec($writes, fileno($link->{to}), 1) = 1 if length $link->{out} && !$link->{deaf};
    my $count = select(my $can_read = $reads, my $can_write = $writes, undef, 0);
    if ($count == 0) {
        flush();
        undef $here;
        @above = ();
        $count = select($can_read = $reads, $can_write = $writes, undef, $NEWS);
    }
    if ($count < 0) { return if $!{EINTR}; system_fault() }
    if ($count == 0) {
        $link->{out} .= pack('N', 1) . 'N' if !length $link->{out};
        exit 1 if ($link->{unheard} += $NEWS) >= 120;
        lost('nothing was heard of it for too long') if ($link->{silent} += $NEWS) >= ($patience || $SILENCE);
        return;
    }
    hear_news() if vec($can_read, fileno(STDIN), 1);
    if (vec($can_write, fileno($link->{to}), 1)) {
        my $sent = syswrite($link->{to}, $link->{out}, $PIECE);
        if (defined $sent) { substr($link->{out}, 0, $sent) = '' }
        elsif ($!{EPIPE}) { $link->{deaf} = 1 } # what it said before it ended is still read
        elsif (!$!{EAGAIN} && !$!{EINTR}) { lost('it was lost') }
    }
    if (vec($can_read, fileno($link->{words}), 1)) {
        my $got = sysread($link->{words}, my $more, 4096);
        if ($got) { $link->{said} = substr($link->{said} . $more, -1000) }
        elsif (defined $got) { $link->{mute} = 1 }
    }
    if (vec($can_read, fileno($link->{from}), 1)) {
        my $got = sysread($link->{from}, $link->{in}, 2 * $PIECE, length $link->{in});
        if ($got) { $link->{silent} = 0 }
        elsif (defined $got || !$!{EAGAIN} && !$!{EINTR}) { lost('it was lost') }
    }
}
sub answer { # the next frame of the link: its letter, and what it is about
    while (1) {
        if (length $link->{in} >= 4) {
            my $length = unpack('N', $link->{in});
            lie('a frame of no possible length') if $length < 1 || $length > $LONGEST;
            if (length $link->{in} >= 4 + $length) {
                my ($content, $letter) = (substr($link->{in}, 4, $length - 1), substr($link->{in}, 3 + $length, 1));
                substr($link->{in}, 0, 4 + $length) = '';
                return ($letter, $content);
            }
        }
        wait_for_link(@_);
    }
}
sub fields { # of an answer, which has so many
    my ($content, $count) = @_;
    my @fields = eval { unpack('(N/a*)*', $content) };
    lie('an answer of unknown shape') if @fields != $count || length $content != 4 * $count + length join('', @fields);
    return @fields;
}
my $ABOUT = 12; # fields of a file in a request to fetch
sub ask_for { # the files of a request
    while (@_) {
        my ($how, $file, $most) = splice(@_, 0, $ABOUT);
        my $asks = $how eq 'm' ? pack('(N/a*)*', $file, $most) : pack('(N/a*)*', $file, $most, $how eq 'r' ? 1 : 0);
        $link->{out} .= pack('N', 1 + length $asks) . ($how eq 'm' ? 'm' : 'R') . $asks;
    }
}
sub ask_ahead { # for what the next requests to fetch are about, so that the other hand has always something to do
    while ($link->{frames} < $FRAMES_AHEAD && length $in >= $ahead + 5) {
        my ($length, $letter) = unpack("x$ahead N a", $in);
        return if $letter ne 'J' && $letter ne 'N' || length $in < $ahead + 4 + $length;
        if ($letter eq 'J') {
            ask_for(unpack('(N/a*)*', substr($in, $ahead + 5, $length - 1)));
            $link->{frames}++;
        }
        $ahead += 4 + $length;
    }
}
sub fault_of { # an answer
    my ($why) = fields($_[0], 1);
    lie('a failure of unknown kind') if $why !~ /\A(?:E[0-9]{1,4}|regular|large|path)\z/;
    return "u$why";
}
sub refusal { ref $_[0] or die $_[0]; return "t$_[0][0]" }
sub abandon { # what was begun and is of no use
    my $w = $writing or return;
    undef $writing;
    eval { unlink(place($w->{path})) } if !$w->{fault};
}
sub fetch_one { # what became of it
    my ($how, undef, $most, $size, $path, $mode, $user, $group, $attributed, $attributes, $seconds, $nanoseconds) = @_;
    my ($letter, $content) = answer();
    return fault_of($content) if $letter eq 'f';
    my @owned = ($mode, $user, $group, $attributed, $attributes);
    if ($how eq 'm') {
        lie('something else than a message') if $letter ne 'w';
        return 'c' if length $content != $size;
        my $done = eval { put($path, $content, @owned, $seconds, $nanoseconds); 1 };
        return $done ? "w$size" : refusal($@);
    }
    lie('something else than content') if $letter ne 'o';
    my ($whole, @time) = fields($content, 3);
    lie('a number that is none') if grep { $_ !~ /\A-?[0-9]{1,19}\z/ } $whole, @time;
    lie('a time that does not exist') if $time[1] < 0 || $time[1] >= 1e9;
    lie('more content than was asked for') if $whole < 0 || $whole > $most;
    my $left = $whole;
    begin($path);
    while (1) {
        ($letter, $content) = answer();
        last if $letter ne 'd';
        lie('more content than it had announced') if !length $content || length $content > $left;
        $left -= length $content;
        more($content);
    }
    if ($letter eq 'f') { abandon(); return fault_of($content) }
    lie('something else than content') if $letter ne 'c';
    my ($changed) = fields($content, 1);
    # A message has one size for ever: another one is not the file that was listed.
    if ($changed ne '0' || $left > 0 || $how eq 'f' && $whole != $size) { abandon(); return 'c' }
    my $done = eval { finish(@owned, @time); 1 };
    return $done ? "w$whole" : refusal($@);
}
sub fetch_all {
    my (@files, @told);
    my $done = eval {
        $link or lost('there is none');
        ask_for(@_) if !$asked;
        $link->{frames}-- if $asked;
        @$link{'fetches', 'unheard'} = (1, 0);
        ask_ahead();
        push @files, [splice(@_, 0, $ABOUT)] while @_;
        push @told, fetch_one(@$_) for @files;
        1;
    };
    my $fault = $@;
    $link->{fetches} = 0 if $link;
    if (!$done) {
        die $fault if !ref $fault || $fault->[0] ne 'lost' && $fault->[0] ne 'lie';
        push @files, [splice(@_, 0, $ABOUT)] while @_;
        abandon();
        my $words = drop_link();
        my $why = $fault->[0] eq 'lie' ? "x$fault->[1]" : 'l' . ($words =~ /\S/ ? $words : $fault->[1]);
        push @told, $why while @told < @files;
    }
    tell_back('q', @told);
}
