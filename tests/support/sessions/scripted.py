"""Peer that misbehaves on demand: SMTP server whose replies can all be set."""

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from relay.client.connection import abort

OFFERS = ("SIZE 50000000", "8BITMIME", "SMTPUTF8", "PIPELINING")
CLOSE = "close"  # hang up instead of replying
STALL = "stall"  # never reply
ENDLESS = "endless"  # a reply whose lines never end
ENDLESS_LINE = "endless line"  # a reply of one line that never ends
ALERT = "alert"  # an alert in clear text instead of a reply, which ends TLS
GOOD = ""  # the normal reply

_RECORD = b"\x15\x03\x03\x00\x02\x02\x28"  # fatal, handshake_failure (RFC 8446 §6)


class HangUp(Exception):
    """The peer ends the conversation."""


@dataclass
class ScriptedPeer:
    """Scripted peer.  `replies`: command word to reply, in place of the normal reply.

    Other keys: `.` for the end of a message, `CONNECT` for the banner, `HANDSHAKE` for a reply in
    place of TLS, `BODY` for a reply in the middle of a message.

    A tuple has the replies to successive occurrences; after its end the normal reply is sent.  A
    reply that ends with `close` closes the connection afterwards.  `injected`: sent in clear text
    after the reply to STARTTLS.
    """

    tls: ssl.SSLContext | None
    replies: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    offers: tuple[str, ...] = OFFERS
    injected: bytes = b""
    received: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    certificates: list[bytes | None] = field(default_factory=list)
    connections: int = 0
    ended: int = 0
    port: int = 0
    _told: Counter[str] = field(default_factory=Counter)

    def said(self, *words: str) -> list[str]:
        """First words of the lines received, only these words."""
        found = [line.split(" ", maxsplit=1)[0] for line in self.received]
        return [word for word in found if word in words]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, HangUp):
            await self._say(writer, self._scripted("CONNECT") or "220 peer ESMTP")
            while line := await reader.readline():
                self.received.append(line.decode().rstrip("\r\n"))
                await self._answer(self.received[-1], reader, writer)
        writer.close()
        self.ended += 1

    def _scripted(self, word: str) -> str:
        found = self.replies.get(word, self.replies.get(word.lower(), GOOD))
        if isinstance(found, str):
            return found
        self._told[word] += 1
        return found[self._told[word] - 1] if self._told[word] <= len(found) else GOOD

    async def _answer(
        self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        word = line.split(" ", maxsplit=1)[0].upper()
        if word == "BDAT":
            await self._chunk(line, reader, writer)
            return
        reply = self._scripted(word)
        if word == "EHLO":
            offers = list(self.offers)
            if self.tls is not None and not writer.get_extra_info("ssl_object"):
                offers.append("STARTTLS")
            await self._say(writer, reply or "\r\n".join(["250-peer", *_multi(offers)]))
        elif word == "STARTTLS" and self.tls is not None:
            await self._say(writer, reply or "220 go", behind=self.injected)
            if fault := self._scripted("HANDSHAKE"):
                await reader.read(1)
                await self._say(writer, fault)
                await self._say(writer, STALL)
            if not reply:
                await writer.start_tls(self.tls)
                secured = writer.get_extra_info("ssl_object")
                self.certificates.append(secured.getpeercert(binary_form=True))
        elif word == "DATA":
            await self._say(writer, reply or "354 go")
            if not reply or reply.startswith("3"):
                await self._message(reader, writer)
        else:
            await self._say(writer, reply or ("221 bye" if word == "QUIT" else "250 2.0.0 ok"))
        if word == "QUIT":
            raise HangUp

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if fault := self._scripted("BODY"):
            await reader.readexactly(1000)
            await self._say(writer, fault)
        self.messages.append(await _until_dot(reader))
        await self._say(writer, self._scripted(".") or "250 2.0.0 taken")

    async def _chunk(
        self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Read a chunk; each chunk is an entry in `messages`."""
        _, size, *last = line.split(" ")
        if fault := self._scripted("BODY"):
            await reader.readexactly(1000)
            await self._say(writer, fault)
            await reader.readexactly(int(size) - 1000)
            return
        self.messages.append(await reader.readexactly(int(size)))
        reply = self._scripted("BDAT")
        if last:
            reply = reply or self._scripted(".")
        await self._say(writer, reply or "250 2.0.0 taken")

    async def _say(self, writer: asyncio.StreamWriter, reply: str, behind: bytes = b"") -> None:
        if reply == ALERT:
            os.write(writer.get_extra_info("socket").fileno(), _RECORD)
        if reply in {STALL, ALERT}:
            await asyncio.Event().wait()
        while reply in {ENDLESS, ENDLESS_LINE}:
            writer.write(b"250-more\r\n" * 100 if reply == ENDLESS else b"250 more" * 100)
            await writer.drain()
        text = reply.removesuffix(CLOSE)
        if text:
            writer.write(text.removesuffix("\r\n").encode() + b"\r\n" + behind)
            await writer.drain()
        if text != reply:
            raise HangUp


async def _until_dot(reader: asyncio.StreamReader) -> bytes:
    """Read a message by DATA, unchanged, with its final dot."""
    lines = [b"\r\n"]
    while lines[-1] != b".\r\n" or not lines[-2].endswith(b"\r\n"):
        line = await reader.readline()
        if not line:
            raise HangUp
        lines.append(line)
    return b"".join(lines[1:])


def _multi(offers: list[str]) -> list[str]:
    return [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]


@asynccontextmanager
async def running(peer: ScriptedPeer) -> AsyncIterator[ScriptedPeer]:
    """Listen on loopback during the block; open connections end with it."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.append(writer)
        try:
            await peer.serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            abort(writer.transport)  # a close_notify of TLS may still be in transit
        for _ in range(3):
            await asyncio.sleep(0)
