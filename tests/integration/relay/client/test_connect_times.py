"""How long a peer is waited for: RFC 5321 §4.5.3.2, command by command."""

import asyncio
import socket
import time
from dataclasses import replace

import aiosmtplib
import pytest

from relay.client.connection import ClientConnection
from relay.client.replies import PeerReply
from relay.client.routing import Target
from relay.smtp.errors import AttemptFailed
from tests.support.delivery.handing import (
    ALONE,
    ALONE_CHUNKING,
    Handing,
    Replies,
    every_manner,
    hand,
    message_maker,
)
from tests.support.machines.operators import HOST
from tests.support.sessions.scripted import STALL, ScriptedPeer, running

TO = ("a@a.mssante.fr", "b@a.mssante.fr")
MINUTE = 60.0


@every_manner
async def test_each_command_has_its_time(
    ours: Handing,
    scripted: ScriptedPeer,
    offers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    reply = ClientConnection.reply

    async def noted(link: ClientConnection, seconds: float) -> PeerReply:
        waits.append(seconds)
        return await reply(link, seconds)

    opening: list[float] = []
    execute = aiosmtplib.SMTP.ehlo

    async def ehlo(client: aiosmtplib.SMTP) -> object:
        assert client.timeout is not None
        opening.append(client.timeout)
        return await execute(client)

    monkeypatch.setattr(ClientConnection, "reply", noted)
    monkeypatch.setattr(aiosmtplib.SMTP, "ehlo", ehlo)
    async with running(replace(scripted, offers=offers)) as server:
        found = await hand(ours, server, *TO)
    assert set(found.values()) == {"delivered 250 2.0.0 taken"}
    assert opening == [5 * MINUTE, 5 * MINUTE]
    data = [] if "CHUNKING" in offers else [2 * MINUTE]
    assert waits[:-1] == [5 * MINUTE] * 3 + data + [10 * MINUTE]  # the last one is of QUIT
    assert ours.config().block_timeout == 3 * MINUTE


@pytest.mark.parametrize("offers", [ALONE, ALONE_CHUNKING], ids=["data", "bdat"])
async def test_a_slow_recipient_is_progress(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    heard: list[float] = []
    make = message_maker(*TO)
    async with running(replace(scripted, offers=offers)) as server, ours.peers() as peers:
        await peers.hand_over(
            "a.mssante.fr",
            [Target(HOST, server.port)],
            lambda: replace(make(), on_reply=lambda: heard.append(time.monotonic())),
        )
    assert len(heard) == len(TO)


async def test_data_has_less_time_than_recipients(ours: Handing, scripted: ScriptedPeer) -> None:
    silent = replace(scripted, replies={"DATA": STALL})
    async with running(silent) as server, ours.peers(start_timeout=0.3) as peers:
        with pytest.raises(AttemptFailed, match=r"no reply within 0\.3 s"):
            await peers.hand_over("a.mssante.fr", [Target(HOST, server.port)], message_maker(TO[0]))


async def test_a_connection_has_less_time_than_a_greeting(ours: Handing) -> None:
    # RFC 5321 §4.5.3.2.1: the one must be told from the other.
    with socket.socket() as door:
        door.bind((HOST, 0))
        door.listen(0)
        waiting = [socket.socket() for _ in range(3)]  # more than may wait
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(door.getsockname())
        async with ours.peers(connect_timeout=0.3) as peers:
            with pytest.raises(AttemptFailed, match=r"no connection within 0\.3 s") as failed:
                await peers.hand_over(
                    "a.mssante.fr", [Target(HOST, door.getsockname()[1])], message_maker(TO[0])
                )
        for one in waiting:
            one.close()
    assert failed.value.reason == "timeout"


async def test_a_late_greeting_is_waited_for(ours: Handing, scripted: ScriptedPeer) -> None:
    class Late(ScriptedPeer):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.6)
            await super().serve(reader, writer)

    async with running(Late(scripted.tls)) as server, ours.peers(connect_timeout=0.3) as peers:
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, server.port)], message_maker(TO[0])
        )
    assert found[TO[0]].reply == "250 2.0.0 taken"


@every_manner
@pytest.mark.parametrize(
    ("replies", "became"),
    [
        ({".": "250-ok\r\n220 done"}, "delivered 220 ok done"),
        ({".": "550-no\r\n554 never"}, "failed 554 no never"),
        ({".": "250\t2.0.0 taken"}, "delivered 250 2.0.0 taken"),
        ({".": "\r\n250 2.0.0 taken"}, "delivered 250 2.0.0 taken"),
        ({"MAIL": "250-ok\r\n251 ok"}, "delivered 250 2.0.0 taken"),
        ({"RCPT": "450-no\r\n451 later"}, "waiting 451 no later"),
        ({"DATA": "350 go"}, "delivered 250 2.0.0 taken"),
    ],
    ids=str,
)
async def test_replies_of_a_clear_class(
    ours: Handing,
    scripted: ScriptedPeer,
    offers: tuple[str, ...],
    replies: Replies,
    became: str,
) -> None:
    async with running(replace(scripted, offers=offers, replies=replies)) as server:
        assert await hand(ours, server, TO[0]) == {TO[0]: became}
