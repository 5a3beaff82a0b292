#!/usr/bin/env python3
"""users.py HOST  - users at work over IMAP while their server moves, independent of rehome. First line of stdin: JSON
{seed, work: [[user, password], …], knock: [[user, password], …]}; ends when stdin is closed. Whoever works moves, copies, flags,
deletes and files mail by seeded chance until the connection is lost; one JSON line for each change, when its answer is known:
{user, op, id, folder, to, flag, state}, state "ok", "refused", or "unknown" (sent, and never answered: it may have happened or
not). `id` is the Message-ID. Whoever knocks logs in and out again, all the time, by name: downtime is when nobody gets in."""
import json, os, random, re, socket, ssl, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from imap_dump import Imap, quote

FILED = b'Filed while moving'
FLAGS = [b'\\Flagged', b'\\Answered', b'$Later']
LOST = (OSError, EOFError, ssl.SSLError)
stop, printing = threading.Event(), threading.Lock()


def say(**line):
    with printing:
        print(json.dumps(line), flush=True)


class Person:
    def __init__(self, host, seed, name, password):
        self.name, self.chance, self.filed = name, random.Random('%s %s' % (seed, name)), 0
        self.imap = Imap(host, 143)
        self.imap.command(b'LOGIN ' + quote(name.encode()), password.encode())
        if not any(line[1] == b'LIST' for line in self.imap.command(b'LIST "" ' + quote(FILED))):
            self.imap.command(b'CREATE ' + quote(FILED))

    def change(self, op, line, literal=None, **about):
        """Sends one command that changes something, and says what came of it."""
        try:
            self.imap.command(line, literal)
        except RuntimeError:
            say(user=self.name, op=op, state='refused', **about)
            return False
        except LOST:
            say(user=self.name, op=op, state='unknown', **about)
            raise
        say(user=self.name, op=op, state='ok', **about)
        return True

    def pick(self, folder):
        """A message of a folder, often one of the newest: its UID and Message-ID."""
        self.imap.command(b'SELECT ' + quote(folder))
        found = [line for line in self.imap.command(b'UID SEARCH UNDELETED') if line[1] == b'SEARCH']
        uids = [int(uid) for line in found for uid in line[2:]]
        if not uids:
            return None
        uid = self.chance.choice(uids[-8:] if self.chance.random() < 0.6 else uids)
        for line in self.imap.command(b'UID FETCH %d (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])' % uid):
            text = line[3][-1] if len(line) > 3 and line[2] == b'FETCH' else b''
            match = re.search(rb'(?i)message-id:\s*(<[^>]*>)', text) if isinstance(text, bytes) else None
            if match:
                return uid, match[1].decode('ascii', 'replace')
        return None

    def file(self):
        """As a mail program files what it sent."""
        self.filed += 1
        ident = '<%s.%d@filed.lab.test>' % (self.name.replace('@', '.'), self.filed)
        text = 'From: %s\r\nTo: a@elsewhere.lab.test\r\nSubject: filed\r\nMessage-ID: %s\r\n\r\nkept\r\n' % (self.name, ident)
        self.change('append', b'APPEND ' + quote(FILED) + b' (\\Seen)', text.encode(), id=ident, to=FILED.decode())

    def act(self):
        if self.chance.random() < 0.15:
            return self.file()
        folder, to = (b'INBOX', FILED) if self.chance.random() < 0.75 else (FILED, b'INBOX')
        picked = self.pick(folder)
        if not picked:
            return self.file()
        uid, ident = picked
        about = {'id': ident, 'folder': folder.decode()}
        what = self.chance.random()
        if what < 0.35:
            self.change('move', b'UID MOVE %d ' % uid + quote(to), to=to.decode(), **about)
        elif what < 0.5:
            self.change('copy', b'UID COPY %d ' % uid + quote(to), to=to.decode(), **about)
        elif what < 0.8:
            flag = self.chance.choice(FLAGS)
            self.change('flag', b'UID STORE %d +FLAGS.SILENT (' % uid + flag + b')', flag=flag.decode(), **about)
        elif self.change('mark', b'UID STORE %d +FLAGS.SILENT (\\Deleted)' % uid, flag='\\Deleted', **about):
            self.change('expunge', b'UID EXPUNGE %d' % uid, **about)


def work(host, seed, name, password):
    try:
        person = Person(host, seed, name, password)
        while not stop.wait(0.1 + person.chance.random() * 0.4):
            person.act()
    except LOST as error:
        say(user=name, op='end', state=repr(error))


def knock(host, name, password):
    """Looks the name up each time, as a mail program that was just started does."""
    while not stop.wait(0.2):
        try:
            with socket.create_connection((host, 143), timeout=5) as sock:
                file = sock.makefile('rwb')
                file.readline()
                file.write(b'a STARTTLS\r\n')
                file.flush()
                file.readline()
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(sock) as inside:
                    secret = password.encode()
                    inside.sendall(b'b LOGIN %s {%d+}\r\n%s\r\nc LOGOUT\r\n' % (quote(name.encode()), len(secret), secret))
                    while inside.recv(4096):
                        pass
        except OSError:
            pass  # nobody there, or no longer: that is what is measured


def main():
    host, told = sys.argv[1], json.loads(sys.stdin.readline())
    threads = [threading.Thread(target=work, args=(host, told['seed'], *who)) for who in told['work']]
    threads += [threading.Thread(target=knock, args=(host, *who)) for who in told['knock']]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


main()
