sub glob_to_regex { # as `Pattern` has it
    my ($glob) = @_;
    my $regex = '';
    while ($glob =~ /\G(?:(\*)|(\?)|\[(!?)(\]?[^\]]*)\]|\\?(.))/gs) {
        if (defined $1) { $regex .= '.*' }
        elsif (defined $2) { $regex .= '.' }
        elsif (defined $5) { $regex .= quotemeta($5) }
        else { my ($not, $set) = ($3 ? '^' : '', $4); $set =~ s/([^A-Za-z0-9-])/\\$1/g; $regex .= "[$not$set]" }
    }
    return qr/\A$regex\z/s;
}
