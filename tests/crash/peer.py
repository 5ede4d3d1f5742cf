"""A peer that sends one message at a time to a daemon whose disk is unwell, and looks after it."""

import hashlib
import smtplib
from dataclasses import dataclass
from typing import Final, cast

from tests.crash.load import SENDER
from tests.support.daemon import Daemon, client
from tests.support.waiting import until_now

BOX: Final = "claire.martin@a.mssante.fr"
SMALL: Final = 2_000  # octets of a body that is kept in the database
LARGE: Final = 400_000  # and of one that is a file

Answer = tuple[int, bytes]  # code and enhanced code
ACCEPTED: Final[Answer] = (250, b"")
UNWELL: Final[Answer] = (451, b"4.3.0")
FULL: Final[Answer] = (452, b"4.3.1")


def letter(subject: str, size: int) -> bytes:
    """A message of about so many octets."""
    head = f"From: <{SENDER}>\r\nSubject: {subject}\r\n\r\n".encode()
    return head + b"0123456789abcdef\r\n" * (size // 18)


def name(body: bytes) -> str:
    """What its body is stored under."""
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Peer:
    """Operator b, before operator a's daemon."""

    daemon: Daemon

    def send(self, body: bytes) -> Answer:
        """Send one message; its refusal, or that it was accepted."""
        with client(self.daemon, "b") as smtp:
            try:
                smtp.sendmail(SENDER, [BOX], body)
            except smtplib.SMTPResponseException as refused:
                said = cast("bytes", refused.smtp_error)  # of smtplib's own it would be text
                return refused.smtp_code, said.split()[0]
        return ACCEPTED

    def blobs(self) -> list[str]:
        """The bodies of the messages in the mailbox; each is read, and must be what it was."""
        found = self.daemon.entries(BOX)
        for entry in found:
            assert name(self.daemon.body(entry)) == entry.message.blob
        return [entry.message.blob for entry in found]

    def well_again(self) -> None:
        """Wait until mail is taken again, by a daemon that was not started again."""
        until_now(lambda: self.send(letter("well", SMALL)) == ACCEPTED)
