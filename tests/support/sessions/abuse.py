"""Clients that abuse a daemon of the federation: bad handshakes, aborted messages, idle sessions.

Each leaves its connection in a state that asyncio, uvloop or the relay might fail to clean up.
"""

import asyncio
import ssl
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mssante_operator.setup.install import TrustSpace, write_identity
from tests.fuzz.wire import Damage, Wire
from tests.support.clock import system_clock
from tests.support.machines.daemon import Daemon, federation

BOX: Final = "claire.martin@a.mssante.fr"
HOST: Final = "127.0.0.1"
PATIENCE: Final = 60.0  # timeout in seconds of a connection
ON_DISK: Final = 2_200_000  # octets; too large to stay in memory (`draft.EXTENDED_LIMIT`)


class Certificates:
    """TLS contexts of the clients, made once."""

    def __init__(self, daemon: Daemon) -> None:
        stranger = TrustSpace.create(system_clock())
        pki = daemon.folder / "pki"
        credential = stranger.enrol("smtp.b.mssante.fr", "OPERATEUR B")
        write_identity(credential, stranger.hierarchy, pki, "stranger")
        self.good = _context(*daemon.identity("b"))
        self.untrusted = [
            _context(pki / "stranger.pem", pki / "stranger.key", version)
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        ]
        self.old = _context(*daemon.identity("b"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the old version is intended
            self.old.set_ciphers("DEFAULT:@SECLEVEL=0")
            self.old.minimum_version = ssl.TLSVersion.TLSv1
            self.old.maximum_version = ssl.TLSVersion.TLSv1_1


def _context(
    certificate: Path, key: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    root = federation().space.hierarchy.root.certificate_pem
    context.load_verify_locations(cadata=root.decode("ascii"))
    context.load_cert_chain(certificate, key)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
    return context


async def _reply(wire: Wire, code: bytes) -> None:
    """Read replies up to the reply with this code."""
    heard = b""
    while not heard.endswith(b"\n") or heard.splitlines()[-1][3:4] == b"-":
        more = await wire.hear()
        assert more, f"{code!r} was due, the connection ended after {heard!r}"
        heard += more
    assert heard.splitlines()[-1].startswith(code), heard


async def _begin(port: int) -> Wire:
    wire = await Wire.connect(HOST, port)
    await _reply(wire, b"220")
    await wire.send(b"STARTTLS\r\n")
    await _reply(wire, b"220")
    return wire


async def refused_handshake(port: int, certificates: Certificates, number: int) -> None:
    """Handshake that fails for one of four reasons, or that gives no right to send mail."""
    wire = await _begin(port)
    flight = number // 5 % 2
    try:
        match number % 5:
            case 0:
                assert not await wire.start_tls(certificates.old)
            case 1:
                await wire.send_raw(b"\x16\x03\x01\x02\x00" + bytes([number % 251]) * 600)
            case 2:
                assert await wire.start_tls(certificates.untrusted[flight])
                await wire.send(b"EHLO x\r\n")
                await _reply(wire, b"250")
                await wire.send(b"MAIL FROM:<dr@b.mssante.fr>\r\n")
                await _reply(wire, b"554 5.7.1 Client certificate refused")
                wire.finish()
            case 3:
                await wire.break_handshake(certificates.good, flight, Damage(at=number))
                wire.finish()
            case _:
                await wire.break_handshake(certificates.good, flight, Damage(at=number))
                wire.reset()
                return
        await wire.drain()
    finally:
        wire.close()


async def broken_off(port: int, certificates: Certificates, number: int) -> None:
    """Incomplete message: by DATA or BDAT, in memory or on disk, ended by FIN or RST."""
    size = ON_DISK if number % 2 else 2_000
    by_reset, by_chunks = number // 2 % 2, number // 4 % 2
    body = b"From: dr@b.mssante.fr\r\n\r\n" + b"%070d\r\n" % number * (size // 72)
    wire = await _begin(port)
    try:
        assert await wire.start_tls(certificates.good)
        await wire.send(b"EHLO b\r\n")
        await _reply(wire, b"250")
        await wire.send(f"MAIL FROM:<dr@b.mssante.fr>\r\nRCPT TO:<{BOX}>\r\n".encode())
        await _reply(wire, b"250")
        if by_chunks:
            # The first chunk is acknowledged, so it is on disk; the second stays incomplete.
            await wire.send(b"BDAT %d\r\n" % len(body) + body)
            await _reply(wire, b"250 2.0.0")
            await wire.send(b"BDAT 90000 LAST\r\n" + body[:2_000])
        else:
            await wire.send(b"DATA\r\n")
            await _reply(wire, b"354")
            await wire.send(body)
        if by_reset:
            wire.reset()
        else:
            wire.finish()
            await wire.drain()
    finally:
        wire.close()


async def each(count: int, at_once: int, one: Callable[[int], Awaitable[None]]) -> None:
    """Run the action `times` times, `at_once` in parallel."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            async with asyncio.timeout(PATIENCE):
                await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some())


async def idle_connections(
    port: int, certificates: Certificates, count: int, at_once: int, held: Callable[[], None]
) -> None:
    """Idle TLS connections, all at once; half of them send QUIT."""
    wires: list[Wire] = []

    async def one(_: int) -> None:
        wire = await _begin(port)
        wires.append(wire)
        assert await wire.start_tls(certificates.good)
        await wire.send(b"EHLO b\r\n")
        await _reply(wire, b"250")

    try:
        await each(count, at_once, one)
        held()
        for wire in wires[::2]:
            await wire.send(b"QUIT\r\n")
            await _reply(wire, b"221")
    finally:
        for wire in wires:
            wire.close()
