"""Sample peer: sends one message to a new operator.

Needs only Python and the certificate of the sample peer that `mssante init` created.
"""

import argparse
import smtplib
import ssl
import sys
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path

from ...assembly.clock import utc_now
from ...settings.endpoints import split_endpoint


def main() -> None:
    """Send and print the reply; exit 1 after a refusal or an error."""
    parser = argparse.ArgumentParser(prog="mssante_operator.setup.testbed.peer")
    parser.add_argument("pki", type=Path, help="folder with root.pem, peer.pem and peer.key")
    parser.add_argument("--server", required=True, help="HOST:PORT of the operator")
    parser.add_argument("--from", dest="sender", required=True)
    parser.add_argument("--to", required=True)
    given = parser.parse_args()
    try:
        host, port = split_endpoint(given.server)
        code, text = send(given.pki, host, port, given.sender, given.to)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        sys.exit(f"not sent: {error}")
    sys.stdout.write(f"{code} {text}\n")
    sys.exit(0 if code == 250 else 1)


def send(pki: Path, host: str, port: int, sender: str, to: str) -> tuple[int, str]:
    """Send a message over TLS as the sample peer.

    Returns code and text of the first refusal, or of the final reply.  Raises OSError,
    SMTPException.
    """
    message = EmailMessage()
    domain = sender.partition("@")[2]
    message["From"], message["To"], message["Subject"] = sender, to, "Essai"
    message["Date"], message["Message-ID"] = format_datetime(utc_now()), make_msgid(domain=domain)
    message.set_content("Bonjour.\n")
    context = ssl.create_default_context(cafile=pki / "root.pem")
    context.check_hostname = False  # certificates do not name the address of a test
    context.load_cert_chain(pki / "peer.pem", pki / "peer.key")
    with smtplib.SMTP(host, port, local_hostname=f"smtp.{domain}", timeout=30) as smtp:
        smtp.starttls(context=context)
        smtp.ehlo()
        for code, text in (smtp.mail(sender), smtp.rcpt(to)):
            if code != 250:
                return code, text.decode("utf-8", "replace")
        code, text = smtp.data(message.as_bytes(policy=policy.SMTP))
        return code, text.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
