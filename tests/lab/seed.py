#!/usr/bin/env python3
"""seed.py < accounts.json  - runs on an old server as root: accounts and mail, the same each time. Mail, folders, flags, hard
links and subscriptions are made over IMAP, LMTP and ManageSieve; only what these cannot make is put on the disk."""
import base64, crypt, datetime, imaplib, json, os, random, re, shutil, smtplib, socket, subprocess, sys, time

RANDOM = random.Random(20240501)
WORDS = ('mail server move letter answer order invoice meeting garden summer winter train ticket price question '
         'Grüße Straße café naïve 東京 привет').split()
FOLDERS = [b'Sent', b'Drafts', b'Trash', b'Archive', b'Archive.2019', b'Archive.2020.Q1', b'With space.and more ',
           b'Entw&APw-rfe &- Notizen', b'&ZeVnLIqe-', b'R&-D', b'deep.a.b.c.d.e', b"quote's \"double\"", b'percent%and*star']
FLAGS = [r'\Seen', r'\Answered', r'\Flagged', r'\Deleted', r'\Draft']
KEYWORDS = ['$Forwarded', '$Junk', 'NonJunk', '$label1', '$label2', 'Work', 'todo']
SIEVE = b'''require ["fileinto", "mailbox", "imap4flags"];
if header :contains "Subject" "[list]" { addflag "\\\\Flagged"; fileinto :create "Lists"; stop; }
'''


def quoted(raw):
    return '"%s"' % raw.decode('ascii').replace('\\', '\\\\').replace('"', '\\"')


def fill_database(accounts):
    def text(value):
        return "'%s'" % value.replace('\\', '\\\\').replace("'", "\\'")
    ids = {domain: i for i, domain in enumerate(accounts['domains'], 1)}
    rows = ['INSERT INTO virtual_domains (id, name) VALUES (%d, %s);' % (i, text(d)) for d, i in ids.items()]
    salts = {'BLF-CRYPT': '$2y$05$', 'SHA512-CRYPT': '$6$', 'SHA256-CRYPT': '$5$'}
    for user in accounts['users']:
        salt = salts[user['scheme']] + ''.join(RANDOM.choices('abcdefghijklmnopqrstuvwxyz', k=21)) + 'e'
        salt = salt if user['scheme'] == 'BLF-CRYPT' else salt[:19]
        stored = '{%s}%s' % (user['scheme'], crypt.crypt(user['password'], salt))
        rows.append('INSERT INTO virtual_users (domain_id, email, password, quota) VALUES (%d, %s, %s, %d);' % (
            ids[user['email'].split('@')[1]], text(user['email']), text(stored), user['quota']))
    for alias in accounts['aliases']:
        rows.append('INSERT INTO virtual_aliases (domain_id, source, destination) VALUES (%d, %s, %s);' % (
            ids[alias['source'].split('@')[1]], text(alias['source']), text(alias['destination'])))
    subprocess.run(['mysql', '--default-character-set=utf8', 'mailserver'], input='\n'.join(rows).encode(), check=True)


def body():
    return '\r\n'.join(' '.join(RANDOM.choices(WORDS, k=9)) for _ in range(RANDOM.choice((1, 3, 12, 40, 160))))


def mail(user, n):
    """One of several shapes: plain, multipart with an attachment, 8-bit header, folded header, no Message-ID, empty body."""
    shape = n % 12
    subject = '=?UTF-8?B?%s?=' % base64.b64encode(('Nr. %d für Sie' % n).encode()).decode() if shape == 3 else 'mail %d' % n
    head = ['From: =?UTF-8?Q?J=C3=BCrgen?= <sender%d@elsewhere.lab.test>' % (n % 7), 'To: <%s>' % user, 'Subject: ' + subject,
            'Date: Tue, 02 Jan 2018 10:%02d:%02d +0100' % (n // 60 % 60, n % 60)]
    if shape != 5:
        head.append('Message-ID: <%d.%s@seed.lab.test>' % (n, user.replace('@', '.at.')))
    if shape == 7:
        head.append('References: ' + '\r\n\t'.join('<%d.%d@elsewhere.lab.test>' % (n, i) for i in range(20)))
    if shape == 9:
        head.append('X-Raw: caf\xe9 in Latin-1')
    if shape == 11:
        return '\r\n'.join(head).encode('latin-1') + b'\r\n\r\n'
    if shape == 1:
        part = base64.encodebytes(RANDOM.getrandbits(8 * 3000 * (n % 20 + 1)).to_bytes(3000 * (n % 20 + 1), 'big'))
        head += ['MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary="b%d"' % n]
        text = ('\r\n'.join(head) + '\r\n\r\n--b%d\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n' % n).encode('latin-1')
        text += body().encode() + b'\r\n--b%d\r\nContent-Type: application/octet-stream\r\n' % n
        text += b'Content-Transfer-Encoding: base64\r\n\r\n' + part.replace(b'\n', b'\r\n') + b'--b%d--\r\n' % n
        return text
    head += ['MIME-Version: 1.0', 'Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: 8bit']
    return '\r\n'.join(head).encode('latin-1') + b'\r\n\r\n' + body().encode() + b'\r\n'


def date(n):
    zone = datetime.timezone(datetime.timedelta(hours=n % 25 - 12))
    moment = datetime.datetime(2010, 1, 1, tzinfo=zone) + datetime.timedelta(seconds=n * 104729 % 440000000)
    return moment.strftime('"%d-%b-%Y %H:%M:%S %z"')


def check(answer):
    if answer[0] != 'OK':
        raise RuntimeError(answer)
    return answer[1]


def fill_mailbox(user, number):
    """Folders, messages with flags, keywords and dates, copies (hard links), gaps in the UIDs, subscriptions."""
    imap = imaplib.IMAP4('127.0.0.1')
    check(imap.authenticate('PLAIN', lambda _: ('\0%s\0%s' % (user['email'], user['password'])).encode()))
    names = [b'INBOX'] + (FOLDERS if user['mails'] > 300 else FOLDERS[number % 5::2] if user['mails'] else [])
    for name in names[1:]:
        check(imap.create(quoted(name)))
        if number % 3 != 2 or name == b'Sent':
            check(imap.subscribe(quoted(name)))
    if number == 4 and names[1:]:
        check(imap.delete(quoted(names[1])))  # made again: another UIDVALIDITY
        check(imap.create(quoted(names[1])))
    counts = {name: 0 for name in names}
    for i in range(user['mails']):
        name = names[RANDOM.randrange(len(names))] if i % 2 else b'INBOX'
        flags = [f for f in FLAGS if RANDOM.random() < (0.6 if f == r'\Seen' else 0.12)]
        flags += [k for k in KEYWORDS if RANDOM.random() < 0.06]
        check(imap.append(quoted(name), '(%s)' % ' '.join(flags), date(number * 1000 + i), mail(user['email'], number * 1000 + i)))
        counts[name] += 1
    for name in [n for n in names if counts[n] >= 6]:
        check(imap.select(quoted(name)))
        check(imap.uid('COPY', '2,4', quoted(name)))  # within the mailbox: Dovecot makes hard links
        check(imap.uid('COPY', '3', quoted(b'INBOX')))
        check(imap.uid('STORE', '1,5', '+FLAGS.SILENT', r'(\Deleted)'))
        check(imap.uid('EXPUNGE', '1,5'))
        check(imap.uid('STORE', '6', '+FLAGS.SILENT', '($Late Nonsense)'))
        check(imap.unselect())
    imap.logout()


def maildir(user):
    name, domain = user.split('@')
    return os.fsencode('/var/vmail/%s/%s/Maildir' % (domain, name))


def put(path, raw):
    with open(path, 'wb') as file:
        file.write(raw)
    os.utime(path, (1262304000 + len(path) * 86400, 1262304000 + len(path) * 86400))


def odd_names(user):
    """What years and other programs leave in a maildir, and IMAP cannot make."""
    top = maildir(user)
    for n, folder in enumerate([b'.Odd\nname', b'.B\xfccher', b'.not&utf7']):
        for sub in (b'cur', b'new', b'tmp'):
            os.makedirs(os.path.join(top, folder, sub))
        put(os.path.join(top, folder, b'maildirfolder'), b'')
        put(os.path.join(top, folder, b'cur', b'1262304000.odd%d.lab:2,FS' % n), mail(user, 90000 + n).replace(b'\r\n', b'\n'))
    put(os.path.join(top, b'cur', b'1262304100.h\xf6st.lab:2,S'), mail(user, 90010).replace(b'\r\n', b'\n'))
    put(os.path.join(top, b'cur', b'1262304101.new\nline.lab:2,'), mail(user, 90012).replace(b'\r\n', b'\n'))
    put(os.path.join(top, b'new', b'1262304102.unseen.lab'), mail(user, 90014).replace(b'\r\n', b'\n'))
    backup = os.path.join(os.path.dirname(top), b'backup \xfc 2009')  # Dovecot renames such a folder below Maildir
    os.makedirs(os.path.join(backup, b'cur'))
    put(os.path.join(backup, b'cur', b'1262304104.\xe9t\xe9:2,S'), mail(user, 90016).replace(b'\r\n', b'\n'))
    put(os.path.join(top, b'..', b'notes \xff.txt'), b'not a mail\n')
    put(os.path.join(top, b'tmp', b'1262304103.abandoned'), b'half a m')
    subprocess.run(['chown', '-R', 'vmail:vmail', os.path.dirname(top)], check=True)


def upload_sieve(user):
    """Over ManageSieve (RFC 5804), as a mail program would."""
    with socket.create_connection(('127.0.0.1', 4190), timeout=30) as sock:
        stream = sock.makefile('rwb')

        def answer():
            while True:
                line = stream.readline()
                if line[:2] == b'OK':
                    return
                if line[:2] in (b'NO', b'BY', b''):
                    raise RuntimeError('ManageSieve: %r' % line)

        answer()
        token = base64.b64encode(('\0%s\0%s' % (user['email'], user['password'])).encode())
        for command in (b'AUTHENTICATE "PLAIN" "%s"\r\n' % token,
                        b'PUTSCRIPT "main" {%d+}\r\n%s\r\n' % (len(SIEVE), SIEVE),
                        b'PUTSCRIPT "holiday" {6+}\r\nkeep;\n\r\n', b'SETACTIVE "main"\r\n'):
            stream.write(command)
            stream.flush()
            answer()


def deliver(users):
    """Through Postfix, rspamd and LMTP: unseen mail in new/, a compiled sieve script."""
    with smtplib.SMTP('127.0.0.1', timeout=60) as smtp:
        for n, user in enumerate(users):
            for subject in ('delivered', '[list] news'):
                smtp.sendmail('sender@lab.test', user['email'], 'From: sender@lab.test\r\nTo: %s\r\nSubject: %s %d\r\n'
                              'Message-ID: <%d.%s@delivered.lab.test>\r\n\r\nhello\r\n' % (user['email'], subject, n, n, subject[:4].strip('[]')))
    for _ in range(600):
        if b'Mail queue is empty' in subprocess.run(['mailq'], stdout=subprocess.PIPE).stdout:
            return
        time.sleep(0.1)
    raise RuntimeError('mail stayed in the queue:\n' + subprocess.run(['mailq'], stdout=subprocess.PIPE).stdout.decode())


def read_all(user):
    """Every message gets its UID now, so that reading a mailbox later changes caches only. Of the odd names, Dovecot 2.3
    lists `Odd\\nname` and `not&utf7` and then cannot open them, ignores the message file with a newline, and renames
    `.B\\xfccher` to `.B&,,0-cher` when it lists it."""
    imap = imaplib.IMAP4('127.0.0.1')
    check(imap.authenticate('PLAIN', lambda _: ('\0%s\0%s' % (user['email'], user['password'])).encode()))
    check(imap.list())  # the first one renames, the second shows the new name
    for line in check(imap.list()):
        attributes, name = re.match(rb'\((.*?)\) "." (.*)', line).groups()
        if b'Noselect' in attributes or name in (b'Odd&AAo-name', b'not&-utf7'):
            continue  # imaplib cannot read Dovecot's refusal of the former: it has a newline in it
        if int(check(imap.select(name.decode(), readonly=True))[0]):
            check(imap.fetch('1:*', '(UID FLAGS RFC822.SIZE)'))
        check(imap.unselect())
    imap.logout()


def main():
    accounts = json.load(sys.stdin)
    users = accounts['users']
    fill_database(accounts)
    for number, user in enumerate(users):
        fill_mailbox(user, number)
    for user in users[0:23:11]:
        upload_sieve(user)
    deliver(users[:12] + users[22:23])
    for user in users[0:11:10]:
        odd_names(user['email'])
    for user in users + users:  # Dovecot writes some lists anew when it reads them a second time
        read_all(user)
    count = sum(len(files) for path, _, files in os.walk('/var/vmail') if os.path.basename(path) in ('cur', 'new'))
    print('seeded: %d domains, %d users, %d mails' % (len(accounts['domains']), len(users), count))


main()
