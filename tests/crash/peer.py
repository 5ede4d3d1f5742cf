"""Peer that sends single messages to a daemon with a faulty disk, and checks them."""

import hashlib
import smtplib
from dataclasses import dataclass
from typing import Final, cast

from tests.crash.load import SENDER
from tests.support.machines.daemon import Daemon, client
from tests.support.waiting import until_now

BOX: Final = "claire.martin@a.mssante.fr"
SMALL: Final = 2_000  # octets of a body that is kept in the database
LARGE: Final = 400_000  # octets of a body that is kept in a file

Answer = tuple[int, bytes]  # code and enhanced code
ACCEPTED: Final[Answer] = (250, b"")
UNWELL: Final[Answer] = (451, b"4.3.0")
FULL: Final[Answer] = (452, b"4.3.1")


def letter(subject: str, size: int) -> bytes:
    """A message of about `size` octets."""
    head = f"From: <{SENDER}>\r\nSubject: {subject}\r\n\r\n".encode()
    return head + b"0123456789abcdef\r\n" * (size // 18)


def name(body: bytes) -> str:
    """Digest of a body, by which these tests know it."""
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Peer:
    """Operator b, a client of operator a's daemon."""

    daemon: Daemon

    def send(self, body: bytes) -> Answer:
        """Send a message; return its refusal or acceptance."""
        with client(self.daemon, "b") as smtp:
            try:
                smtp.sendmail(SENDER, [BOX], body)
            except smtplib.SMTPResponseException as refused:
                said = cast("bytes", refused.smtp_error)  # text only for errors of smtplib itself
                return refused.smtp_code, said.split()[0]
        return ACCEPTED

    def blobs(self) -> list[str]:
        """Digests of the bodies in the mailbox; each is read whole."""
        return [name(self.daemon.body(entry)) for entry in self.daemon.entries(BOX)]

    def well_again(self) -> None:
        """Wait until a daemon that was not restarted accepts mail again."""
        until_now(lambda: self.send(letter("well", SMALL)) == ACCEPTED)
