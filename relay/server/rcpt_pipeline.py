"""RCPT by the hundred: commands pipelined after an RCPT are looked up and accepted with it.

A message may have a thousand recipients, and its RCPT commands arrive in one piece.  This module
has the look-ahead in the input buffer, the query for many addresses and the cache of lines.  A
session asks for one recipient, and then takes the following recipients that need no check.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Final

from relay.acceptance.message import LocalRecipient
from relay.acceptance.recipient_lookup import MAX_CACHED, FoundRecipient, RecipientLookup
from relay.connection.streams import MAX_COMMAND_LINE, InboundBuffer
from relay.smtp.address import SmtpAddress, parse_path
from relay.smtp.errors import SyntaxRefused
from relay.smtp.parameters import RcptParameters, parse_rcpt_parameters

LOOK_AHEAD: Final = 200  # commands searched for recipients
_SHORT: Final = 128  # octets of the longest line that is cached


@lru_cache(2000)  # the same recipients come again and again
def parse_rcpt(argument: str) -> tuple[SmtpAddress | None, RcptParameters]:
    """Read the argument of RCPT; address None is the null path.  Raises SyntaxRefused."""
    address, rest = parse_path(argument, "TO:")
    return address, parse_rcpt_parameters(rest)


def parse_rcpt_line(line: bytes) -> tuple[SmtpAddress, RcptParameters] | None:
    """Read a line that ends in CR; None unless it is a plain, valid RCPT in ASCII."""
    if line[:8].upper() != b"RCPT TO:" or len(line) >= MAX_COMMAND_LINE:
        return None
    if line.find(b"\r") != len(line) - 1 or b"\0" in line or not line.isascii():
        return None
    try:
        address, parameters = parse_rcpt(line[5:].decode().strip(" \t\r"))
    except SyntaxRefused:
        return None
    return None if address is None or not address.domain else (address, parameters)


class RcptLines:
    """Cache of recipients by command line, for all sessions of a process.

    Entries live as long as the lookup's cache of their mailboxes.
    """

    def __init__(self, lookup: RecipientLookup) -> None:
        self.lookup = lookup
        self._mailboxes: Mapping[SmtpAddress, FoundRecipient] = {}  # of the cached recipients
        self._recipients: dict[bytes, LocalRecipient] = {}

    def known(self, lines: Iterable[bytes]) -> Iterator[LocalRecipient]:
        """Recipients of lines that end in CR, up to the first line that needs a check.

        No check is needed for a plain RCPT whose mailbox is cached as open to all.
        """
        mailboxes = self.lookup.open_mailboxes()
        if not mailboxes:
            return
        if mailboxes is not self._mailboxes:
            self._mailboxes, self._recipients = mailboxes, {}
        recipients = self._recipients
        for line in lines:
            recipient = recipients.get(line)
            if recipient is None:
                recipient = _named(line, mailboxes)
                if recipient is None:
                    return
                if len(line) <= _SHORT and len(recipients) < MAX_CACHED:
                    recipients[line] = recipient
            yield recipient


def _named(line: bytes, mailboxes: Mapping[SmtpAddress, FoundRecipient]) -> LocalRecipient | None:
    parsed = parse_rcpt_line(line)
    found = mailboxes.get(parsed[0]) if parsed is not None else None
    if parsed is None or found is None or found.mailbox_id is None:
        return None
    if found.reports_only or not found.state.open_to_all:
        return None
    return LocalRecipient(found.mailbox_id, *parsed)


class RcptPipeline:
    """The RCPT commands of a session, and the commands after them in its input buffer."""

    def __init__(self, inbound: InboundBuffer, lines: RcptLines) -> None:
        self._inbound = inbound
        self._lines = lines
        self._looked_up_to = 0

    def begin(self) -> None:
        """Begin a transaction: nothing has been looked up ahead."""
        self._looked_up_to = 0

    async def find(self, address: SmtpAddress, size: int | None, command: int) -> FoundRecipient:
        """Find the mailbox of a recipient; the same query covers the recipients pipelined after it.

        `command` is the number of this command in the session.  Raises StoreDeferred.
        """
        lookup = self._lines.lookup
        found = lookup.cached(address)
        return found or await lookup.lookup(address, size, self._addresses_ahead(command))

    def _addresses_ahead(self, command: int) -> list[SmtpAddress]:
        if command < self._looked_up_to:
            return []  # looked up already, without success: each is asked for by itself
        ahead = self._inbound.peek_lines(LOOK_AHEAD)
        self._looked_up_to = command + len(ahead)
        recipients = takewhile(lambda line: line[:8].upper() == b"RCPT TO:", ahead)
        return [parsed[0] for parsed in map(parse_rcpt_line, recipients) if parsed]

    def take_known(self, limit: int) -> list[LocalRecipient]:
        """Take up to `limit` waiting commands out of the buffer, as far as no check is needed.

        Hundreds of recipients are so spared the full path of a command.
        """
        lines = self._inbound.peek_lines(min(limit, LOOK_AHEAD))
        recipients = list(self._lines.known(lines))
        if recipients:
            self._inbound.take(sum(len(line) + 1 for line in lines[: len(recipients)]))
        return recipients
