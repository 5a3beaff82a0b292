#!/usr/bin/env python3
"""knock.py USER PASSWORD [FILE]  - runs on a mail server: logs in over IMAP as soon as it is let in, once. Begins when FILE is
there; says "ready" when it would, and ends when it was let in. Over the loopback, where Dovecot takes passwords without TLS."""
import os, socket, sys, time


def let_in(user, password):
    try:
        with socket.create_connection(('127.0.0.1', 143), timeout=10) as sock:
            lines = sock.makefile('rb')
            lines.readline()
            sock.sendall(('a LOGIN "%s" "%s"\r\n' % (user, password)).encode())
            for line in lines:
                if line.startswith(b'a '):
                    return line.startswith(b'a OK')
    except OSError:
        pass  # nobody there yet: that is what is waited for
    return False


user, password = sys.argv[1:3]
print('ready', flush=True)
while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
    time.sleep(0.005)
while not let_in(user, password):
    time.sleep(0.01)
