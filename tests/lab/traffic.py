#!/usr/bin/env python3
"""traffic.py HOST RATE RUN RECIPIENT...  - sends RATE mails a second to HOST by SMTP, to each recipient in turn, until
stdin is closed; writes one JSON line for each mail when its answer is known: {token, sender, recipient, code, reply}. Code 250
means the server has taken responsibility for it; code 0 means no answer (nothing is promised, it may have arrived).
Envelope senders are those in the variable SENDERS, each in turn; without it sender@lab.test."""
import email.utils, json, os, select, smtplib, sys, time

SENDERS = os.environ.get('SENDERS', 'sender@lab.test').split()
BODY = 'Sent while the server moves.\r\n' + 'x' * 70 + '\r\n'


def send(host, sender, recipient, token):
    text = 'From: %s\r\nTo: %s\r\nDate: %s\r\nSubject: %s\r\nMessage-ID: <%s@traffic.lab.test>\r\n\r\n%s' % (
        sender, recipient, email.utils.formatdate(), token, token, BODY)
    smtp = smtplib.SMTP(host, 25, local_hostname='outside.lab.test', timeout=20)
    try:
        smtp.ehlo()
        code, reply = smtp.mail(sender)
        if code == 250:
            code, reply = smtp.rcpt(recipient)
        if code in (250, 251):
            code, reply = smtp.data(text)
    finally:
        smtp.close()  # no QUIT: its failure must not hide the answer to DATA
    return code, reply.decode('ascii', 'replace')


def main():
    host, rate, run, recipients = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4:]
    count, due = 0, time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        due = max(due + 1 / rate, time.monotonic() - 1)
        recipient, token = recipients[count % len(recipients)], 'traffic-%s-%d' % (run, count)
        sender = SENDERS[count % len(SENDERS)]
        count += 1
        try:
            code, reply = send(host, sender, recipient, token)
        except smtplib.SMTPResponseException as error:
            code, reply = error.smtp_code, repr(error)
        except (OSError, smtplib.SMTPException) as error:
            code, reply = 0, repr(error)
        answer = {'token': token, 'sender': sender, 'recipient': recipient, 'code': code, 'reply': reply}
        print(json.dumps(answer), flush=True)


main()
