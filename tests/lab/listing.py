#!/usr/bin/env python3
"""listing.py ROOT...  - every entry below each ROOT as JSON, to compare before with after. Runs on a machine, as root.
Names are bytes: everything but printable ASCII (and the backslash) is written \\xNN. Nothing is followed or changed;
other file systems below a root (/proc, /dev) are left out."""
import hashlib, json, os, stat, sys


def escape(raw):
    return ''.join(chr(b) if 0x20 <= b < 0x7f and b != 0x5c else '\\x%02x' % b for b in raw)


KINDS = {stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'link', stat.S_IFIFO: 'fifo',
         stat.S_IFSOCK: 'socket', stat.S_IFCHR: 'char', stat.S_IFBLK: 'block'}


def sha256(path):
    digest = hashlib.sha256()
    # O_NOATIME: reading leaves no trace on the side that must not change.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME), 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def entry(path, meta, twins):
    kind = KINDS[stat.S_IFMT(meta.st_mode)]
    out = {'path': escape(path), 'kind': kind, 'mode': stat.S_IMODE(meta.st_mode), 'uid': meta.st_uid,
           'gid': meta.st_gid, 'size': meta.st_size, 'mtime_ns': meta.st_mtime_ns, 'links': meta.st_nlink}
    if kind == 'file':
        out['sha256'] = sha256(path)
        if meta.st_nlink > 1:  # the first name of the inode stands for all of them
            out['same_as'] = twins.setdefault((meta.st_dev, meta.st_ino), out['path'])
    if kind == 'link':
        out['target'] = escape(os.readlink(path))
    return out


def walk(path, meta, twins, out):
    try:
        out.append(entry(path, meta, twins))
    except FileNotFoundError:
        return  # vanished meanwhile: normal on a running server
    if stat.S_ISDIR(meta.st_mode):
        try:
            names = sorted(os.listdir(path))
        except FileNotFoundError:
            return
        for name in names:
            child = os.path.join(path, name)
            try:
                below = os.lstat(child)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(below.st_mode) or not os.path.ismount(child):
                walk(child, below, twins, out)


entries, twins = [], {}
for root in map(os.fsencode, sys.argv[1:]):
    if os.path.lexists(root):
        walk(root, os.lstat(root), twins, entries)
json.dump(entries, sys.stdout)
