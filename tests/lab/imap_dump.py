#!/usr/bin/env python3
"""imap_dump.py HOST PORT  - what users see over IMAP, independent of rehome. stdin: JSON [[user, password], ...];
stdout: JSON {user: {folders, subscriptions}}. Folders are opened with EXAMINE and bodies read with BODY.PEEK:
no flag changes and new/ stays, but Dovecot still gives UIDs to mail it had not seen and writes its index caches."""
import calendar, datetime, hashlib, json, re, socket, ssl, sys, time
from concurrent.futures import ThreadPoolExecutor


def escape(raw):
    """Bytes as printable ASCII; reversible: a backslash and everything else becomes \\xNN."""
    return ''.join(chr(b) if 0x20 <= b < 0x7f and b != 0x5c else '\\x%02x' % b for b in raw)


def quote(raw):
    return b'"' + raw.replace(b'\\', b'\\\\').replace(b'"', b'\\"') + b'"'


class Imap:
    """As much of RFC 3501 as the dump needs; names and bodies stay bytes."""

    def __init__(self, host, port):
        deadline = time.monotonic() + 10
        while True:  # a connection refused because Dovecot is just starting is tried again
            try:
                self.sock = socket.create_connection((host, port), timeout=120)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.file, self.count = self.sock.makefile('rb'), 0
        self.file.readline()
        self.command(b'STARTTLS')
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the guide's self-signed certificate
        self.sock = context.wrap_socket(self.sock)
        self.file = self.sock.makefile('rb')

    def line(self):
        line = b''
        while not line.endswith(b'\r\n'):  # Dovecot puts a mailbox name with a bare newline into its error texts
            more = self.file.readline()
            if not more:
                raise EOFError('the server closed the connection')
            line += more
        return line

    def response(self):
        """One response line with its literals, as a nested list of tokens."""
        tokens = []
        while True:
            part = self.line()
            literal = re.search(rb'\{(\d+)\}\r\n$', part)
            if not literal:
                tokens.append(part[:-2])
                return parse(tokens)
            tokens.append(part[:literal.start()])
            tokens.append(Literal(self.file.read(int(literal[1]))))

    def command(self, line, literal=None):
        """Sends a command; gives its untagged responses; RuntimeError with the server's words unless OK."""
        self.count += 1
        tag = b'a%d' % self.count
        if literal is None:
            self.sock.sendall(tag + b' ' + line + b'\r\n')
        else:
            self.sock.sendall(tag + b' ' + line + b' {%d+}\r\n' % len(literal) + literal + b'\r\n')
        untagged = []
        while True:
            tokens = self.response()
            if tokens[0] == tag:
                if tokens[1].upper() != b'OK':
                    said = ' '.join(map(show, tokens[1:]))
                    raise RuntimeError(escape(line) + ': ' + re.sub(r' \([0-9. +]* secs\)', '', said))
                return untagged
            untagged.append(tokens)


class Literal(bytes):
    pass


def show(token):
    return '(' + ' '.join(map(show, token)) + ')' if isinstance(token, list) else escape(token)


TOKEN = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|((?:\[[^\]]*\]|[^\s()"\[])+))', re.S)


def parse(parts):
    stack = [[]]
    for part in parts:
        if isinstance(part, Literal):
            stack[-1].append(bytes(part))
            continue
        for match in TOKEN.finditer(part):
            opened, closed, quoted, atom = match.groups()
            if opened:
                stack.append([])
            elif closed and len(stack) > 1:
                done = stack.pop()
                stack[-1].append(done)
            elif quoted is not None:
                stack[-1].append(re.sub(rb'\\(.)', rb'\1', quoted, flags=re.S))
            elif atom:
                stack[-1].append(atom)
    return stack[0]


MONTHS = {m: i for i, m in enumerate(b'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(), 1)}


def instant(raw):
    """INTERNALDATE as seconds since 1970: the same moment whatever time zone the server writes it in."""
    day, month, year, h, m, s, sign, zh, zm = re.match(
        rb'\s*(\d+)-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)', raw).groups()
    utc = calendar.timegm(datetime.datetime(int(year), MONTHS[month], int(day), int(h), int(m), int(s)).timetuple())
    offset = int(zh) * 3600 + int(zm) * 60
    return utc - offset if sign == b'+' else utc + offset


def sha256(raw):
    return hashlib.sha256(raw).hexdigest()


def header(full, name):
    match = re.search(rb'(?im)^' + name + rb':[ \t]*(.*?)\r?$', full.split(b'\r\n\r\n', 1)[0])
    return escape(match[1]) if match else ''


def message(items):
    fields = {items[i].upper(): items[i + 1] for i in range(0, len(items) - 1, 2)}
    full = fields[b'BODY[]']
    flags = sorted(f.decode('latin-1') for f in fields[b'FLAGS'] if f.lower() != b'\\recent')
    return {'uid': int(fields[b'UID']), 'flags': flags, 'date': instant(fields[b'INTERNALDATE']), 'size': len(full),
            'header': sha256(fields[b'BODY[HEADER]']), 'text': sha256(fields[b'BODY[TEXT]']), 'full': sha256(full),
            'message_id': header(full, b'Message-ID'), 'subject': header(full, b'Subject')}


def folder(imap, name):
    out = {'uidvalidity': 0, 'uidnext': 0, 'messages': [], 'error': None}
    exists = 0
    for line in imap.command(b'EXAMINE', name):
        if line[-1:] == [b'EXISTS'] or b'EXISTS' in line:
            exists = int(line[1])
        for token in line:
            found = re.match(rb'\[(UIDVALIDITY|UIDNEXT) (\d+)\]', token) if isinstance(token, bytes) else None
            if found:
                out[found[1].decode().lower()] = int(found[2])
    if exists:
        want = b'UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[])'
        out['messages'] = [message(r[3]) for r in imap.command(want) if len(r) > 3 and r[2] == b'FETCH']
        if len(out['messages']) != exists:
            out['error'] = 'EXAMINE counted %d messages, FETCH gave %d' % (exists, len(out['messages']))
    return out


def user(host, port, name, password):
    imap = Imap(host, port)
    imap.command(b'LOGIN ' + quote(name.encode()), password.encode())
    folders = {}
    for line in imap.command(b'LIST "" "*"'):
        if line[1] == b'LIST':
            attributes, path = line[2], line[-1]
            # \HasChildren and the like depend on caches of the listing; \NoSelect says there is no mailbox.
            noselect = any(a.lower() in (b'\\noselect', b'\\nonexistent') for a in attributes)
            try:
                folders[escape(path)] = {'noselect': True} if noselect else folder(imap, path)
            except RuntimeError as error:
                folders[escape(path)] = {'error': str(error)}
    subscriptions = sorted(escape(line[-1]) for line in imap.command(b'LSUB "" "*"') if line[1] == b'LSUB')
    imap.command(b'LOGOUT')
    return {'folders': folders, 'subscriptions': subscriptions}


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    users = json.load(sys.stdin)

    def one(pair):
        try:
            return pair[0], user(host, port, *pair)
        except (OSError, EOFError, RuntimeError) as error:
            return pair[0], {'error': '%s: %s' % (type(error).__name__, error)}

    with ThreadPoolExecutor(4) as pool:
        json.dump(dict(pool.map(one, users)), sys.stdout)


if __name__ == '__main__':
    main()
