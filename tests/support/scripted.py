"""A peer operator that misbehaves on demand: an SMTP server whose every reply can be set."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

OFFERS = ("SIZE 50000000", "8BITMIME", "SMTPUTF8", "PIPELINING")
CLOSE = "close"  # hang up instead of replying
STALL = "stall"  # never reply


@dataclass
class ScriptedPeer:
    """`replies` by command word (`.` is the end of the message), tried before the good ones."""

    tls: ssl.SSLContext | None
    replies: dict[str, str] = field(default_factory=dict)
    offers: tuple[str, ...] = OFFERS
    heard: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    certificates: list[bytes | None] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one conversation."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await self._say(writer, self.replies.get("connect", "220 peer ESMTP"))
            while line := await reader.readline():
                if not await self._answer(line.decode().rstrip("\r\n"), reader, writer):
                    break
        writer.close()

    async def _answer(
        self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        self.heard.append(line)
        word = line.split(" ", maxsplit=1)[0].upper()
        reply = self.replies.get(word)
        if reply == CLOSE:
            return False
        if reply == STALL:
            await asyncio.Event().wait()
        if word == "EHLO":
            offers = list(self.offers)
            if self.tls is not None and not writer.get_extra_info("ssl_object"):
                offers.append("STARTTLS")
            await self._say(writer, reply or "\r\n".join(["250-peer", *_multi(offers)]))
        elif word == "STARTTLS" and self.tls is not None:
            await self._say(writer, reply or "220 go")
            if not reply:
                await writer.start_tls(self.tls)
                secured = writer.get_extra_info("ssl_object")
                self.certificates.append(secured.getpeercert(binary_form=True))
        elif word == "DATA" and not reply:
            await self._say(writer, "354 go")
            self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
            end = self.replies.get(".", "250 2.0.0 taken")
            if end == CLOSE:
                return False
            if end == STALL:
                await asyncio.Event().wait()
            await self._say(writer, end)
        else:
            await self._say(writer, reply or ("221 bye" if word == "QUIT" else "250 2.0.0 ok"))
        return word != "QUIT"

    async def _say(self, writer: asyncio.StreamWriter, reply: str) -> None:
        writer.write(reply.encode() + b"\r\n")
        await writer.drain()


def _multi(offers: list[str]) -> list[str]:
    return [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]


@asynccontextmanager
async def running(peer: ScriptedPeer) -> AsyncIterator[ScriptedPeer]:
    """Listen on loopback while the test runs; its conversations end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await peer.serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
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
