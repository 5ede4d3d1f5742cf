"""The envelope of an outgoing message, and its MAIL and RCPT commands for one peer.

Pure.  Every address and parameter is checked again before it goes into a command: a bad value in
the database never becomes a command to a peer.
"""

import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from relay.smtp.address import parse_address
from relay.smtp.errors import SyntaxRefused
from relay.smtp.parameters import ascii_form, parse_mail_parameters, parse_rcpt_parameters

# EHLO keywords of a peer that we make use of.
KEYWORDS: Final = frozenset(
    {"starttls", "size", "8bitmime", "smtputf8", "pipelining", "chunking", "dsn", "limits"}
)

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_NO_SMTPUTF8: Final = "553 5.6.7 peer does not offer SMTPUTF8 (RFC 6531)"
_NEEDS_SMTPUTF8: Final = "553 5.6.7 not sent: an address beyond ASCII without SMTPUTF8 (RFC 6531)"
_NO_SENDER: Final = "553 5.1.7 not sent: the sender is not a mail address"
_NO_RECIPIENT: Final = "553 5.1.3 not sent: not a mail address"


@dataclass(frozen=True, slots=True)
class EnvelopeRecipient:
    """A recipient; `notify` ('' if absent) and `orcpt` as they came with RCPT (RFC 3461)."""

    address: str
    notify: str = ""
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender ('' is the null reverse-path), recipients; `envid` and `ret` as they came in MAIL."""

    sender: str
    recipients: tuple[EnvelopeRecipient, ...]
    smtputf8: bool
    envid: str | None = None
    ret: str | None = None

    def narrowed(self, addresses: Collection[str]) -> "Envelope":
        """The same envelope for some of its recipients."""
        chosen = frozenset(addresses)
        return replace(self, recipients=tuple(r for r in self.recipients if r.address in chosen))

    @property
    def addresses(self) -> tuple[str, ...]:
        """The recipients' addresses."""
        return tuple(one.address for one in self.recipients)


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to hand over: `octets` yields it with CRLF line ends, `size` octets in all.

    `on_reply()` is called for each recipient's reply, as a sign of progress: a peer may take
    minutes for each.
    """

    envelope: Envelope
    octets: AsyncIterator[bytes]
    size: int
    on_reply: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class PeerExtensions:
    """The extensions that a peer offers in its reply to EHLO.

    `size` in octets (RFC 1870), `mail_max` in messages per connection, `rcpt_max` in recipients per
    message (RFC 9422 §4); None for no limit.
    """

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    pipelining: bool = False
    chunking: bool = False
    dsn: bool = False
    knows_size: bool = False
    mail_max: int | None = None
    rcpt_max: int | None = None

    @classmethod
    def of(cls, extensions: Mapping[str, str]) -> "PeerExtensions":
        """From EHLO keywords in lower case with their parameters."""
        limits = dict(
            pair.partition("=")[::2] for pair in extensions.get("limits", "").upper().split()
        )
        return cls(
            size=_number(extensions.get("size", "")),
            eight_bit="8bitmime" in extensions,
            smtputf8="smtputf8" in extensions,
            pipelining="pipelining" in extensions,
            chunking="chunking" in extensions,
            dsn="dsn" in extensions,
            knows_size="size" in extensions,
            mail_max=_number(limits.get("MAILMAX", "")),
            rcpt_max=_number(limits.get("RCPTMAX", "")),
        )


def _number(text: str) -> int | None:
    """A number above 0; a SIZE of 0 sets no limit (RFC 1870 §4)."""
    return (int(text) or None) if _NUMBER.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class EnvelopeCommands:
    """MAIL, and RCPT by recipient; `refused` has recipients not even asked for, with the reason.

    `deferred` has recipients beyond the peer's recipient limit, with the reason; they need another
    transaction.  If `rcpt` is empty, nothing is to be sent.
    """

    mail: bytes = b""
    rcpt: Mapping[str, bytes] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    deferred: Mapping[str, str] = field(default_factory=dict)


def commands(envelope: Envelope, size: int, offers: PeerExtensions) -> EnvelopeCommands:
    """The commands for an envelope and a message of `size` octets, each line with its CRLF."""
    why = _refusal(envelope, size, offers)
    if why:
        return EnvelopeCommands(refused=dict.fromkeys(envelope.addresses, why))
    rcpt: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    for one in envelope.recipients:
        if not _is_address(one.address):
            refused[one.address] = _NO_RECIPIENT
        elif not (one.address.isascii() or envelope.smtputf8):
            refused[one.address] = _NEEDS_SMTPUTF8
        else:
            words = [f"RCPT TO:<{one.address}>"]
            if offers.dsn:
                words += _rcpt_parameters(one, smtputf8=envelope.smtputf8)
            rcpt[one.address] = _line(words)
    room, asked = offers.rcpt_max or len(rcpt), list(rcpt.items())
    why = f"452 4.5.3 not asked for: the peer takes {offers.rcpt_max} recipients at once (RFC 9422)"
    return EnvelopeCommands(
        _line(_mail(envelope, size, offers)),
        dict(asked[:room]),
        refused,
        dict.fromkeys((one for one, _ in asked[room:]), why),
    )


def _refusal(envelope: Envelope, size: int, offers: PeerExtensions) -> str:
    """The reason why the peer cannot take this message at all; empty if it can."""
    if envelope.smtputf8 and not offers.smtputf8:
        return _NO_SMTPUTF8
    if offers.size is not None and size > offers.size:
        # RFC 1870 §6.2 lets the client spare both sides the transfer.
        return f"552 5.3.4 not sent: {size} octets, the peer takes {offers.size} (RFC 1870)"
    if envelope.sender and not _is_address(envelope.sender):
        return _NO_SENDER
    return "" if envelope.sender.isascii() or envelope.smtputf8 else _NEEDS_SMTPUTF8


def _mail(envelope: Envelope, size: int, offers: PeerExtensions) -> list[str]:
    words = [f"MAIL FROM:<{envelope.sender}>"]
    if offers.knows_size:
        words.append(f"SIZE={size}")
    # 8-bit text goes to a peer without 8BITMIME too: rewriting a body would break signatures.
    if offers.eight_bit:
        words.append("BODY=8BITMIME")
    if envelope.smtputf8:
        words.append("SMTPUTF8")
    if offers.dsn:
        given = (("RET", envelope.ret), ("ENVID", envelope.envid))
        words += [f"{key}={value}" for key, value in given if value and _is_mail_word(key, value)]
    return words


def _rcpt_parameters(one: EnvelopeRecipient, *, smtputf8: bool) -> list[str]:
    words = []
    if one.notify and _is_notify(one.notify):
        words.append(f"NOTIFY={one.notify}")
    if one.orcpt and _is_orcpt(one.orcpt):
        # The 7-bit form where UTF-8 is not allowed (RFC 6533 §3).
        words.append(f"ORCPT={one.orcpt if smtputf8 else ascii_form(one.orcpt)}")
    return words


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except SyntaxRefused:
        return False
    return True


# Each value is parsed and compared with the result: a value that smuggles in a second parameter
# does not come back as it was given.


def _is_mail_word(keyword: str, value: str) -> bool:
    try:
        found = parse_mail_parameters(f"{keyword}={value}")
    except SyntaxRefused:
        return False
    return value == found.envid or value.upper() == found.ret


def _is_notify(value: str) -> bool:
    try:
        return " " not in value and parse_rcpt_parameters(f"NOTIFY={value}").notify is not None
    except SyntaxRefused:
        return False


def _is_orcpt(value: str) -> bool:
    try:
        return parse_rcpt_parameters(f"ORCPT={value}").orcpt == value
    except SyntaxRefused:
        return False


def _line(words: list[str]) -> bytes:
    return " ".join(words).encode() + b"\r\n"
