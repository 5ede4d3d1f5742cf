"""OCSP in whole sessions, inbound and outbound, while a revocation list is missing."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ocsp

from mssante_operator.setup.install import write_identity
from mssante_operator.setup.testbed.certificate_profile import Lifetime, RevocationAddresses
from relay.connection.connection_counts import ConnectionCounts
from relay.connection.limits import SessionLimits
from relay.policy import tls
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from tests.support.clock import system_clock
from tests.support.delivery.senders import sending
from tests.support.lists.hierarchy import crl, hierarchy, spare_key
from tests.support.lists.ocsp_responder import Responder, ocsp_answer, responding
from tests.support.machines.operators import ACTIVE, HOST, inbound, trust_space
from tests.support.machines.perimeters import trust_state
from whitelist.pki.crl import RevocationList
from whitelist.pki.ocsp_client import OcspClient

DAY = timedelta(days=1)
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN
ROOT_LIST = RevocationList.read(crl(hierarchy().root))
Answer = Callable[[], bytes | None]

DOWN = "http://127.0.0.1:1/ocsp"  # nobody listens there
ELSEWHERE = "http://127.0.0.1:2/ocsp"  # named in certificates, and never asked


@pytest.fixture
def responder() -> Iterator[Responder]:
    with responding() as running:
        yield running


def enrol(name: str, folder: Path, responder: Responder, status: ocsp.OCSPCertStatus | None) -> str:
    """Issue operator `name` a certificate with this status, None for a responder that is down."""
    space, now = trust_space(), system_clock()
    authorities = space.space.hierarchy
    shown = authorities.issue_server(
        space.operators[name].certificate.subject,
        [f"smtp.{name}.mssante.fr"],
        Lifetime.of_leaf(now),
        key=spare_key(),
        revocation=RevocationAddresses(ocsp=(ELSEWHERE,)),
    )
    issuer = authorities.intermediate
    if status is not None:
        answer = ocsp_answer(
            shown.certificate, issuer.certificate, issuer, now, status, next_update=now + DAY
        )
        responder.answer = lambda: answer
    write_identity(shown, authorities, folder, f"{name}-asked")
    return f"{name}-asked"


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (GOOD, "250 2.1.0 "),
        (REVOKED, "554 5.7.1 Client certificate refused: revoked"),
        (None, "451 4.7.1 Revocation lists unavailable here"),
    ],
)
async def test_a_peer_comes_while_its_list_is_lacking(
    responder: Responder, tmp_path: Path, status: ocsp.OCSPCertStatus | None, reply: str
) -> None:
    space = trust_space()
    asked_at = responder.url if status else DOWN
    lists, asker = space.crls[:1], OcspClient(system_clock, [asked_at])
    folder = tmp_path / "lacking"
    follower = trust_state(
        folder, space.white_list, space.trust, system_clock, crls=lists, ocsp=asker
    )
    async with inbound(tmp_path) as server:
        listener = Listener(
            peer_session,
            replace(
                server.context,
                trust_state=follower,
                connection_counts=ConnectionCounts(SessionLimits()),
            ),
        )
        bound = bind(HOST, 0)
        listener.start(bound)
        client = server.client_tls(enrol("b", tmp_path, responder, status))
        reader, writer = await asyncio.open_connection(HOST, bound.getsockname()[1])
        await reader.readline()
        writer.write(b"STARTTLS\r\n")
        await reader.readline()
        await writer.start_tls(client)
        writer.write(b"HELO smtp.b.mssante.fr\r\nMAIL FROM:<dr@b.mssante.fr>\r\n")
        await reader.readline()
        assert (await reader.readline()).decode().startswith(reply)
        writer.close()
        await listener.stop(grace=0)
    assert len(responder.questions) == (status is not None)


@pytest.mark.parametrize(
    ("status", "error"), [(GOOD, ""), (REVOKED, "refused by rule chain: OCSP: http://127.0.0.1")]
)
async def test_mail_goes_out_while_the_list_of_the_server_is_lacking(
    responder: Responder, tmp_path: Path, status: ocsp.OCSPCertStatus, error: str
) -> None:
    space = trust_space()
    lists, asker = space.crls[:1], OcspClient(system_clock, [responder.url])
    async with inbound(tmp_path) as server:
        identity = space.identity(enrol("a", tmp_path, responder, status), tmp_path)
        context = tls.server_context(identity, space.trust)
        asked = replace(
            server.context, tls=lambda: context, connection_counts=ConnectionCounts(SessionLimits())
        )
        listener, bound = Listener(peer_session, asked), bind(HOST, 0)
        listener.start(bound)
        with sending(tmp_path / "b") as sender:
            sender.trust_state = trust_state(
                tmp_path / "lacking",
                space.white_list,
                space.trust,
                system_clock,
                crls=lists,
                ocsp=asker,
            )
            sender.queue(ACTIVE)
            await sender.deliver(bound.getsockname()[1])
            said = [row.last_error or "" for row in sender.queued()]
            assert len(server.entries(ACTIVE)) == (not error)
        await listener.stop(grace=0)
    assert all(error in one for one in said)
    assert len(said) == bool(error)
