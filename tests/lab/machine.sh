#!/bin/bash
# machine.sh NAME DIR LOWER NETNS  - boots one machine of a lab and becomes its systemd-nspawn.
# Called by rehome_tests::lab (tests/src/lab/machine.rs), as root, in a mount namespace and a cgroup of its own.
# DIR/disk holds the overlay's upper and work dirs, DIR/files what is put over the root before its first boot. DIR/disk.img, if it is
# there, is a file system for DIR/disk, mounted for this machine alone.
set -euo pipefail
NAME=$1 DIR=$2 LOWER=$3 NETNS=$4
[ ! -e "$DIR/disk.img" ] || mount -o loop,noinit_itable "$(readlink -f "$DIR/disk.img")" "$DIR/disk"
mkdir -p "$DIR/disk/upper" "$DIR/disk/work"
# index=on: a hard link of the lower layers stays one when it is copied up; and a disk is in one overlay at a time, which the
# kernel may still be leaving when all that ran there is gone.
tries=0
until mount -t overlay -o "lowerdir=$LOWER,upperdir=$DIR/disk/upper,workdir=$DIR/disk/work,index=on" "rehome-lab-$NAME" "$DIR/root"; do
  ((++tries < 100))
  sleep 0.1
done
umount -l /sys/fs/cgroup                        # v2 only: systemd 256 and later refuse the hybrid layout
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd               # nspawn's own state, private to this machine
if [ ! -e "$DIR/booted" ]; then                 # later boots find the disk as it was
  cp -a --remove-destination "$DIR/files/." "$DIR/root/"
  touch "$DIR/booted"
fi
exec systemd-nspawn --quiet --boot --directory="$DIR/root" --machine="$NAME" --hostname="$NAME" \
  --register=no --keep-unit --private-users=no --network-namespace-path="/run/netns/$NETNS" \
  --resolv-conf=off --timezone=off --link-journal=no --console=read-only
