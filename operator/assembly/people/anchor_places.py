"""Places off the machine that anchors of the audit trail are sent to: files, syslog, mail.

Each place takes anchors as lines of JSON (`SignedStatement.line`), the oldest first.  An anchor may
come twice.
"""

import io
import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final, Protocol

from foundation.fsync import sync_directory
from mailstore.audit.statement import SignedStatement, parse_statement
from relay.smtp.address import SmtpAddress, parse_address
from relay.smtp.errors import SmtpError, SyntaxRefused
from relay.submission.local import LocalSubmitter

from ...settings.audit import FILE, LOCAL_SYSLOG, MAIL, SYSLOG
from ...settings.endpoints import split_endpoint
from ...settings.model import Settings, SettingsError
from ..faults import settings_fault

SECONDS: Final = 10.0  # for a connection to a syslog server, and for each write
_PRIORITY: Final = 10 * 8 + 5  # facility authpriv, severity notice (RFC 5424 §6.2.1)
_LOCAL: Final = Path("/dev/log")


class Place(Protocol):
    """A place for anchors."""

    @property
    def name(self) -> str:
        """Name as in audit.anchors_to."""

    def send(self, anchors: Sequence[SignedStatement]) -> None:
        """Hand anchors over.  Blocks.  Raises OSError, SmtpError, MailstoreError."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file that lines are appended to; on disk at the end."""

    name: str
    path: Path

    def send(self, anchors: Sequence[SignedStatement]) -> None:
        """Append the anchors."""
        # Not to wait for the reader of a pipe, which is no file that keeps anything.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        with io.FileIO(os.open(self.path, flags, 0o600), "ab") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(f"{self.path} is not a regular file")
            # The leading line end closes a line that a full disk left unfinished.
            octets = b"\n" + "".join(f"{one.line()}\n" for one in anchors).encode()
            while octets:
                octets = octets[file.write(octets) :]
            os.fsync(file.fileno())
        sync_directory(self.path.parent)


@dataclass(frozen=True, slots=True)
class LocalSyslogPlace:
    """The syslog daemon of this machine, which sends its lines on."""

    name: str
    path: Path = _LOCAL

    def send(self, anchors: Sequence[SignedStatement]) -> None:
        """Send a datagram for each anchor."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.settimeout(SECONDS)
            link.connect(str(self.path))
            for one in anchors:
                link.sendall(f"<{_PRIORITY}>mssante[{os.getpid()}]: {one.line()}".encode())


@dataclass(frozen=True, slots=True)
class SyslogPlace:
    """A syslog server over TCP: RFC 5424 messages with octet counting (RFC 6587 §3.4.1)."""

    name: str
    host: str
    port: int
    hostname: str
    clock: Callable[[], datetime]

    def send(self, anchors: Sequence[SignedStatement]) -> None:
        """Send a message for each anchor over one connection."""
        with socket.create_connection((self.host, self.port), SECONDS) as link:
            for one in anchors:
                head = f"<{_PRIORITY}>1 {self.clock().isoformat()} {self.hostname} mssante"
                message = f"{head} {os.getpid()} anchor - {one.line()}".encode()
                link.sendall(b"%d %s" % (len(message), message))
            link.shutdown(socket.SHUT_WR)
            # A server that has gone away answers with a reset: then the anchors are sent again.
            with suppress(TimeoutError):
                link.recv(1)


@dataclass(frozen=True, slots=True)
class MailPlace:
    """A mailbox at another operator, by a message of our postmaster through the queue."""

    name: str
    to: SmtpAddress
    sender: SmtpAddress
    submitter: LocalSubmitter

    def send(self, anchors: Sequence[SignedStatement]) -> None:
        """Submit one message with all anchors as an attachment."""
        submitter = self.submitter
        octets = anchor_message(
            anchors,
            sender=str(self.sender),
            to=str(self.to),
            message_id=f"{submitter.new_id()}@{submitter.hostname}",
            at=submitter.clock(),
        )
        submitter.submit(io.BytesIO(octets), self.sender, [self.to])


def anchor_message(
    anchors: Sequence[SignedStatement], *, sender: str, to: str, message_id: str, at: datetime
) -> bytes:
    """Message (RFC 5322) with anchors, oldest first, as lines of an attachment.  Pure."""
    numbers = [parse_statement(one.statement).number for one in anchors]
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["From"], message["To"] = sender, to
    message["Subject"] = f"Piste d'audit : ancre {numbers[-1]}"
    message["Date"], message["Message-ID"] = format_datetime(at), f"<{message_id}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5
    message.set_content(
        "Gardez ce message : il prouve l'état de la piste d'audit de l'expéditeur.\n"
        "Keep this message: it proves the state of the sender's audit trail.\n"
        "\n"
        "mssante audit verify --anchors FILE\n"
    )
    name = f"anchors-{numbers[0]}-{numbers[-1]}.jsonl"
    lines = "".join(f"{one.line()}\n" for one in anchors).encode()
    message.add_attachment(lines, maintype="application", subtype="jsonl", filename=name)
    return message.as_bytes()


def open_places(
    settings: Settings, clock: Callable[[], datetime], submitter: LocalSubmitter
) -> list[Place]:
    """The configured places.  Raises SettingsError."""
    return [_place(settings, name, clock, submitter) for name in settings.audit.anchors_to]


def check_places(settings: Settings) -> None:
    """Refuse places that could never get an anchor.  Raises SettingsError."""
    for name in settings.audit.anchors_to:
        if name.startswith(MAIL):
            _address(settings, name)
            _sender(settings)


def _place(
    settings: Settings, name: str, clock: Callable[[], datetime], submitter: LocalSubmitter
) -> Place:
    if name.startswith(FILE):
        return FilePlace(name, settings.path(name.removeprefix(FILE)))
    if name == LOCAL_SYSLOG:
        return LocalSyslogPlace(name)
    if name.startswith(SYSLOG):
        host, port = split_endpoint(name.removeprefix(SYSLOG))
        return SyslogPlace(name, host, port, settings.operator.hostname, clock)
    return MailPlace(name, _address(settings, name), _sender(settings), submitter)


def _address(settings: Settings, name: str) -> SmtpAddress:
    try:
        return parse_address(name.removeprefix(MAIL))
    except SyntaxRefused as error:
        raise settings_fault(settings, "audit.anchors_to", error) from error


def _sender(settings: Settings) -> SmtpAddress:
    if not settings.operator.postmaster:
        raise SettingsError(
            f"{settings.origin}: audit.anchors_to: mailto: needs a sender; "
            "give operator.postmaster, a mailbox here"
        )
    try:
        return parse_address(settings.operator.postmaster)
    except SyntaxRefused as error:
        raise settings_fault(settings, "operator.postmaster", error) from error


FAILURES: Final = (OSError, SmtpError)
