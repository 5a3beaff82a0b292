#!/usr/bin/env python3
"""swap.py FOLDER LINK TARGET MARK  - exchanges FOLDER and the symbolic link LINK (to TARGET), there and back, as fast as it can,
until MARK.stop is there; then FOLDER is a folder, and MARK tells how often. Runs on a machine; LINK lies on the same disk.
Who else moves the two meanwhile does not stop it: what is missing is made again."""
import ctypes, os, shutil, sys

folder, link, target, mark = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def exchange():
    if libc.renameat2(AT_FDCWD, os.fsencode(folder), AT_FDCWD, os.fsencode(link), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), 'renameat2')


def is_folder(path):
    return os.path.isdir(path) and not os.path.islink(path)


def mend():
    if not os.path.lexists(folder):
        os.rename(link, folder) if is_folder(link) else os.mkdir(folder)
    if is_folder(folder) and is_folder(link):
        shutil.rmtree(link)
    if os.path.islink(folder) and not is_folder(link):
        os.unlink(folder)
        os.mkdir(folder)
    if not os.path.lexists(link):
        os.symlink(target, link)


swaps = 0
while swaps % 100 or not os.path.exists(mark + '.stop'):
    try:
        # Two folders, or two links, are nothing to swap.
        if os.path.islink(folder) == os.path.islink(link):
            mend()
        exchange()
        swaps += 1
    except OSError:
        try:
            mend()
        except OSError:
            pass
while not is_folder(folder):
    try:
        mend()
        exchange()
    except OSError:
        pass
with open(mark, 'w') as file:
    file.write(str(swaps))
