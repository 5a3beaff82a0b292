#!/bin/sh
# Lets one ssh key of rehome's in on this machine, for what was approved and nothing else. Run it as root; run it again after
# each `rehome approve` that changed something. It writes the program, and one line of authorized_keys; it says what it did.
set -eu
say() { printf 'rehome gate: %s\n' "$*"; }
fail() { printf 'rehome gate: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "this is for root"
[ -x /usr/bin/perl ] || fail "there is no /usr/bin/perl (package perl-base)"
program='@PROGRAM@' state='@STATE@' user='@USER@' key='@KEY@'
home=$(getent passwd "$user" | cut -d: -f6)
[ -n "$home" ] && [ -d "$home" ] || fail "the user $user has no home here"
keys=$home/.ssh/authorized_keys
[ ! -L "$keys" ] && [ ! -L "$home/.ssh" ] || fail "$keys is a link: add the line by hand"

without_ours() { # the keys of others
    if [ -e "$keys" ]; then grep -vF -e "$program" "$keys" || [ $? -eq 1 ]; fi
}
replace_keys() { # by what is in $keys.rehome
    if [ -e "$keys" ]; then
        chmod --reference="$keys" "$keys.rehome"
        chown --reference="$keys" "$keys.rehome"
    else
        chown "$user:" "$keys.rehome"
    fi
    mv -f "$keys.rehome" "$keys"
}
umask 077
trap 'rm -f "$program.new" "$keys.rehome"' EXIT
