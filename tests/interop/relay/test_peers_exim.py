"""Exim as the peer, which requires our certificate: its BDAT, DSN, 8BITMIME and SMTPUTF8.

And an Exim that does not trust our certificate, and refuses us in the handshake.
"""

from pathlib import Path

import pytest

from relay.client.connect import open_connection
from relay.client.routing import Target
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.outcome import State
from tests.support.delivery.handing import handing, message_maker
from tests.support.delivery.senders import BODY, TRACE, sending
from tests.support.machines.operators import HOST, trust_space
from tests.support.peers.exim import missing, receiving_exim
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

DOMAIN = "a.mssante.fr"
DURAND, PETIT, HELENE, NOBODY = (f"{n}@{DOMAIN}" for n in ("durand", "petit", "hélène", "nobody"))
EIGHT_BIT = BODY + "Résultat é \t \r\n.\r\n".encode()
LARGE = EIGHT_BIT + b"".join(b".%d %s\r\n" % (n, b"x" * 90) for n in range(30_000))
SIZE = 4_000_000


@pytest.mark.parametrize("chunking", [True, False], ids=["bdat", "data"])
async def test_exim_takes_messages_on_one_connection(tmp_path: Path, chunking: bool) -> None:
    # RFC 1870, RFC 3030, RFC 3461, RFC 6152, RFC 6531
    space = trust_space()
    ours, known = handing(tmp_path / "b"), space.space.hierarchy
    with receiving_exim(space.operators["a"], known, known, size=SIZE, chunking=chunking) as server:
        targets = [Target(HOST, server.port)]
        link = await open_connection(targets[0], DOMAIN, ours.config())
        offers = link.offers
        await link.quit()
        assert (offers.size, offers.pipelining, offers.chunking) == (SIZE, True, chunking)
        assert (offers.eight_bit, offers.smtputf8, offers.dsn) == (True, True, True)
        async with ours.peers() as peers:
            wanted = EnvelopeRecipient(DURAND, "SUCCESS", f"rfc822;Old+2BName@{DOMAIN}")
            silent = EnvelopeRecipient(PETIT, "NEVER")
            for body in (EIGHT_BIT, LARGE):
                # The sender is at Exim's own domain, so that its reports can be read there.
                make = message_maker(
                    wanted, silent, body=body, sender=f"moi@{DOMAIN}", envid="Q+2B7", ret="HDRS"
                )
                found = await peers.hand_over(DOMAIN, targets, make)
                assert [one.state for one in found.values()] == [State.DELIVERED] * 2
                assert all(one.dsn for one in found.values())
            make = message_maker(HELENE, NOBODY, body=EIGHT_BIT, smtputf8=True)
            found = await peers.hand_over(DOMAIN, targets, make)
            assert (found[HELENE].state, found[NOBODY].state) == (State.DELIVERED, State.FAILED)
            assert found[NOBODY].reply == "550 no such mailbox"
            make = message_maker(DURAND, body=EIGHT_BIT + b"x\r\n" * (SIZE // 3))
            found = await peers.hand_over(DOMAIN, targets, make)
            assert found[DURAND].state is State.FAILED
            assert found[DURAND].reply.startswith("552 5.3.4 not sent: ")
        await until(lambda: server.log().count("Completed") == 5)  # three, and reports of two
        stored, log = server.messages(), server.log()
    reports = [one for one in stored if b"multipart/report" in one]
    assert len(reports) == 2
    for report in reports:
        assert report.count(b"Q+2B7") == 1, report  # unchanged
        assert b"Action: delivered" in report
        assert PETIT.encode() not in report
    # One file for each recipient; these DSNs have only the header.
    assert sum(one.endswith(LARGE) for one in stored) == 2
    assert sum(one.endswith(EIGHT_BIT) for one in stored) == 3
    arrived = [line for line in log.splitlines() if " <= " in line and " H=" in line]
    assert len(arrived) == 3, log
    for line in arrived:
        assert " X=TLS1.3:" in line
        assert " CV=yes " in line
        assert " M8S=8" in line
        assert (" K " in line) is chunking
    assert " P=utf8esmtps " in arrived[-1]
    # The test's own, one look, one for all messages.
    assert log.count("SMTP connection from [127.0.0.1] (") == 3


async def test_exim_with_limits_gets_all_recipients_at_once(tmp_path: Path) -> None:
    # RFC 5321 §4.5.3.1.10: it sends 452 without more, and 421 to a connection's third message.
    space = trust_space()
    ours, known = handing(tmp_path / "b"), space.space.hierarchy
    to = [f"r{n}@{DOMAIN}" for n in range(12)]
    with receiving_exim(space.operators["a"], known, known, recipients=5, messages=2) as server:
        async with ours.peers() as peers:
            found = await peers.hand_over(DOMAIN, [Target(HOST, server.port)], message_maker(*to))
        assert found.keys() == set(to)
        assert {one.state for one in found.values()} == {State.DELIVERED}
        await until(lambda: server.log().count("Completed") == 3)
        stored, log = server.messages(), server.log()
    assert sum(one.endswith(BODY) for one in stored) == len(to)
    # The test's own, and two of ours.
    assert log.count("SMTP connection from [127.0.0.1] (") == 3


async def test_an_exim_that_does_not_trust_us_gets_nothing_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    # docs/queue.md: it waits, and is there when the peer trusts us again.
    space = trust_space()
    known = space.space.hierarchy
    with sending(tmp_path / "b") as sender:
        key = sender.queue(DURAND)
        with receiving_exim(space.operators["a"], known, trusted=space.other) as server:
            await sender.deliver(server.port)
            assert " <= " not in server.log()
            assert server.messages() == []
        (row,) = sender.queued()
        assert (row.state, row.attempts, row.recipients) == ("waiting", 1, (DURAND,))
        assert "bad certificate" in row.last_error
        (event,) = sender.attempts()
        assert (event["message"], event["state"], event["reason"]) == (key, "waiting", "tls")
        sender.retry()
        with receiving_exim(space.operators["a"], known, trusted=known) as server:
            await sender.deliver(server.port, attempts=2)
            await until(lambda: "Completed" in server.log())
            (stored,) = server.messages()
        assert stored.endswith(TRACE + BODY)
        assert sender.queued() == []
