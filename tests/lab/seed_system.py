#!/usr/bin/env python3
"""seed_system.py < accounts.json  - runs on an old server as root, after seed.py: what it has gathered besides mail. DKIM keys
for its domains, what rspamd has learned, and what its users keep in Roundcube; all made by the programs' own tools or schema."""
import json, os, random, socket, subprocess, sys, tempfile, time

RANDOM = random.Random(20240502)
SELECTOR = '2024'
HAM = ('meeting minutes agenda draft budget review customer delivery schedule holiday garden train ticket conference '
       'travel lunch project milestone contract signature translation library recipe concert rehearsal').split()
SPAM = ('winner lottery casino bonus pills cheap replica watches unlimited credit offer urgent transfer million prize '
        'investment crypto guaranteed discount click unsubscribe miracle weight loan approved').split()
FIRST = 'Änne Björn Chloé Dörte Emil Françoise Günter Håkon Ines Jürgen Käthe Łukasz Márta Noël Øystein Petra'.split()
LAST = "Müßig O'Brien Šimek Weiß Çelik Straße Nuñez Öztürk Schmidt d'Arc Žižek Petrov".split()


def run(*words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if done.returncode:
        raise RuntimeError('%s ended with %d:\n%s' % (' '.join(words)[:200], done.returncode, done.stdout.decode()))
    return done.stdout.decode()


def dkim(domains):
    """One key for each domain, as the guide has it; the public part is to be read from the key."""
    for domain in domains:
        key = '/var/lib/rspamd/dkim/%s.%s.key' % (domain, SELECTOR)
        run('rspamadm', 'dkim_keygen', '-b', '2048', '-d', domain, '-s', SELECTOR, '-k', key)
        run('chown', '_rspamd:_rspamd', key)
        os.chmod(key, 0o440)
        with open('/etc/rspamd/dkim_selectors.map', 'a') as selectors:
            selectors.write('%s %s\n' % (domain, SELECTOR))


def lesson(kind, words, n):
    lines = [' '.join(RANDOM.sample(words, 8)) for _ in range(6)]
    return ('From: %s%d@elsewhere.lab.test\nTo: anna@example.org\nSubject: %s\nMessage-ID: <%s.%d@lesson.lab.test>\n'
            'Date: Tue, 02 Jan 2024 10:%02d:00 +0100\nContent-Type: text/plain; charset=utf-8\n\n%s\nnumber %d\n'
            % (kind, n, ' '.join(RANDOM.sample(words, 4)), kind, n, n, '\n'.join(lines), n))


def train(amounts):
    for _ in range(300):  # rspamd may still be starting
        with socket.socket() as controller:
            if controller.connect_ex(('127.0.0.1', 11334)) == 0:
                break
        time.sleep(0.2)
    with tempfile.TemporaryDirectory() as folder:
        for kind, words in (('ham', HAM), ('spam', SPAM)):
            names = [os.path.join(folder, '%s%d.eml' % (kind, n)) for n in range(amounts[kind])]
            for n, name in enumerate(names):
                with open(name, 'w') as file:
                    file.write(lesson(kind, words, n))
            run('rspamc', 'learn_' + kind, *names)
    # Not by `rspamc stat`: a running rspamd looks these numbers up every now and then only.
    learned = run('redis-cli', 'hmget', 'RS', 'learns_ham', 'learns_spam').split()
    if learned != [str(amounts['ham']), str(amounts['spam'])]:
        raise RuntimeError('rspamd has learned %r' % learned)


def text(value):
    return "'%s'" % value.replace('\\', '\\\\').replace("'", "\\'")


def insert(table, **values):
    columns = ', '.join('`%s`' % name.replace('_to', '-to') for name in values)
    shown = ', '.join(value if value.startswith('@') else text(value) for value in values.values())
    return 'INSERT INTO %s (%s) VALUES (%s);' % (table, columns, shown)


def card(first, last, email):
    return 'BEGIN:VCARD\r\nVERSION:3.0\r\nN:%s;%s;;;\r\nFN:%s %s\r\nEMAIL;TYPE=INTERNET:%s\r\nEND:VCARD' % (last, first, first, last, email)


def webmail_user(user):
    """As Roundcube writes them: contacts deleted by their owner stay as rows with `del` set."""
    email, rows = user['email'], []
    host = os.uname().nodename.split('.')[0] + '.lab.test'
    rows.append(insert('users', username=email, mail_host=host, created='2019-03-04 05:06:07', last_login='2024-05-01 08:00:00',
                       language='de_DE', preferences='a:2:{s:8:"timezone";s:13:"Europe/Berlin";s:10:"skin_color";s:5:"grün";}'))
    rows.append('SET @user = LAST_INSERT_ID();')
    for n in range(user['identities']):
        rows.append(insert('identities', user_id='@user', changed='2020-01-%02d 00:00:00' % (n + 1), standard='1' if n == 0 else '0',
                           name='%s %s' % (RANDOM.choice(FIRST), RANDOM.choice(LAST)), organization='Grüne Welle e. V.' if n else '',
                           email=email, reply_to='' if n == 0 else 'reply%d@elsewhere.lab.test' % n,
                           signature='-- \nViele Grüße\n%d "quoted" \\ %%' % n))
    for n in range(user['contacts']):
        first, last = RANDOM.choice(FIRST), RANDOM.choice(LAST)
        address = 'contact%d@elsewhere.lab.test' % n
        rows.append(insert('contacts', user_id='@user', changed='2021-02-%02d 10:00:00' % (n % 28 + 1), name='%s %s' % (first, last),
                           email=address, firstname=first, surname=last, vcard=card(first, last, address),
                           words=' %s %s %s ' % (first.lower(), last.lower(), address)))
    if user['contacts'] > 5:
        rows.append(insert('contacts', user_id='@user', changed='2022-02-02 02:02:02', **{'del': '1'}, name='former friend',
                           email='former@elsewhere.lab.test', vcard=card('former', 'friend', 'former@elsewhere.lab.test'), words=''))
    for place, group in enumerate(user['groups']):
        rows.append(insert('contactgroups', user_id='@user', changed='2021-03-03 03:03:03', name=group))
        rows.append('SET @contactgroup = LAST_INSERT_ID();')
        rows.append("INSERT INTO contactgroupmembers (contactgroup_id, contact_id, created) SELECT @contactgroup, contact_id, "
                    "'2021-03-04 00:00:00' FROM contacts WHERE user_id = @user AND del = 0 AND contact_id %% 3 <> %d;" % (place % 3))
    rows.append(insert('searches', user_id='@user', type='2', name='ungelesen', data='a:1:{s:6:"folder";s:5:"INBOX";}'))
    return rows


def webmail(users):
    rows = [row for user in users for row in webmail_user(user)]
    # The tables of 1.4 are utf8, the client must say so too.
    run('mysql', '--default-character-set=utf8', 'roundcube', input='\n'.join(rows).encode())


def main():
    accounts = json.load(sys.stdin)
    train(accounts['training'])
    dkim(accounts['domains'])
    webmail(accounts['webmail'])
    print('seeded: %d DKIM keys, %d lessons for rspamd, %d users of Roundcube' % (
        len(accounts['domains']), sum(accounts['training'].values()), len(accounts['webmail'])))


main()
