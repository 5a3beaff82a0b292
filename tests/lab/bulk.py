#!/usr/bin/env python3
"""bulk.py fill USERS MESSAGES         - runs on an old server as root: in place of everybody who is there, so many users with
                                       so many mails in all, the same each time
bulk.py churn SEED NEW FLAGS GONE      - shares of all mails: so many arrive, get other flags, are deleted
bulk.py trickle SEED RATE              - so many a second, in turns, until Dovecot has stopped; says "ready" first
Maildirs as Dovecot's LMTP and IMAP would leave them, but for its own files: written directly, for mails by the hundred thousand."""
import crypt, os, random, shutil, subprocess, sys, time

VMAIL, TOP, DOMAIN, PASSWORD = 5000, '/var/vmail', 'example.org', 'secret'
MAILBOXES = ['', '.Sent', '.Archive', '.Archive.2020', '.Trash']
EMPTY = ['.Drafts', '.Junk']
WORDS = ('the of to and in we you for mail server letter order invoice meeting garden summer winter train ticket price answer '
         'question please thanks regards yesterday tomorrow attached number street Monday').split()


def name(number):
    return 'user%03d' % number


def maildir(number, mailbox):
    return os.path.join(TOP, DOMAIN, name(number), 'Maildir', mailbox)


def become_vmail():
    os.setgroups([])
    os.setgid(VMAIL)
    os.setuid(VMAIL)
    os.umask(0o077)


def fill_database(users):
    stored = '{SHA256-CRYPT}' + crypt.crypt(PASSWORD, '$5$rounds=1000$bulk')
    rows = ['DELETE FROM virtual_aliases; DELETE FROM virtual_users; DELETE FROM virtual_domains;',
            "INSERT INTO virtual_domains (id, name) VALUES (1, '%s');" % DOMAIN]
    rows += ["INSERT INTO virtual_users (domain_id, email, password, quota) VALUES (1, '%s@%s', '%s', 0);"
             % (name(number), DOMAIN, stored) for number in range(users)]
    subprocess.run(['mysql', 'mailserver'], input='\n'.join(rows).encode(), check=True)


class Writer:
    """Messages cut from one long text: mostly of 1-3 KB, some of up to 8."""

    def __init__(self, seed, first):
        self.random, self.count = random.Random(seed), first
        line = lambda: ' '.join(self.random.choices(WORDS, k=10))
        self.text = '\n'.join(line() for _ in range(8000)).encode()

    def write(self, leaf, flags):
        self.count += 1
        size = self.random.choices((1500, 3500, 6500), (6, 3, 1))[0] + self.random.randrange(-900, 1500)
        at = self.random.randrange(len(self.text) - size)
        raw = (b'Return-Path: <a@elsewhere.lab.test>\nFrom: a@elsewhere.lab.test\nTo: b@%s\nSubject: mail %d\n'
               b'Date: Tue, 02 Jan 2018 10:00:00 +0100\nMessage-ID: <%d@bulk.lab.test>\n\n'
               % (DOMAIN.encode(), self.count, self.count)) + self.text[at:at + size] + b'\n'
        # S: bytes, W: bytes with line ends as on the wire; what Dovecot puts there saves it from reading the file.
        path = '%s/%d.M%dP1.old,S=%d,W=%d%s' % (leaf, 1600000000 + self.count, self.count, len(raw), len(raw) + raw.count(b'\n'), flags)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(file, raw)
        os.close(file)


def fill(users, messages):
    fill_database(users)
    for entry in os.scandir(TOP):
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    become_vmail()
    writer = Writer(1, 0)
    boxes = [maildir(number, mailbox) for number in range(users) for mailbox in MAILBOXES]
    for box in boxes + [maildir(number, mailbox) for number in range(users) for mailbox in EMPTY]:
        for leaf in ('cur', 'new', 'tmp'):
            os.makedirs(os.path.join(box, leaf))
        if not box.endswith('/'):
            open(os.path.join(box, 'maildirfolder'), 'w').close()
    for at, box in enumerate(boxes):
        for _ in range(messages // len(boxes) + (at < messages % len(boxes))):
            writer.write(os.path.join(box, 'cur'), ':2,S')


def all_boxes():
    domain = os.path.join(TOP, DOMAIN)
    return [os.path.join(domain, user, 'Maildir', mailbox) for user in sorted(os.listdir(domain)) for mailbox in MAILBOXES]


def mails_of(box):
    return [os.path.join(box, leaf, file) for leaf in ('cur', 'new') for file in sorted(os.listdir(os.path.join(box, leaf)))]


def change_flags(path):
    base, _, had = os.path.basename(path).partition(':2,')
    cur = os.path.join(os.path.dirname(os.path.dirname(path)), 'cur')
    os.rename(path, os.path.join(cur, '%s:2,%s' % (base, 'S' if 'F' in had else 'FS')))


def churn(seed, new, flags, gone):
    become_vmail()
    chance = random.Random(seed)
    boxes = all_boxes()
    mails = [mail for box in boxes for mail in mails_of(box)]
    count = len(mails)
    touched = chance.sample(mails, int(count * flags) + int(count * gone))
    for at, path in enumerate(touched):
        os.unlink(path) if at < int(count * gone) else change_flags(path)
    writer = Writer(seed, 1000000 * (1 + seed))
    for _ in range(int(count * new)):
        writer.write(os.path.join(chance.choice(boxes), 'new'), '')


def trickle(seed, rate):
    become_vmail()
    chance, boxes, done = random.Random(seed), all_boxes(), 0
    writer = Writer(seed, 1000000 * (1 + seed) + 500000)
    print('ready', flush=True)
    while os.path.exists('/run/dovecot/master.pid'):
        box = chance.choice(boxes)
        mails = mails_of(box) if done % 3 else []
        if not mails:
            writer.write(os.path.join(box, 'new'), '')
        elif done % 3 == 1:
            change_flags(chance.choice(mails))
        else:
            os.unlink(chance.choice(mails))
        done += 1
        time.sleep(1 / rate)


if sys.argv[1] == 'fill':
    fill(int(sys.argv[2]), int(sys.argv[3]))
elif sys.argv[1] == 'churn':
    churn(int(sys.argv[2]), *map(float, sys.argv[3:6]))
else:
    trickle(int(sys.argv[2]), float(sys.argv[3]))
