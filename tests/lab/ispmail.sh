#!/bin/bash
# ispmail.sh  - runs inside a machine, as root: the configuration of the ISPmail guide and its empty schemas.
# Written for Dovecot 2.3 (Debian 11, 12) and 2.4 (Debian 13). /etc/letsencrypt is there already (certificates.sh); rows and
# mail come from seed.py, what else an old server has gathered from seed_system.py.
set -euo pipefail
PW=x30mailserverpw
HOST=$(hostname -f)
# The certificate for the name that the world knows the server by, where it has one.
LIVE=/etc/letsencrypt/live/mail.lab.test
[ -d $LIVE ] || LIVE=/etc/letsencrypt/live/$HOST

mysql <<S
CREATE DATABASE IF NOT EXISTS mailserver;
GRANT SELECT ON mailserver.* TO 'mailserver'@'127.0.0.1' IDENTIFIED BY '$PW';
GRANT ALL ON mailserver.* TO 'mailadmin'@'localhost' IDENTIFIED BY 'mailadminpw';
USE mailserver;
CREATE TABLE IF NOT EXISTS virtual_domains (id int(11) NOT NULL auto_increment, name varchar(50) NOT NULL, PRIMARY KEY (id)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE IF NOT EXISTS virtual_users (id int(11) NOT NULL auto_increment, domain_id int(11) NOT NULL, email varchar(100) NOT NULL, password varchar(150) NOT NULL, quota bigint(11) NOT NULL DEFAULT 0, PRIMARY KEY (id), UNIQUE KEY email (email), FOREIGN KEY (domain_id) REFERENCES virtual_domains(id) ON DELETE CASCADE) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE IF NOT EXISTS virtual_aliases (id int(11) NOT NULL auto_increment, domain_id int(11) NOT NULL, source varchar(100) NOT NULL, destination varchar(100) NOT NULL, PRIMARY KEY (id), FOREIGN KEY (domain_id) REFERENCES virtual_domains(id) ON DELETE CASCADE) ENGINE=InnoDB DEFAULT CHARSET=utf8;
S

getent group vmail >/dev/null || groupadd -g 5000 vmail
getent passwd vmail >/dev/null || useradd -g vmail -u 5000 vmail -d /var/vmail -m -s /usr/sbin/nologin
chown -R vmail:vmail /var/vmail

# Postfix
for query in "mailbox-domains:SELECT 1 FROM virtual_domains WHERE name='%s'" \
  "mailbox-maps:SELECT 1 FROM virtual_users WHERE email='%s'" \
  "alias-maps:SELECT destination FROM virtual_aliases WHERE source='%s'"; do
  file=/etc/postfix/mysql-virtual-${query%%:*}.cf
  printf 'user = mailserver\npassword = %s\nhosts = 127.0.0.1\ndbname = mailserver\nquery = %s\n' $PW "${query#*:}" > "$file"
  chgrp postfix "$file"
  chmod 640 "$file"
done
postconf virtual_mailbox_domains=mysql:/etc/postfix/mysql-virtual-mailbox-domains.cf \
  virtual_mailbox_maps=mysql:/etc/postfix/mysql-virtual-mailbox-maps.cf \
  virtual_alias_maps=mysql:/etc/postfix/mysql-virtual-alias-maps.cf \
  virtual_transport=lmtp:unix:private/dovecot-lmtp \
  smtpd_milters=inet:127.0.0.1:11332 non_smtpd_milters=inet:127.0.0.1:11332 milter_default_action=accept \
  "milter_mail_macros=i {mail_addr} {client_addr} {client_name} {auth_authen}" \
  smtpd_sasl_type=dovecot smtpd_sasl_path=private/auth smtpd_sasl_auth_enable=yes \
  smtpd_tls_cert_file=$LIVE/fullchain.pem smtpd_tls_key_file=$LIVE/privkey.pem smtpd_tls_auth_only=yes \
  smtpd_tls_security_level=may smtp_tls_security_level=may smtpd_tls_loglevel=1 smtp_tls_loglevel=1 \
  mynetworks=127.0.0.0/8 inet_interfaces=all mydestination=localhost compatibility_level=3.5 \
  "myhostname=$HOST" 2>/dev/null
[ -f /etc/aliases.db ] || newaliases 2>/dev/null || :

# Dovecot
VERSION=$(dovecot --version | cut -d. -f1-2)
CONF=/etc/dovecot/conf.d/99-ispmail.conf
sed -i 's/^!include auth-system/#&/' /etc/dovecot/conf.d/10-auth.conf
if [ "$VERSION" = 2.3 ]; then
  cat > /etc/dovecot/dovecot-sql.conf.ext <<C
driver = mysql
connect = host=127.0.0.1 dbname=mailserver user=mailserver password=$PW
user_query = SELECT email as user, '/var/vmail/%d/%n' AS home, 5000 AS uid, 5000 AS gid FROM virtual_users WHERE email='%u'
password_query = SELECT password FROM virtual_users WHERE email='%u'
iterate_query = SELECT email AS user FROM virtual_users
C
  chmod 600 /etc/dovecot/dovecot-sql.conf.ext
  cat > $CONF <<'C'
auth_mechanisms = plain login
mail_location = maildir:~/Maildir
passdb {
  driver = sql
  args = /etc/dovecot/dovecot-sql.conf.ext
}
userdb {
  driver = sql
  args = /etc/dovecot/dovecot-sql.conf.ext
}
protocol lmtp {
  mail_plugins = $mail_plugins sieve
}
C
  printf 'ssl_cert = <%s/fullchain.pem\nssl_key = <%s/privkey.pem\n' $LIVE $LIVE >> $CONF
else
  sed -i -E 's/^(mail_driver|mail_path|mail_home|mail_inbox_path) *=/#&/' /etc/dovecot/conf.d/10-mail.conf
  # Debian's 2.4 strips the domain in lmtp (auth_username_format); SQL users need the whole address.
  cat > $CONF <<C
auth_mechanisms = plain login
mail_driver = maildir
mail_path = ~/Maildir
sql_driver = mysql
mysql 127.0.0.1 {
  user = mailserver
  password = $PW
  dbname = mailserver
}
passdb sql {
  query = SELECT password FROM virtual_users WHERE email='%{user}'
}
userdb sql {
  query = SELECT email as user, '/var/vmail/%{user|domain}/%{user|username}' AS home, 5000 AS uid, 5000 AS gid FROM virtual_users WHERE email='%{user}'
  iterate_query = SELECT email AS user FROM virtual_users
}
protocol lmtp {
  auth_username_format = %{user | lower}
  mail_plugins {
    sieve = yes
  }
}
ssl_server_cert_file = $LIVE/fullchain.pem
ssl_server_key_file = $LIVE/privkey.pem
C
fi
cat >> $CONF <<'C'
service lmtp {
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    group = postfix
    mode = 0600
    user = postfix
  }
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
C

# rspamd and Redis. Without hyperscan: compiling its database takes a minute of CPU at the first start.
mkdir -p /etc/rspamd/local.d
echo 'servers = "127.0.0.1:6379";' > /etc/rspamd/local.d/redis.conf
printf 'backend = "redis";\nautolearn = false;\n' > /etc/rspamd/local.d/classifier-bayes.conf
echo 'enabled = false;' > /etc/rspamd/local.d/fuzzy_check.conf
echo 'enabled = false;' > /etc/rspamd/local.d/rbl.conf
printf 'disable_hyperscan = true;\ndns { timeout = 0.2s; retransmits = 1; }\n' > /etc/rspamd/local.d/options.inc

cat > /etc/rspamd/local.d/dkim_signing.conf <<'C'
path = "/var/lib/rspamd/dkim/$domain.$selector.key";
selector_map = "/etc/rspamd/dkim_selectors.map";
C
: > /etc/rspamd/dkim_selectors.map
install -d -o _rspamd -g _rspamd /var/lib/rspamd/dkim
# Something in the new server's Redis that is nobody else's: it has to survive what is copied there.
[ "$HOST" != new.lab.test ] || redis-cli set lab:own 'of new, and of nobody else' >/dev/null

# Roundcube: the package's schema, as dbconfig-common sets it up where it may ask.
mysql <<S
CREATE DATABASE IF NOT EXISTS roundcube;
GRANT ALL ON roundcube.* TO 'roundcube'@'localhost' IDENTIFIED BY 'roundcubepw';
S
mysql roundcube < /usr/share/roundcube/SQL/mysql.initial.sql
sed -i -e "s/^\$dbuser=.*/\$dbuser='roundcube';/" -e "s/^\$dbpass=.*/\$dbpass='roundcubepw';/" /etc/roundcube/debian-db.php
# Roundcube 1.6 has another name for the setting, and wants the port in it.
sed -i -e "s|^\$config\['default_host'\] = .*|\$config['default_host'] = 'tls://$HOST';|" \
  -e "s|^\$config\['imap_host'\] = .*|\$config['imap_host'] = 'tls://$HOST:143';|" /etc/roundcube/config.inc.php
grep -q "//$HOST" /etc/roundcube/config.inc.php

systemctl restart dovecot postfix rspamd
echo "configured: Dovecot $VERSION, Postfix $(postconf -h mail_version)"
