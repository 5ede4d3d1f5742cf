"""A short run of the network fuzzer, and a check that its judge finds faults.

The invariant and the long form are in `tests.fuzz.network`.
"""

import ssl
from collections.abc import Iterator

import pytest
from hypothesis import given

from tests.fuzz.audit import Auditor, Message
from tests.fuzz.grammar import GREETING, LIMIT, RECIPIENTS, SENDERS, SMUGGLING, line
from tests.fuzz.network import LOOPS, FuzzedServer, broken_handshakes, conversations, fuzzed_server
from tests.fuzz.talk import Conversation, Ending
from tests.fuzz.wire import Damage
from tests.support.machines.operators import ACTIVE

MAIL, RCPT = line(b"MAIL", next(iter(SENDERS))), line(b"RCPT", next(iter(RECIPIENTS)))
BODY = b"Subject: x\r\n\r\n.hello\r\n"
BY_DATA = MAIL + RCPT + b"DATA\r\n" + b"Subject: x\r\n\r\n..hello\r\n.\r\n"
BY_CHUNKS = MAIL + RCPT + b"BDAT 5\r\nSubje" + b"BDAT %d LAST\r\n" % (len(BODY) - 5) + BODY[5:]


@pytest.fixture(scope="module", params=LOOPS)
def listening(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FuzzedServer]:
    with fuzzed_server(tmp_path_factory.mktemp("fuzz"), request.param) as found:
        yield found


def conversation(
    *moves: bytes,
    peer: str | None = "b",
    lockstep: bool = False,
    cuts: tuple[int, ...] = (),
    ending: Ending = Ending.QUIT,
    tail: bytes = b"",
    damage: Damage = Damage(0),  # noqa: B008 - frozen
) -> Conversation:
    return Conversation(
        peer=peer,
        version=ssl.TLSVersion.TLSv1_3,
        plain=[],
        handshake=None,
        secure=list(moves),
        lockstep=lockstep,
        cuts=list(cuts),
        tail=tail,
        ending=ending,
        damage=damage,
    )


@pytest.mark.fuzz
@given(conversations())
def test_any_conversation_ends_in_replies_or_a_closed_connection(
    listening: FuzzedServer, conversation: Conversation
) -> None:
    # RFC 5321 §4.2, RFC 2920 §3.2, RFC 3030 §2, RFC 3207 §4.2
    listening.hold(conversation)


@pytest.mark.fuzz
@given(broken_handshakes())
def test_any_handshake_ends_in_tls_or_a_closed_connection(
    listening: FuzzedServer, conversation: Conversation
) -> None:
    listening.hold(conversation)


@pytest.mark.parametrize("moves", [BY_DATA, BY_CHUNKS], ids=["data", "bdat"])
@pytest.mark.parametrize("cuts", [(), (1,) * 400, (27, 1, 30, 2)], ids=["whole", "octets", "cut"])
def test_what_is_complete_is_accepted_however_it_is_cut(
    listening: FuzzedServer, moves: bytes, cuts: tuple[int, ...]
) -> None:
    before = listening.totals["messages accepted"]
    listening.hold(conversation(GREETING, moves, moves, cuts=cuts))
    assert listening.totals["messages accepted"] == before + 2


@pytest.mark.parametrize("peer", [None, "intruder", "revoked", "foreign_b"])
def test_nothing_is_accepted_from_others(listening: FuzzedServer, peer: str | None) -> None:
    before = listening.totals["messages accepted"]
    listening.hold(conversation(GREETING, BY_DATA, BY_CHUNKS, peer=peer))
    assert listening.totals["messages accepted"] == before


@pytest.mark.parametrize("sequence", SMUGGLING, ids=repr)
def test_no_sequence_smuggles_a_message(listening: FuzzedServer, sequence: bytes) -> None:
    # Smuggling: CVE-2023-51764, -51765, -51766
    before = listening.totals["messages accepted"]
    smuggled = MAIL + RCPT + b"DATA\r\nsmuggled\r\n.\r\n"
    listening.hold(conversation(GREETING, MAIL + RCPT + b"DATA\r\n", b"hello" + sequence, smuggled))
    assert listening.totals["messages accepted"] == before


@pytest.mark.parametrize("ending", [e for e in Ending if e is not Ending.QUIT])
@pytest.mark.parametrize("tail", [BY_DATA[:-3], BY_CHUNKS[:-1]], ids=["data", "bdat"])
def test_what_is_broken_off_is_not_accepted(
    listening: FuzzedServer, ending: Ending, tail: bytes
) -> None:
    before = listening.totals["messages accepted"]
    damage = Damage(at=100, change=1)
    listening.hold(conversation(GREETING, ending=ending, tail=tail, damage=damage))
    assert listening.totals["messages accepted"] == before


def test_tls_broken_right_after_the_handshake_is_no_error_of_ours(listening: FuzzedServer) -> None:
    # The peer's certificate is gone by the time that the session asks for it.
    broken = conversation(ending=Ending.DAMAGED, damage=Damage(at=20, change=3))
    listening.hold(broken)


# The judge itself: made-up records of a server with each of these faults.

OPENED = b"250 x\r\n250 2.1.0 OK\r\n250 2.1.5 OK\r\n"
GO = OPENED + b"354 go\r\n"
OPEN = GREETING + MAIL + RCPT
ACCEPTED = b"250 2.0.0 Accepted as 1\r\n"


def judged(said: bytes, heard: bytes, peer: str | None = "b") -> Auditor:
    auditor = Auditor(peer=peer, secure=True)
    auditor.said(said)
    auditor.heard(heard)
    auditor.ended(by_us=True)
    return auditor


def test_the_judge_knows_what_was_sent() -> None:
    heard = GO + ACCEPTED + OPENED[7:] + b"250 2.0.0 5\r\n" + ACCEPTED
    message = Message("1", BODY, frozenset({ACTIVE}))
    assert judged(GREETING + BY_DATA + BY_CHUNKS, heard).accepted == [message, message]


def test_the_judge_knows_what_may_have_been_accepted_unheard() -> None:
    auditor = judged(GREETING + BY_DATA + BY_CHUNKS, GO)
    assert [message.body for message in auditor.unheard()] == [BODY, BODY]
    assert auditor.accepted == []


LONG = b"x" * 70 + b"\r\n"


@pytest.mark.parametrize(
    ("said", "heard", "peer"),
    [
        (b"NOOP\r\n", b"250 2.0.0 OK\r\n250 2.0.0 OK\r\n", "b"),
        (b"NOOP\r\n", b"250 2.0.0 OK\n", "b"),
        (b"NOOP\r\n", b"25 OK\r\n", "b"),
        (b"NOOP\r\n", b"250 \xc3\xa9\r\n", "b"),
        (b"NOOP\r\n", b"250 " + b"x" * 507 + b"\r\n", "b"),
        (b"NOOP\r\n", b"250-a\r\n251 b\r\n", "b"),
        (b"BOGUS\r\n", b"500 what?\r\n", "b"),
        (b"BOGUS\r\n", b"500 4.0.0 what?\r\n", "b"),
        (b"BOGUS\r\n", b"250 2.0.0 OK\r\n", "b"),
        (b"NOOP\n", b"250 2.0.0 OK\r\n", "b"),
        (b"NOOP\r\r\n", b"250 2.0.0 OK\r\n", "b"),
        (b"NOOP\r\n", b"421 4.7.0 Too many errors\r\n", "b"),
        (MAIL, b"250 2.1.0 OK\r\n", "b"),
        (GREETING + MAIL, b"250 x\r\n250 2.1.0 OK\r\n", "intruder"),
        (GREETING + line(b"MAIL", b"FROM:<dr@c.mssante.fr>"), OPENED[:21], "b"),
        (GREETING + MAIL + line(b"RCPT", b"TO:<dr@c.mssante.fr>"), OPENED, "b"),
        (OPEN + b"DATA\r\nx\n.\r\n", GO + ACCEPTED, "b"),
        (OPEN + b"DATA\r\nx\n.\r\n\r\n.\r\n", GO + ACCEPTED, "b"),
        (GREETING + BY_DATA, OPENED + b"354 go\r\n550 5.6.0 no\r\n", "b"),
        (GREETING + BY_CHUNKS, OPENED + ACCEPTED, "b"),
        (GREETING + BY_CHUNKS, OPENED + b"250 2.0.0 5\r\n550 5.6.0 no\r\n", "b"),
        (
            OPEN + b"DATA\r\n" + LONG * (LIMIT // 60) + b".\r\n",
            GO + ACCEPTED,
            "b",
        ),
    ],
    ids=[
        "two-replies", "bare-lf", "two-digits", "not-ascii", "long", "two-codes", "not-enhanced",
        "another-class", "bogus-obeyed", "lf-obeyed", "cr-obeyed", "ended-early", "before-ehlo",
        "intruder", "other-domain", "relay", "smuggled", "violation", "refused", "half-accepted",
        "chunk-refused", "too-big",
    ],
)  # fmt: skip
def test_the_judge_sees(said: bytes, heard: bytes, peer: str) -> None:
    with pytest.raises(AssertionError):
        judged(said, heard, peer)


def test_the_judge_wants_a_reason_for_a_closed_connection() -> None:
    auditor = Auditor(peer="b", secure=True)
    with pytest.raises(AssertionError, match="without a reason"):
        auditor.ended(by_us=False)
