"""Postfix as the peer: PIPELINING, CHUNKING and DSN of the most widespread server."""

from pathlib import Path

import pytest

from mssante_operator.setup.install import write_identity
from relay.client.connect import ClientConfig, open_connection
from relay.client.pool import ConnectionPool
from relay.client.routing import Target
from relay.policy import tls
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import State
from tests.support.delivery.handing import message_maker
from tests.support.machines.federation import federation
from tests.support.machines.operators import HOST
from tests.support.peers.postfix import missing, postfix
from tests.support.waiting import until
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.trust_store import TrustStore

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

DURAND, PETIT = "durand@b.mssante.fr", "petit@b.mssante.fr"
LETTER = b"From: claire.martin@a.mssante.fr\r\nSubject: x\r\n\r\n.dot\r\n..\r\nfin\r\n"


def terms(folder: Path, shows: str) -> ClientConfig:
    """The credentials of an operator of Postfix's federation; any server of it will do."""
    known = federation()
    authorities = known.space.hierarchy
    write_identity(known.operators[shows], authorities, folder, shows)
    trust = TrustStore(
        (authorities.root.certificate,),
        (authorities.intermediate.certificate,),
        revocation=RevocationPolicy.OFF,
    )
    identity = tls.Identity(folder / f"{shows}.pem", folder / f"{shows}.key")
    context = tls.client_context(identity, trust)

    async def judge(domain: str, der: bytes | None, version: str, _cipher: str) -> None:
        if der is None or domain != "b.mssante.fr" or version != "TLSv1.3":
            raise AttemptFailed(FailureReason.SERVER_NAME, "not the server that was meant")

    return ClientConfig("smtp.a.mssante.fr", lambda: context, judge)


async def test_postfix_takes_messages_and_reports_success(tmp_path: Path) -> None:
    ours = terms(tmp_path, "a")
    large = LETTER + b"".join(b".%d %s\r\n" % (n, b"x" * 90) for n in range(30_000))
    with postfix("b.mssante.fr", shows="b") as server:
        targets = [Target(HOST, server.port)]
        link = await open_connection(targets[0], "b.mssante.fr", ours)
        offers = link.offers
        await link.quit()
        assert offers.pipelining
        assert offers.chunking
        assert offers.dsn
        peers = ConnectionPool(ours)
        try:
            for body in (LETTER, large):
                wanted = EnvelopeRecipient(DURAND, "SUCCESS", "rfc822;Old+2BName@b.mssante.fr")
                silent = EnvelopeRecipient(PETIT, "NEVER")
                # The sender is at Postfix's own domain, so that its reports can be read there.
                make = message_maker(
                    wanted, silent, body=body, sender="moi@b.mssante.fr", envid="Q+2B7", ret="HDRS"
                )
                found = await peers.hand_over("b.mssante.fr", targets, make)
                assert [one.state for one in found.values()] == [State.DELIVERED] * 2
                assert all(one.dsn for one in found.values())
                assert f"{len(body)} bytes queued as" in found[DURAND].reply  # said of BDAT only
        finally:
            await peers.close()
        # Both messages for two recipients each, and a DSN for each.
        await until(lambda: len(server.messages()) >= 6)
        await until(lambda: server.log().count("disconnect from") >= 2)
        stored, log = server.messages(), server.log()
    reports = [one for one in stored if b"multipart/report" in one]
    assert len(reports) == 2
    for report in reports:
        assert b"Original-Envelope-Id: Q+7" in report
        assert b"Original-Recipient: rfc822;Old+Name@b.mssante.fr" in report
        assert b"Action: delivered" in report
        assert PETIT.encode() not in report
    for body in (LETTER, large):
        assert sum(one.endswith(body) for one in stored) == 2
    # One connection for the look, one for all messages.
    assert log.count("]: connect from") == 2


async def test_postfix_with_a_limit_gets_all_recipients_at_once(tmp_path: Path) -> None:
    # RFC 5321 §4.5.3.1.10; Postfix answers 452 4.5.3 and offers no LIMITS.
    to = [f"r{n}@b.mssante.fr" for n in range(12)]
    with postfix("b.mssante.fr", shows="b", smtpd_recipient_limit=5) as server:
        peers = ConnectionPool(terms(tmp_path, "a"))
        try:
            found = await peers.hand_over(
                "b.mssante.fr", [Target(HOST, server.port)], message_maker(*to, body=LETTER)
            )
        finally:
            await peers.close()
        assert found.keys() == set(to)
        assert {one.state for one in found.values()} == {State.DELIVERED}
        await until(lambda: len(server.messages()) >= len(to))
        await until(lambda: "disconnect from" in server.log())
        stored, log = server.messages(), server.log()
    assert sum(one.endswith(LETTER) for one in stored) == len(to)
    assert log.count("]: connect from") == 1
    assert log.count(", nrcpt=5 ") == 2
    assert log.count(", nrcpt=2 ") == 1
