#!/bin/bash
# certificates.sh OUT  - makes the lab's certificate authority and, for each mail server, a tree as certbot leaves it.
# OUT/ca.pem and OUT/ca.key are the authority, OUT/trusted what makes a machine trust it; OUT/MACHINE is that machine's
# /etc/letsencrypt. OUT must not exist.
# Called by rehome_tests::lab (tests/src/lab/authority.rs), once: all machines of all labs trust the same authority.
set -euo pipefail
OUT=$1
# Layers are kept for as long as their scripts are the same: nothing here runs out before that.
DAYS=3650
umask 022
mkdir -p "$OUT"

openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $DAYS -subj "/O=Lab/CN=Lab Root" \
  -addext 'basicConstraints=critical,CA:true' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
  -keyout "$OUT/ca.key" -out "$OUT/ca.pem" 2>/dev/null

# As update-ca-certificates(8) would have it; the file with all authorities in it is completed for each machine.
mkdir -p "$OUT/trusted/usr/local/share/ca-certificates" "$OUT/trusted/etc/ssl/certs"
cp "$OUT/ca.pem" "$OUT/trusted/usr/local/share/ca-certificates/rehome-lab.crt"
ln -s /usr/local/share/ca-certificates/rehome-lab.crt "$OUT/trusted/etc/ssl/certs/rehome-lab.pem"
ln -s rehome-lab.pem "$OUT/trusted/etc/ssl/certs/$(openssl x509 -in "$OUT/ca.pem" -noout -hash).0"

# issue MACHINE LINEAGE VERSION NAME...  - the files of one certificate in archive/LINEAGE
issue() {
  local tree=$OUT/$1 lineage=$2 version=$3 archive names
  archive=$tree/archive/$lineage names=$(printf ',DNS:%s' "${@:4}")
  mkdir -p "$archive"
  (umask 077; openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$archive/privkey$version.pem")
  openssl req -new -key "$archive/privkey$version.pem" -subj "/CN=$4" |
    openssl x509 -req -CA "$OUT/ca.pem" -CAkey "$OUT/ca.key" -set_serial "0x$(openssl rand -hex 16)" -days $DAYS \
      -extfile <(printf 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "${names#,}") \
      -out "$archive/cert$version.pem" 2>/dev/null
  cp "$OUT/ca.pem" "$archive/chain$version.pem"
  cat "$archive/cert$version.pem" "$archive/chain$version.pem" > "$archive/fullchain$version.pem"
}

# lineage MACHINE LINEAGE VERSION ACCOUNT  - live/ and renewal/ for the newest version
lineage() {
  local tree=$OUT/$1 name=$2 version=$3 account=$4 item
  mkdir -p "$tree/live/$name" "$tree/renewal"
  for item in cert chain fullchain privkey; do
    ln -s "../../archive/$name/$item$version.pem" "$tree/live/$name/$item.pem"
  done
  printf 'This directory contains your keys and certificates.\n' > "$tree/live/$name/README"
  {
    printf '# renew_before_expiry = 30 days\nversion = 1.12.0\narchive_dir = /etc/letsencrypt/archive/%s\n' "$name"
    for item in cert privkey chain fullchain; do
      printf '%s = /etc/letsencrypt/live/%s/%s.pem\n' "$item" "$name" "$item"
    done
    printf '\n# Options used in the renewal process\n[renewalparams]\naccount = %s\nauthenticator = webroot\n' "$account"
    printf 'webroot_path = /var/www/html,\nserver = https://acme-v02.api.letsencrypt.org/directory\n[[webroot_map]]\n'
  } > "$tree/renewal/$name.conf"
}

# tree MACHINE  - what else certbot has; prints the account's name
tree() {
  local tree=$OUT/$1 account home
  account=$(openssl rand -hex 16)
  home=$tree/accounts/acme-v02.api.letsencrypt.org/directory/$account
  mkdir -p "$tree"/{archive,live,renewal} "$tree"/renewal-hooks/{pre,deploy,post} "$home"
  printf '{"creation_dt": "2024-01-02T03:04:05Z", "creation_host": "%s.lab.test"}' "$1" > "$home/meta.json"
  printf '{"body": {}, "uri": "https://acme-v02.api.letsencrypt.org/acme/acct/%d"}' "0x${account:0:7}" > "$home/regr.json"
  # Shaped as certbot's is; it opens nothing anywhere.
  (umask 377; printf '{"kty": "RSA", "e": "AQAB", "n": "%s"}' "$(openssl rand -hex 32)" > "$home/private_key.json")
  chmod 700 "$tree"/{archive,live,accounts}
  printf '#!/bin/sh\nsystemctl reload postfix dovecot\n' > "$tree/renewal-hooks/deploy/reload.sh"
  chmod 755 "$tree/renewal-hooks/deploy/reload.sh"
  printf 'max-log-backups = 0\npreconfigured-renewal = True\n' > "$tree/cli.ini"
  echo "$account"
}

# old: renewed once, for the names that other servers and mail programs use.
account=$(tree old)
issue old mail.lab.test 1 mail.lab.test imap.lab.test
issue old mail.lab.test 2 mail.lab.test imap.lab.test
lineage old mail.lab.test 2 "$account"

# new: its own name. A lineage is called as old's is, so that the services have what they are configured for, and it
# names the wrong host, so that nothing is right before the migration has brought the right one.
account=$(tree new)
issue new new.lab.test 1 new.lab.test
lineage new new.lab.test 1 "$account"
issue new mail.lab.test 1 new.lab.test
lineage new mail.lab.test 1 "$account"

# other: a server of its own, under its own name.
account=$(tree other)
issue other other.lab.test 1 other.lab.test
lineage other other.lab.test 1 "$account"
