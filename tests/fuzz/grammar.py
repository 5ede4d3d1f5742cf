"""Grammar of fuzzed sessions, and the allowed codes of well-known commands.

Each strategy gives lists of moves; a move is octets sent together. Commands with a certain reply
are in tables with the allowed codes (DOMAIN §3.2). All other moves are damaged commands or garbage,
for which only the invariants of `tests.fuzz.audit` hold.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from hypothesis import strategies as st

from tests.support.machines.operators import ACTIVE, CLOSED, OURS, SUSPENDED
from tests.support.storage.cutting import made_of

LIMIT: Final = 20_000  # octet limit of the fuzzed listener
SECOND: Final = f"cardiologie@{OURS}"

Codes = frozenset[int]
Moves = list[bytes]


def _codes(*codes: int) -> Codes:
    return frozenset(codes)


_SYNTAX: Final = _codes(501, 553, 555)

# Allowed codes by argument: for operator B, under TLS, greeted, in the right state.
SENDERS: Final[Mapping[bytes, Codes]] = MappingProxyType(
    {
        b"FROM:<dr@b.mssante.fr>": _codes(250),
        b"FROM:<>": _codes(250),
        b"from: <dr@B.mssante.FR> SIZE=100 BODY=8BITMIME": _codes(250),
        b'FROM:<"dr b"@b.mssante.fr> body=7bit': _codes(250),
        b"FROM:<dr@b.mssante.fr> RET=HDRS ENVID=QQ314159+2B1": _codes(250),
        "FROM:<andré@b.mssante.fr> SMTPUTF8".encode(): _codes(250),
        "FROM:<andré@b.mssante.fr>".encode(): _codes(553),
        b"FROM:<dr@c.mssante.fr>": _codes(550),
        b"FROM:<dr@unlisted.example>": _codes(550),
        b"FROM:<dr@b.mssante.fr> SIZE=99999999": _codes(552),
        b"FROM:<dr@b.mssante.fr> SIZE=-1": _SYNTAX,
        b"FROM:<dr@b.mssante.fr> RET=BODY": _SYNTAX,
        b"FROM:<dr@b.mssante.fr> ENVID=+zz": _SYNTAX,
        b"FROM:<dr@b.mssante.fr> NOTIFY=NEVER": _SYNTAX,
        b"FROM:<dr@b.mssante.fr> BODY=BINARYMIME": _SYNTAX,
        b"FROM:<dr@b.mssante.fr> AUTH=<>": _SYNTAX,
        b"FROM:<dr@b.mssante.fr>SIZE=1": _SYNTAX,
        b"FROM:<dr@b..fr>": _SYNTAX,
        b"FROM:dr@b.mssante.fr": _SYNTAX,
        b"<dr@b.mssante.fr>": _SYNTAX,
    }
)
RECIPIENTS: Final[Mapping[bytes, Codes]] = MappingProxyType(
    {
        f"TO:<{ACTIVE}>".encode(): _codes(250),
        f"TO: <{SECOND}>".encode(): _codes(250),
        f"to:<@c.mssante.fr:{SECOND}> NOTIFY=FAILURE,DELAY".encode(): _codes(250),
        f"TO:<{ACTIVE}> NOTIFY=NEVER ORCPT=rfc822;claire+2Bm@a.fr".encode(): _codes(250),
        f"TO:<{ACTIVE}> NOTIFY=SUCCESS".encode(): _codes(250),
        f"TO:<{SUSPENDED}>".encode(): _codes(450),
        f"TO:<{CLOSED}>".encode(): _codes(550),
        f"TO:<personne@{OURS}>".encode(): _codes(550),
        b"TO:<dr@c.mssante.fr>": _codes(550),
        b"TO:<dr@example.net>": _codes(550),
        b"TO:<>": _SYNTAX,
        f"TO:<{ACTIVE}> NOTIFY=NEVER,SUCCESS".encode(): _SYNTAX,
        f"TO:<{ACTIVE}> ORCPT=nonsense".encode(): _SYNTAX,
        f"TO:<{ACTIVE}> SIZE=1".encode(): _SYNTAX,
        f"TO:{ACTIVE}".encode(): _SYNTAX,
    }
)
OTHERS: Final[Mapping[bytes, Codes]] = MappingProxyType(
    {
        b"EHLO smtp.b.mssante.fr": _codes(250),
        b"HELO smtp.b.mssante.fr": _codes(250),
        b"NOOP": _codes(250),
        b"noop whatever": _codes(250),
        b"RSET": _codes(250),
        b"VRFY dr": _codes(252),
        b"EXPN all": _codes(500, 502),
        b"HELP": _codes(214, 500, 502),
        b"AUTH PLAIN AGEAYQ==": _codes(500, 502, 503, 504),
        b"EHLO": _codes(501),
        b"RSET now": _codes(501),
        b"QUIT now": _codes(501),
        b"STARTTLS now": _codes(501, 503),
        b"DATA now": _codes(501, 503, 530, 554),
        b"BOGUS": _codes(500),
        b"X" * 4000: _codes(500),
    }
)
GREETING: Final = b"EHLO smtp.b.mssante.fr\r\n"
_GOOD_SENDER, _GOOD_RECIPIENT = next(iter(SENDERS)), next(iter(RECIPIENTS))


def line(verb: bytes, argument: bytes) -> bytes:
    """A command line."""
    return verb + b" " + argument + b"\r\n"


_OPENING: Final = line(b"MAIL", _GOOD_SENDER) + line(b"RCPT", _GOOD_RECIPIENT)
_SENDER_LINES: Final = [line(b"MAIL", argument) for argument in SENDERS]
_RECIPIENT_LINES: Final = [line(b"RCPT", argument) for argument in RECIPIENTS]
_OTHER_LINES: Final = [other + b"\r\n" for other in OTHERS]

# Ends of a message to other readers than ours, and parts of them (CVE-2023-51764).
_BREAKS: Final = (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\n", b"\r\n\0", b"\0\r\n")
SMUGGLING: Final = [
    before + b"." + after
    for before in _BREAKS
    for after in _BREAKS
    if b"\r\n.\r\n" not in before + b"." + after
]
_SMUGGLED: Final = line(b"MAIL", b"FROM:<smuggled@b.mssante.fr>") + line(
    b"RCPT", f"TO:<{SECOND}>".encode()
)
_PIECES: Final = [
    b"text\r\n",
    b"Subject: x\r\n",
    b"\r\n",
    b".",
    b"..",
    b"\r\n..\r\n",
    "é à ü\r\n".encode(),
    b"Received: from x\r\n" * 101,
    b"x" * 998 + b"\r\n",
    _SMUGGLED + b"DATA\r\n",
    b"x" * 999,
    b"\r",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"y" * 70 + b"\r\n",
    (b"z" * 898 + b"\r\n") * 30,
]


_T = TypeVar("_T")


def _mixed(*shares: tuple[int, st.SearchStrategy[_T]]) -> st.SearchStrategy[_T]:
    """A choice weighted by share (`one_of` has no weights)."""
    each = [one for share, one in shares for _ in range(share)]
    return st.integers(0, len(each) - 1).flatmap(lambda n: each[n])


def bodies() -> st.SearchStrategy[bytes]:
    """Octets of a message, mostly harmless; some end a message by themselves."""
    pieces = st.one_of(st.sampled_from(_PIECES), st.sampled_from(SMUGGLING))
    tame = made_of(*_PIECES[:7], max_size=8)
    return _mixed((2, tame), (1, st.lists(pieces, max_size=6).map(b"".join)))


@st.composite
def by_data(draw: st.DrawFn) -> Moves:
    """A message by DATA."""
    ending = draw(
        st.sampled_from([b"\r\n.\r\n", b"\r\n.\r\n", b"\r\n.\r\nNOOP\r\n", b"", b"\r\n."])
    )
    return [b"DATA\r\n", draw(bodies()) + ending]


@st.composite
def by_chunks(draw: st.DrawFn) -> Moves:
    """A message by BDAT (RFC 3030), with right or slightly wrong sizes."""
    chunks = draw(st.lists(bodies(), min_size=1, max_size=3))
    moves = []
    for number, chunk in enumerate(chunks, 1):
        size = max(len(chunk) + draw(st.sampled_from([0, 0, 0, 0, 1, -1, 7])), 0)
        last = b" LAST" if number == len(chunks) and draw(st.integers(0, 7)) else b""
        moves.append(line(b"BDAT", b"%d%s" % (size, last)) + chunk)
    return moves


ODD_CHUNKS: Final = [
    b"BDAT 0\r\n",
    b"BDAT 0 LAST\r\n",
    b"bdat 3 last\r\nabc",
    b"BDAT\r\n",
    b"BDAT -1 LAST\r\n",
    b"BDAT 5 FIRST\r\nhello",
    b"BDAT 1e3\r\n",
    b"BDAT 39999 LAST\r\n",
    b"BDAT 99999999999 LAST\r\n",
    b"BDAT 99999999999999999999999999999999\r\n",
]


@st.composite
def transactions(draw: st.DrawFn) -> Moves:
    """A message with its envelope, one command at a time or as a group (RFC 2920)."""
    envelope = draw(
        _mixed(
            (2, st.just([_OPENING])),
            (
                1,
                st.tuples(
                    st.sampled_from(_SENDER_LINES),
                    st.lists(st.sampled_from(_RECIPIENT_LINES), max_size=4).map(b"".join),
                ).map(list),
            ),
        )
    )
    moves = envelope + draw(_mixed((1, by_data()), (1, by_chunks())))
    return [b"".join(moves)] if draw(st.booleans()) else moves


@st.composite
def _nearly(draw: st.DrawFn) -> Moves:
    """A command with a changed end or inserted octets."""
    command = draw(st.sampled_from(_SENDER_LINES + _RECIPIENT_LINES + _OTHER_LINES))
    stem = command[:-2]
    end = draw(st.sampled_from([b"\r\n", b"\n", b"\r\r\n", b"\0\r\n", b" \r\n", b"\t\r\n", b"\r"]))
    at = draw(st.integers(0, len(stem)))
    put = draw(st.one_of(st.just(b""), st.binary(max_size=3), made_of(b"\r", b"\0", b"\x1b[2J")))
    return [stem[:at] + put + stem[at:] + end]


def garbage() -> st.SearchStrategy[Moves]:
    """Senseless octets, and endless lines."""
    huge = st.sampled_from([4090, 4095, 4096, 4097, 9000]).flatmap(
        lambda size: st.sampled_from([b"NOOP ", b"\xff", b"MAIL FROM:<"]).flatmap(
            lambda head: st.sampled_from([b"\r\n", b"\n", b"\r\r\n", b""]).map(
                lambda end: [head + b"x" * size + end]
            )
        )
    )
    octets = st.binary(max_size=40).map(lambda data: [data + b"\r\n"])
    return st.one_of(octets, huge, st.sampled_from([[b"\r\n"], [b"\n"], [b"\r"], [b"\0"]]))


def secure_moves() -> st.SearchStrategy[Moves]:
    """Moves under TLS."""
    single = st.one_of(
        st.sampled_from(_OTHER_LINES),
        st.sampled_from(_SENDER_LINES),
        st.sampled_from(_RECIPIENT_LINES),
        st.sampled_from(ODD_CHUNKS),
        st.sampled_from([b"DATA\r\n", b"QUIT\r\n", b"STARTTLS\r\n"]),
    ).map(lambda move: [move])
    group = _mixed((3, transactions()), (1, single), (1, _nearly()), (1, garbage()))
    said = st.lists(group, max_size=6).map(lambda groups: [move for one in groups for move in one])
    polite = said.map(lambda moves: [GREETING, *moves])
    return _mixed((7, polite), (1, said))


def plain_moves() -> st.SearchStrategy[Moves]:
    """Moves before TLS; sometimes moves that are allowed only under TLS."""
    injected = [b"STARTTLS\r\n" + GREETING, b"STARTTLS\r\n" + _OPENING, b"STARTTLS\r\n"]
    lines = st.sampled_from([*_OTHER_LINES, *injected]).map(lambda move: [move])
    group = _mixed((3, lines), (1, _nearly()), (1, garbage()), (1, transactions()))
    some = st.lists(group, max_size=2).map(lambda groups: [move for one in groups for move in one])
    return _mixed((2, st.just([])), (2, st.just([GREETING])), (1, some))


def tails() -> st.SearchStrategy[bytes]:
    """A valid message, whole or broken off: the transfer at the end of the connection."""
    body = (b"x" * 70 + b"\r\n") * 100
    whole = [
        _OPENING + b"DATA\r\n" + body + b".\r\n",
        _OPENING + b"BDAT %d LAST\r\n" % len(body) + body,
        _OPENING + b"BDAT %d\r\n" % len(body) + body + b"BDAT 0 LAST\r\n",
    ]
    return st.sampled_from(whole).flatmap(
        lambda octets: _mixed(
            (1, st.just(b"")),
            (1, st.just(octets)),
            (2, st.integers(0, len(octets)).map(lambda n: octets[:n])),
        )
    )
