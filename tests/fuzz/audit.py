"""Auditor of a fuzzed session: reads both sides, without any code of the relay.

`Auditor` gets the octets sent and received by the client, in order. It parses the client's octets
as RFC 5321 §4.1, RFC 2920 and RFC 3030 require of a server, and matches each command with its
reply. It raises AssertionError as soon as a reply shows that the server parsed differently,
accepted a forbidden message, refused a valid message, or sent malformed text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from tests.fuzz.grammar import LIMIT, OTHERS, RECIPIENTS, SENDERS, Codes

MAX_LINE: Final = 4096
_ERRORS_ALLOWED: Final = 20  # Limits.max_errors
_REPLY: Final = re.compile(rb"([2-5][0-5][0-9])([ -])([\x20-\x7e]*)")
_ENHANCED: Final = re.compile(rb"([245])\.\d{1,3}\.\d{1,3} \S")
_PATH: Final = re.compile(
    rb"(?i)(?:FROM|TO): *<(?:@[^:<>]*:)?(?P<address>.*?@(?P<domain>[^@<>]*))?>"
)
_BDAT: Final = re.compile(rb"(?i)BDAT +([0-9]{1,20})( +LAST)?[ \t]*")
_ACCEPTED: Final = re.compile(rb"2\.0\.0 Accepted as (\S+)")
_STRAY: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
_POLITE: Final = frozenset({b"EHLO", b"HELO", b"RSET", b"NOOP", b"VRFY"})
_REFUSED: Final[Codes] = frozenset(range(500, 560))

_Said = tuple[int, bytes]  # code and text of a reply


class Mode(Enum):
    """The server's next expected input."""

    GREETING = auto()
    COMMANDS = auto()
    DATA = auto()
    TLS = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class Message:
    """An acknowledged message (with this id), or a message maybe accepted without a seen reply."""

    id: str
    body: bytes
    recipients: frozenset[str]


@dataclass(slots=True)
class _Transaction:
    recipients: set[str] = field(default_factory=set)
    chunks: bytearray | None = None
    max_octets: int = LIMIT  # octet limit: with the null reverse-path it is a report
    lost: bool = False  # a chunk was refused: only RSET is allowed (RFC 3030 §2)


def faults(body: bytes, max_octets: int = LIMIT) -> Codes:
    """Codes with which a whole message must be refused; empty if it must be accepted."""
    found = set[int]()
    if _STRAY.search(body) or any(len(one) > 998 for one in body.split(b"\r\n")):
        found.add(550)
    if len(body) > max_octets:
        found.add(552)
    header = (b"\r\n" + body).partition(b"\r\n\r\n")[0]
    if not found and header.lower().count(b"\r\nreceived:") > 100:
        found.add(554)
    return frozenset(found)


def unstuffed(data: bytes) -> bytes:
    """Content of DATA without dot-stuffing and final dot (RFC 5321 §4.5.2)."""
    lines = data.split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


class Auditor:
    """Audits a phase of a connection: before TLS, or under TLS with a certificate."""

    def __init__(
        self, *, peer: str | None, secure: bool, errors: int = 0, greeted: bool = False
    ) -> None:
        self.mode = Mode.COMMANDS if secure else Mode.GREETING
        self.owing = not secure  # the server must reply before any further command
        self.errors = errors  # refusals since the last accepted message, across STARTTLS
        self.replies = 0
        self.may_close = False
        self.accepted: list[Message] = []
        self._peer = peer
        self._secure = secure
        self._sent, self._heard = bytearray(), bytearray()
        self._replies: list[_Said] = []
        self._reply_lines: list[_Said] = []
        self.greeted = greeted  # a greeting before STARTTLS counts too (RFC 3207 §4.2)
        self._transaction: _Transaction | None = None
        self._missing = 0  # missing octets of the current chunk
        self._likely: _Said = (220, b"")  # the first due reply, while one is owed

    def said(self, octets: bytes) -> None:
        """The client sent these octets."""
        self._sent += octets
        self._advance()

    def heard(self, octets: bytes) -> None:
        """The server sent these octets."""
        self._heard += octets
        while (end := self._heard.find(b"\n")) >= 0:
            line = bytes(self._heard[: end + 1])
            del self._heard[: end + 1]
            self._hear_line(line)
        self._advance()

    def ended(self, *, by_us: bool) -> None:
        """The server has closed; only QUIT or a closing reply justifies that."""
        assert not self._heard, f"half a reply: {bytes(self._heard)!r}"
        assert not self._reply_lines, f"half a reply: {self._reply_lines!r}"
        assert not self._replies, f"replies to nothing: {self._replies!r}"
        if not by_us:
            assert self.may_close, f"closed without a reason, {bytes(self._sent[:200])!r} unread"

    @property
    def state(self) -> str:
        """State of the session, for people."""
        unread = bytes(self._sent[:200])
        return f"{self.mode.name}, {'a reply is due to' if self.owing else 'unread'} {unread!r}"

    @property
    def completion(self) -> bytes | None:
        """Octets that return the server to command mode; None if too many."""
        if self.mode is Mode.DATA:
            return b"\r\n.\r\n"
        if self._missing:
            return b"x" * self._missing if self._missing <= 2 * LIMIT else None
        return b"\r\n" if self._sent else b""

    def unheard(self) -> list[Message]:
        """Sent messages that the server may have accepted before we could see the reply.

        Lost replies are assumed to be the first that the tables allow.
        """
        heard, self.accepted = self.accepted, []
        while self.owing:
            self._replies.append(self._likely)
            self._advance()
        unheard, self.accepted = self.accepted, heard
        return unheard

    def _hear_line(self, line: bytes) -> None:
        assert line.endswith(b"\r\n"), f"reply with a bare LF: {line!r}"
        assert len(line) <= 512, f"reply of {len(line)} octets: {line!r}"
        match = _REPLY.fullmatch(line[:-2])
        assert match, f"malformed reply: {line!r}"
        code, text = int(match[1]), match[3]
        if code >= 400:
            enhanced = _ENHANCED.match(text)
            assert enhanced, f"no enhanced code: {line!r}"
            assert enhanced[1] == match[1][:1], f"enhanced code of another class: {line!r}"
            assert b"Error: (" not in text, f"an exception: {line!r}"
            assert b"4.3.0" not in text, f"the store is well: {line!r}"
        self._reply_lines.append((code, text))
        assert len({code for code, _ in self._reply_lines}) == 1, self._reply_lines
        if match[2] == b" ":
            self._replies.append((code, text))
            self._reply_lines = []

    def _advance(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """Match the next sent item with its reply, if both are there."""
        self.owing = False
        if self.mode in {Mode.TLS, Mode.OVER}:
            return False
        if self.mode is Mode.GREETING:
            return self._answered((220, b""), self._on_greeting)
        if self.mode is Mode.DATA:
            end = (b"\r\n" + self._sent).find(b"\r\n.\r\n")
            if end < 0:
                return self._cut_off("DATA")
            body = unstuffed(bytes(self._sent[:end]))
            max_octets = self._transaction.max_octets if self._transaction is not None else LIMIT
            outcome = _outcome(body, max_octets)
            return self._answered(outcome, lambda c, t: self._on_data(end, body, c, t))
        end = self._sent.find(b"\n") + 1
        if not end:
            return False
        line = bytes(self._sent[:end])
        chunk = _BDAT.fullmatch(line.removesuffix(b"\r\n")) if end <= MAX_LINE else None
        if chunk is None:
            likely = (min(self.due(line)), b"")
            return self._answered(likely, lambda c, t: self._on_line(line, c, t))
        size = int(chunk[1])
        self._missing = max(end + size - len(self._sent), 0)
        if self._missing:
            return self._cut_off("BDAT")
        octets = bytes(self._sent[end : end + size])
        last = chunk[2] is not None
        due, body = self._due_of_chunk(octets, last=last)
        likely = (min(due), b"2.0.0 Accepted as unheard" if last else b"")
        return self._answered(
            likely, lambda c, t: self._on_chunk(end + size, due, body, (c, t), last=last)
        )

    def _answered(self, likely: _Said, take: Callable[[int, bytes], None]) -> bool:
        if not self._replies:
            self.owing, self._likely = True, likely
            return False
        code, text = self._next_reply()
        if code == 421:
            assert self.errors > _ERRORS_ALLOWED, f"421 {text!r} after {self.errors} errors"
            self._over()
        else:
            take(code, text)
        return True

    def _cut_off(self, verb: str) -> bool:
        """A reply during a message: the message is far too big, or BDAT has one error too many."""
        if self._replies:
            code, text = self._next_reply()
            enough = code == 421 and verb == "BDAT" and self.errors > _ERRORS_ALLOWED
            assert code == 552 or enough, f"{code} {text!r} in the middle of {verb}"
            self._over()
        return False

    def _next_reply(self) -> _Said:
        code, text = self._replies.pop(0)
        self.replies, self.may_close = self.replies + 1, False
        self.errors += code >= 400
        return code, text

    def _far_too_big(self, code: int, body: bytes) -> None:
        """A server need not read on after a message far beyond the limit."""
        self.may_close = code == 552 and len(body) > LIMIT

    def _over(self) -> None:
        self.mode, self.may_close = Mode.OVER, True

    def _on_greeting(self, code: int, text: bytes) -> None:
        assert code == 220, text
        self.mode = Mode.COMMANDS

    def _on_data(self, end: int, body: bytes, code: int, text: bytes) -> None:
        del self._sent[: end + 3]  # the CRLF before the dot belongs to the body
        self.mode = Mode.COMMANDS
        self._on_message(body, code, text)
        self._far_too_big(code, body)

    def _on_message(self, body: bytes, code: int, text: bytes) -> None:
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        due = faults(body, transaction.max_octets) or {250}
        assert code in due, f"{code} {text!r} to {body[:200]!r}, one of {sorted(due)} is due"
        if code != 250:
            return
        accepted = _ACCEPTED.match(text)
        assert accepted, text
        assert self._secure
        assert self._peer == "b", "a message from somebody else"
        self.errors = 0
        recipients = frozenset(transaction.recipients)
        self.accepted.append(Message(accepted[1].decode(), body, recipients))

    def _due_of_chunk(self, octets: bytes, *, last: bool) -> tuple[Codes, bytes]:
        """The codes for a chunk, and the message up to its end (RFC 3030 §2)."""
        transaction = self._transaction
        if transaction is None or transaction.lost or not transaction.recipients:
            return frozenset({503, 530, 554, 552 if len(octets) > LIMIT else 503}), b""
        body = bytes(transaction.chunks or b"") + octets
        if last:
            return faults(body, transaction.max_octets) or frozenset({250}), body
        found = faults(body.removesuffix(b"\r"), transaction.max_octets)
        return (found - {554}) or frozenset({250}), body

    def _on_chunk(self, end: int, due: Codes, body: bytes, said: _Said, *, last: bool) -> None:
        code, text = said
        del self._sent[:end]
        assert code in due, f"{code} {text!r} to a chunk, one of {sorted(due)} is due"
        transaction = self._transaction
        if transaction is None or transaction.lost or not transaction.recipients:
            self.may_close = code == 552
            return
        if last:
            self._on_message(body, code, text)
        else:
            assert not _ACCEPTED.match(text), "a message accepted before its last chunk"
            transaction.chunks = bytearray(body)
            transaction.lost = code != 250
        self._far_too_big(code, body)

    def _on_line(self, line: bytes, code: int, text: bytes) -> None:
        del self._sent[: len(line)]
        verb = line.rstrip(b"\r\n").partition(b" ")[0].upper()
        due = self.due(line)
        assert code in due, f"{code} {text!r} to {line[:200]!r}, one of {sorted(due)} is due"
        assert not _ACCEPTED.match(text), f"a message accepted by {line[:200]!r}"
        if code >= 400:
            if verb == b"BDAT":  # the length of the chunk is unknown (RFC 3030 §2)
                self._over()
            return
        match verb:
            case b"EHLO" | b"HELO":
                self.greeted, self._transaction = True, None
            case b"RSET":
                self._transaction = None
            case b"MAIL":
                null = b"<>" in line
                self._transaction = _Transaction(max_octets=LIMIT * 14 // 10 if null else LIMIT)
            case b"RCPT" if self._transaction is not None:
                path = _PATH.search(line)
                assert path, line
                self._transaction.recipients.add(path["address"].decode().lower())
            case b"DATA":
                self.mode = Mode.DATA
            case b"STARTTLS":
                self.mode = Mode.TLS
                self._sent.clear()
            case b"QUIT":
                self._over()

    def due(self, line: bytes) -> Codes:
        """The codes allowed for a command line here."""
        command = line.removesuffix(b"\r\n")
        verb, _, argument = command.partition(b" ")
        verb, argument = verb.upper(), argument.strip(b" \t")
        if len(line) > MAX_LINE or _STRAY.search(line):
            return frozenset({500})
        if not _is_utf8(argument):
            return _REFUSED
        table = {b"MAIL": SENDERS, b"RCPT": RECIPIENTS}.get(verb)
        if table is not None:
            return self._due_in_transaction(verb, table.get(argument), command)
        if command in OTHERS:
            return OTHERS[command]
        match verb, argument:
            case b"DATA", b"":
                return self._due_of_data()
            case b"STARTTLS", b"":
                return frozenset({503 if self._secure else 220})
            case b"QUIT", b"":
                return frozenset({221})
        return _REFUSED | {250, 252} if verb in _POLITE else _REFUSED

    def _due_of_data(self) -> Codes:
        if not self._secure:
            return frozenset({530})
        transaction = self._transaction
        if transaction is None or transaction.chunks is not None:
            return frozenset({503})
        return frozenset({354} if transaction.recipients else {503, 554})

    def _due_in_transaction(self, verb: bytes, known: Codes | None, command: bytes) -> Codes:
        begins = verb == b"MAIL"
        if not self._secure:
            return frozenset({530})
        if not self.greeted:
            return frozenset({503, *_refusals(known)})
        transaction = self._transaction
        if begins:
            if transaction is not None and not transaction.lost:
                return frozenset({503})
            if self._peer != "b":
                return frozenset({554, *_refusals(known)})
        elif transaction is None or transaction.chunks is not None:
            return frozenset({503})
        if known is not None:
            return known | ({503} if transaction and transaction.lost else set())
        path = _PATH.search(command)
        domain = path and (path["domain"] or b"").lower()
        admitted = {b"b.mssante.fr", b""} if begins else {b"a.mssante.fr"}
        return _REFUSED | {250, 450} if domain in admitted else _REFUSED


def _refusals(known: Codes | None) -> Codes:
    return frozenset(code for code in known or _REFUSED if code >= 500)


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _outcome(body: bytes, max_octets: int) -> _Said:
    """The reply that a whole message should get."""
    due = faults(body, max_octets)
    return (min(due), b"") if due else (250, b"2.0.0 Accepted as unheard")
