"""Common helpers of tests with other mail servers: hand them a message, check its arrival."""

import re
import smtplib
from collections.abc import Sequence

from tests.support.machines.daemon import Daemon
from tests.support.waiting import until_now

MARTIN = "claire.martin@a.mssante.fr"
CARDIOLOGY = "cardiologie@a.mssante.fr"
NOBODY = "nobody@a.mssante.fr"
DURAND = "durand@b.mssante.fr"


def hand_over(port: int, recipients: Sequence[str], message: bytes) -> None:
    """Submit a message of Dr Durand to a mail server on loopback, like its own users."""
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
        smtp.sendmail(DURAND, recipients, message, ["BODY=8BITMIME"])


def fields_on_top(message: bytes, original: bytes) -> set[bytes]:
    """Names of the header fields in front of the unchanged original."""
    assert message.endswith(original)
    added = message.removesuffix(original).replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    return {line.partition(b":")[0].lower() for line in added.splitlines()}


def refusing_session(log: str, daemon: Daemon) -> str:
    """Session ID in our reply, from a peer's log; our own log must have it too."""
    found = re.search(r"554[ -]5\.7\.1 [^\n]*\[session ([0-9a-f]+)\]", log)
    assert found is not None, log
    (session,) = found.groups()
    until_now(lambda: session in daemon.log())
    return str(session)
