"""A peer with any certificate gets our verdict in SMTP, under every version of TLS."""

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from relay.connection.limits import SessionLimits
from relay.policy import tls
from relay.policy.any_certificate import CannotOpen, take_any_certificate
from tests.support.lists.odd_certificates import careless_client, odd_b
from tests.support.machines.operators import Inbound, inbound, trust_space
from tests.support.sessions.talking import Caller, call, dial

REFUSED = "554 5.7.1 Client certificate refused: "
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


async def _come(
    server: Inbound, kind: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Caller:
    """Connect under TLS with an odd certificate of B, greeted."""
    known = trust_space().operators
    credential = known[kind] if kind in known else trust_space().foreign.get(kind) or odd_b(kind)
    caller = await dial(server)
    assert (await caller.hear()).startswith("220 ")
    assert (await caller.say("STARTTLS")).startswith("220 ")
    folder = server.folder / kind
    folder.mkdir(exist_ok=True)
    await caller.writer.start_tls(careless_client(credential, server.space.trust, folder, version))
    assert (await caller.say("EHLO smtp.b.mssante.fr")).startswith("250 ")
    return caller


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("b", "250 2.1.0 "),
        ("server-only", "250 2.1.0 "),
        ("mail-only", f"{REFUSED}wrong-usage (rule chain"),
        ("no-signature", f"{REFUSED}wrong-usage (rule chain"),
        ("rsa-1024", f"{REFUSED}weak-cryptography (rule chain"),
        ("sha-1", f"{REFUSED}weak-cryptography (rule chain"),
        ("self-signed", f"{REFUSED}untrusted (rule chain"),
        ("foreign_b", f"{REFUSED}untrusted (rule chain"),
        ("expired", f"{REFUSED}expired (rule chain"),
        ("revoked", f"{REFUSED}revoked (rule chain"),
    ],
)
def test_the_reason_is_told_in_smtp(
    kind: str,
    reply: str,
    version: ssl.TLSVersion,
    loop: Callable[[], asyncio.AbstractEventLoop],
    tmp_path: Path,
) -> None:
    async def exchange() -> None:
        async with inbound(tmp_path) as server:
            caller = await _come(server, kind, version)
            assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith(reply)
            assert (await caller.say("QUIT")).startswith("221 ")
            caller.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(exchange())


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_ciphers_and_versions_are_as_strict_as_before(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    async with inbound(tmp_path) as server:
        context = server.context.tls()
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.security_level >= 1
        assert context.verify_mode is ssl.CERT_OPTIONAL
        offered = {suite["name"] for suite in context.get_ciphers()}
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        plain.set_ciphers(tls.DEFAULT_SUITES)
        assert offered == {suite["name"] for suite in plain.get_ciphers()}
        caller = await _come(server, "b", version)
        assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("250 ")
        caller.close()


async def test_a_name_that_is_not_proven_takes_no_place_of_its_bearer(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections_per_peer=1)) as server:
        with capture_logs() as logs:
            impostors = [await _come(server, "self-signed") for _ in range(3)]
            for impostor in impostors:
                said = await impostor.say("MAIL FROM:<dr@b.mssante.fr>")
                assert said.startswith(f"{REFUSED}untrusted")
        named = [line["peer"] for line in logs if line["event"] == "refused"]
        assert len(named) == 3
        assert all(name.endswith(" (unproven)") for name in named)
        genuine = await call(server)
        await genuine.begin()
        for caller in (*impostors, genuine):
            caller.close()


async def test_impostors_push_nobody_out_of_the_memory_of_verdicts(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        verdicts = server.trust_state._verdicts
        genuine = await call(server)
        assert len(verdicts) == 1
        impostor = await _come(server, "self-signed")
        assert len(verdicts) == 1
        for caller in (impostor, genuine):
            caller.close()


def test_where_the_contexts_cannot_be_reached_openssl_goes_on_judging(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    space = trust_space()
    monkeypatch.setattr("sys.version_info", (3, 15))
    with pytest.raises(CannotOpen, match="layout"):
        take_any_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with capture_logs() as logs:
        context = tls.server_context(space.identity("a", tmp_path), space.trust)
    assert context.verify_mode is ssl.CERT_OPTIONAL
    assert [line["event"] for line in logs] == ["tls.strict_handshake"]


async def test_a_missing_client_auth_is_noted_in_the_journal(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        for kind in ("b", "server-only"):
            (await _come(server, kind)).close()
    files = sorted((tmp_path / "trace").rglob("*.jsonl"))
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines() if line]
    started = [line for line in lines if line["event"] == "tls.started"]
    assert [line.get("client_auth", True) for line in started] == [True, False]
