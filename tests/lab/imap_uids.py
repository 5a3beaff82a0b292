#!/usr/bin/env python3
"""imap_uids.py PASSWORD USER...  - runs on a mail server: what these users see over IMAP, as lines MAILBOX <tab> UID <tab> FLAGS after
a line USER; for mails by the hundred thousand. Over the loopback, where Dovecot takes passwords without TLS. Folders are opened with
EXAMINE, and no body is read."""
import imaplib, re, sys
from concurrent.futures import ThreadPoolExecutor

SEEN = re.compile(rb'UID (\d+)')
FLAGS = re.compile(rb'FLAGS \(([^)]*)\)')


def user(name):
    imap = imaplib.IMAP4('127.0.0.1', 143)
    imap.login(name, sys.argv[1])
    lines = [name]
    for raw in sorted(imap.list()[1]):
        mailbox = raw.split(b'"')[-2] if raw.endswith(b'"') else raw.split(b' ')[-1]
        _, count = imap.select(b'"' + mailbox + b'"', readonly=True)
        if int(count[0]) == 0:
            continue
        for told in imap.uid('FETCH', '1:*', '(FLAGS)')[1]:
            # \Recent is the session's, not the mail's.
            flags = sorted(flag for flag in FLAGS.search(told)[1].split() if flag != b'\\Recent')
            lines.append('%s\t%s\t%s' % (mailbox.decode(), SEEN.search(told)[1].decode(), b' '.join(flags).decode()))
    imap.logout()
    return '\n'.join(lines)


with ThreadPoolExecutor(4) as pool:
    for lines in pool.map(user, sys.argv[2:]):
        print(lines)
