"""Peer that speaks line by line with an operator's inbound side in the test's process."""

import asyncio
from dataclasses import dataclass

from tests.support.machines.operators import ACTIVE, HOST, Inbound


@dataclass
class Caller:
    """Connection to operator A."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *commands: str) -> str:
        """Send commands in one write; returns the last line of the last reply."""
        self.writer.write("".join(f"{command}\r\n" for command in commands).encode())
        last = ""
        for _ in commands:
            last = await self.hear()
        return last

    async def hear(self) -> str:
        """Last line of the next reply; empty at EOF."""
        while True:
            line = (await self.reader.readline()).decode("ascii")
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    async def begin(self, *to: str, sender: str = "<dr@b.mssante.fr>") -> None:
        """Send an envelope, which must be accepted."""
        assert (await self.say(f"MAIL FROM:{sender}")).startswith("250 2.1.0 ")
        for recipient in to or (f"<{ACTIVE}>",):
            assert (await self.say(f"RCPT TO:{recipient}")).startswith("250 2.1.5 ")

    async def send(self, *to: str, sender: str = "<dr@b.mssante.fr>", body: bytes = b"") -> str:
        """Send a message by DATA; returns the reply."""
        await self.begin(*to, sender=sender)
        assert (await self.say("DATA")).startswith("354 ")
        self.writer.write((body or b"From: <dr@b.mssante.fr>\r\n\r\nhello\r\n") + b".\r\n")
        return await self.hear()

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


async def dial(server: Inbound) -> Caller:
    """Connect only."""
    return Caller(*await asyncio.open_connection(HOST, server.port))


async def call(server: Inbound, peer: str | None = "b") -> Caller:
    """Connect as an operator, over TLS, after EHLO."""
    caller = await dial(server)
    assert (await caller.hear()).startswith("220 ")
    assert (await caller.say("STARTTLS")).startswith("220 ")
    await caller.writer.start_tls(server.client_tls(peer))
    assert (await caller.say("EHLO smtp.b.mssante.fr")).startswith("250 ")
    return caller
