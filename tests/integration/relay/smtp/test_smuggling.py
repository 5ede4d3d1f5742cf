"""Smuggling (RFC 5321 §2.3.8): octets that only one of two servers takes for a message's end.

Inbound DATA is tested against every sequence by test_framing and test_fuzz_network; here are
BDAT and outbound mail, to the most lenient peer possible: any line end at all ends its lines.
"""

import re
from io import BytesIO
from pathlib import Path

import pytest

from relay.acceptance.recipient_lookup import RecipientLookup
from relay.connection.limits import SessionLimits
from relay.policy.admission import AdmissionPolicy
from relay.smtp.address import parse_address
from relay.smtp.errors import SmtpError
from relay.submission.local import LocalSubmitter
from tests.fuzz.grammar import SMUGGLING
from tests.support.clock import system_clock
from tests.support.delivery.senders import BODY, Sender, sending, server_tls
from tests.support.ids import make_id
from tests.support.machines.operators import ACTIVE, inbound
from tests.support.sessions.scripted import running
from tests.support.sessions.talking import call

SMUGGLED = b"MAIL FROM:<smuggled@b.mssante.fr>\r\nRCPT TO:<x@c.mssante.fr>\r\nDATA\r\nsmuggled\r\n"
every_sequence = pytest.mark.parametrize("sequence", SMUGGLING, ids=repr)


def credulous(octets: bytes) -> list[bytes]:
    """The lines of a server that ends them at CR, LF or CRLF, with NULs left out."""
    return re.split(rb"\r\n|\r|\n", octets.replace(b"\0", b""))


async def test_no_sequence_gets_in_by_chunks(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_errors=1000)) as server:
        caller = await call(server)
        for sequence in SMUGGLING:
            octets = b"hello" + sequence + SMUGGLED
            await caller.say("RSET")
            await caller.begin()
            caller.writer.write(b"BDAT %d LAST\r\n%s" % (len(octets), octets))
            assert (await caller.hear()).startswith("550 5.6.0 "), sequence
            assert (await caller.say("NOOP")).startswith("250 2.0.0 "), sequence
        caller.close()
        assert server.entries(ACTIVE) == []


@every_sequence
async def test_no_stored_sequence_gets_out(sequence: bytes, tmp_path: Path) -> None:
    # Our own inbound side refuses it; if it is in the store all the same, it is not sent.
    with sending(tmp_path / "b") as sender:
        async with running(server_tls("a", tmp_path)) as peer:
            sender.queue(ACTIVE, body=BODY + b"hello" + sequence + SMUGGLED)
            await sender.deliver(peer.port)
        (row,) = sender.queued()
    assert row.state == "failed"
    assert row.last_error.startswith("550 5.6.0 not sent: it contains a ")
    assert peer.messages == []
    assert not any("smuggled" in line for line in peer.received)


@every_sequence
async def test_what_our_users_send_is_mended_or_refused(sequence: bytes, tmp_path: Path) -> None:
    body = b"From: cardiologie@a.mssante.fr\n\nhello" + sequence + SMUGGLED
    with sending(tmp_path / "b") as sender:
        refusal = _submit(sender, body)
        if refusal:
            assert refusal.startswith("550 5.6.0 Message contains a ")
            assert sender.queued() == []
            return
        async with running(server_tls("c", tmp_path)) as peer:
            await sender.deliver(peer.port)
        (octets,) = peer.messages
    lines = credulous(octets)
    assert lines.index(b".") == len(lines) - 2  # only the last line is a lone dot
    assert peer.received.count("DATA") == 1


def _submit(sender: Sender, body: bytes) -> str:
    """Submit as one of our users to a peer; the refusal, empty if there was none."""
    submitter = LocalSubmitter(
        hostname="smtp.a.mssante.fr",
        policy=AdmissionPolicy(100_000),
        store=sender.store,
        lookup=RecipientLookup(sender.store.database, now=system_clock),
        trust_state=sender.trust_state,
        clock=system_clock,
        new_id=make_id,
        record=sender.journal.record,
    )
    user, peer = parse_address("cardiologie@a.mssante.fr"), parse_address("dr@c.mssante.fr")
    try:
        submitter.submit(BytesIO(body), user, [peer])
    except SmtpError as refused:
        return str(refused.reply)
    return ""
