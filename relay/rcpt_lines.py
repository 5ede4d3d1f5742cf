"""RCPT by the hundred: what its lines ask for, and the recipients that they are known to name."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from relay.address import Address, parse_path
from relay.directory import MOST, Directory, Found
from relay.errors import SyntaxRefused
from relay.message import LocalRecipient
from relay.parameters import RcptParameters, parse_rcpt_parameters
from relay.streams import MAX_COMMAND_LINE

_SHORT: Final = 128  # octets of a line that is remembered


@lru_cache(2000)  # mail to a list of recipients comes again and again
def parse_rcpt(argument: str) -> tuple[Address | None, RcptParameters]:
    """What follows RCPT; no address is the null path.  Raises SyntaxRefused."""
    address, rest = parse_path(argument, "TO:")
    return address, parse_rcpt_parameters(rest)


def parse_rcpt_line(line: bytes) -> tuple[Address, RcptParameters] | None:
    """What a line that ends in CR asks for, if it is RCPT with nothing odd about it, all ASCII."""
    if line[:8].upper() != b"RCPT TO:" or len(line) >= MAX_COMMAND_LINE:
        return None
    if line.find(b"\r") != len(line) - 1 or b"\0" in line or not line.isascii():
        return None
    try:
        address, parameters = parse_rcpt(line[5:].decode().strip(" \t\r"))
    except SyntaxRefused:
        return None
    return None if address is None or not address.domain else (address, parameters)


def recognised(lines: Iterable[bytes], directory: Directory) -> Iterator[LocalRecipient]:
    """The recipients of lines that end in CR, up to the first with anything odd about it.

    Odd is all but RCPT for a mailbox that is known to be open to all who may send.
    """
    known, remembered = directory.open_mailboxes(), directory.recipients_by_line
    if not known:
        return
    for line in lines:
        recipient = remembered.get(line)
        if recipient is None:
            recipient = _named(line, known)
            if recipient is None:
                return
            if len(line) <= _SHORT and len(remembered) < MOST:
                remembered[line] = recipient
        yield recipient


def _named(line: bytes, known: Mapping[Address, Found]) -> LocalRecipient | None:
    parsed = parse_rcpt_line(line)
    found = known.get(parsed[0]) if parsed is not None else None
    if parsed is None or found is None or found.mailbox_id is None or not found.state.open_to_all:
        return None
    return LocalRecipient(found.mailbox_id, *parsed)
