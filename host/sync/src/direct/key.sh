# On the target: a key for one link, in a folder that only its maker can enter, and the host keys of the source beside it.
# Invariant: the private half never leaves the folder; the folder is new, or nothing is done.
# $1: make or remove, $2: the token of the link; input: the lines of known_hosts. Prints the folder, whether the processor
# has instructions for AES, and the public half.
set -eu
umask 077
me=$(id -u)
base=/tmp
if [ "$me" = 0 ]; then base=/run; elif [ -w "/run/user/$me" ]; then base=/run/user/$me; fi
folder=$base/rehome-direct-$2-key
if [ "$1" = remove ]; then
    rm -rf -- "$folder"
    exit
fi
# What was left by those who were killed.
find "$base" -maxdepth 1 -type d -name 'rehome-direct-*-key' -user "$me" -mmin +10 -exec rm -rf -- {} + 2>/dev/null || :
mkdir -- "$folder"
cat >"$folder/known_hosts"
ssh-keygen -q -t ed25519 -N '' -C rehome -f "$folder/key" >&2
printf '%s\n' "$folder"
if grep -qw aes /proc/cpuinfo; then echo aes; else echo; fi
cut -d' ' -f1,2 "$folder/key.pub"
