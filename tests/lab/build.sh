#!/bin/bash
# build.sh SUITE OUT DEBS   - makes the root tree OUT of Debian SUITE with the whole mail stack (as root, by mmdebstrap)
# build.sh libc OUT DEBS    - makes the tree to link a binary against that must run on Debian 11
# OUT must not exist. DEBS keeps the downloaded packages, so that a second build fetches only the lists.
# Called by rehome_tests::lab (tests/src/lab/cache.rs), which holds a lock and renames OUT when this has ended well.
set -euo pipefail
WHAT=$1 OUT=$2 DEBS=$3
SUITE=$WHAT; [ "$WHAT" = libc ] && SUITE=bullseye
mkdir -p "$DEBS"

# The mirror is the one that apt uses here.
SITES=$(apt-get indextargets --format '$(SITE)' | sort | uniq -c | sort -rn | awk '{print $2}')
MIRROR=$(grep -m1 '/debian$' <<<"$SITES" || true)
MIRROR=${MIRROR:-http://deb.debian.org/debian}
SECURITY=$(grep -m1 'debian-security' <<<"$SITES" || echo "${MIRROR%/debian}/debian-security")
SOURCES=("deb $MIRROR $SUITE main")
# Debian 11: its long-term support is over and its security pool decays (the lists name packages that answer 404).
[ "$SUITE" = bullseye ] || SOURCES+=("deb $MIRROR $SUITE-updates main" "deb $SECURITY $SUITE-security main")

COMMON=(--mode=root
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"'
  --skip=download/empty --skip=essential/unlink --skip=cleanup/apt/cache
  --setup-hook="mkdir -p \"\$1\"/var/cache/apt/archives/partial; cp -al '$DEBS'/. \"\$1\"/var/cache/apt/archives/ 2>/dev/null || cp -a '$DEBS'/. \"\$1\"/var/cache/apt/archives/"
  --customize-hook="cp -aln \"\$1\"/var/cache/apt/archives/*.deb '$DEBS'/ 2>/dev/null || cp -an \"\$1\"/var/cache/apt/archives/*.deb '$DEBS'/ || :; rm -f \"\$1\"/var/cache/apt/archives/*.deb")

if [ "$WHAT" = libc ]; then
  mmdebstrap "${COMMON[@]}" --variant=extract --include=libc6-dev,libgcc-s1 "$SUITE" "$OUT" "${SOURCES[@]}"
  # Absolute links would lead out of the tree, to the libc of the machine that builds.
  find "$OUT/usr/lib" "$OUT/lib" "$OUT/lib64" -type l -lname '/*' -print0 |
    while IFS= read -r -d '' link; do ln -sfr "$OUT$(readlink "$link")" "$link"; done
  exit
fi

PACKAGES=systemd-sysv,dbus,sudo,iproute2,procps,ca-certificates,openssh-server,rsync,python3
PACKAGES+=,mariadb-server,mariadb-client,redis-server,rspamd,postfix,postfix-mysql
PACKAGES+=,dovecot-core,dovecot-imapd,dovecot-pop3d,dovecot-lmtpd,dovecot-managesieved,dovecot-sieve,dovecot-mysql
# Webmail: its database and its programs. Of Apache only the binaries come along, no service.
PACKAGES+=,roundcube-core,roundcube-mysql

mmdebstrap "${COMMON[@]}" --variant=minbase --include="$PACKAGES" --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --essential-hook='printf "%s\n" "postfix postfix/main_mailer_type select Internet Site" "postfix postfix/mailname string lab.test" "roundcube-core roundcube/dbconfig-install boolean false" | chroot "$1" debconf-set-selections' \
  "$SUITE" "$OUT" "${SOURCES[@]}"

# What a machine of the lab needs that a package does not set up.
: > "$OUT/etc/machine-id"                           # each machine gets its own at its first boot
rm -f "$OUT"/etc/ssh/ssh_host_*                     # likewise: the lab brings a key
chroot "$OUT" useradd -m -u 1000 -s /bin/bash admin # for rehome's sudo mode
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' > "$OUT/etc/sudoers.d/admin"
chmod 440 "$OUT/etc/sudoers.d/admin"
# Units that only cost time, or fail in a container.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  dpkg-db-backup.timer logrotate.timer man-db.timer systemd-networkd-wait-online.service \
  getty@tty1.service console-getty.service; do
  ln -sf /dev/null "$OUT/etc/systemd/system/$unit"
done
