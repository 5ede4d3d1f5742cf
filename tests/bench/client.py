"""The load generator of `make bench` where no faster one is at hand: many connections, one process.

It takes the options and prints the one JSON object that any generator named by SMTPLOAD must:
`ok`, `failed`, `msgs_s`, `handshakes`, `p50_ms`, `p99_ms` and `unexpected`, the reply codes that
were not due, each with its count.  STARTTLS with a client certificate, then MAIL, RCPT and DATA in
one go (RFC 2920 PIPELINING).  No two messages are alike, so that none is stored as another's copy.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import uvloop

_LINE = b"0123456789" * 7 + b"abcdef\r\n"
_CHUNK = _LINE * 840  # some 64 kB: a large message is never in memory as a whole
_TRIES = 20  # connections in a row that may fail before one gives up


class UnexpectedReply(Exception):
    """The server answered with another code than was due; 0 if it ended the connection."""

    def __init__(self, code: int) -> None:
        super().__init__(f"an unexpected {code}")
        self.code = code


@dataclass(slots=True)
class Tally:
    """What came of it; latencies in seconds, from MAIL to the final reply."""

    failed: int = 0
    handshakes: int = 0
    latencies: list[float] = field(default_factory=list)
    unexpected: Counter[int] = field(default_factory=Counter)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def hear(self, code: int) -> None:
        """Read one reply, which must have this code."""
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        heard = int(line[:3]) if line[:3].isdigit() else 0
        if heard != code:
            raise UnexpectedReply(heard)

    async def say(self, line: bytes, code: int) -> None:
        self.writer.write(line)
        await self.hear(code)


async def _open(given: argparse.Namespace, context: ssl.SSLContext) -> _Connection:
    one = _Connection(*await asyncio.open_connection("127.0.0.1", given.port))
    hello = f"EHLO {given.helo}\r\n".encode()
    await one.hear(220)
    await one.say(hello, 250)
    await one.say(b"STARTTLS\r\n", 220)
    await one.writer.start_tls(context)
    await one.say(hello, 250)
    return one


async def _send(one: _Connection, given: argparse.Namespace, number: int) -> None:
    first = number * given.rcpts
    lines = given.size // len(_LINE) + 1
    commands = [f"MAIL FROM:<{given.sender}> SIZE={lines * len(_LINE) + 200}"]
    commands += [
        f"RCPT TO:<{given.to.replace('%d', str((first + n) % given.mailboxes))}>"
        for n in range(given.rcpts)
    ]
    one.writer.write("".join(f"{line}\r\n" for line in [*commands, "DATA"]).encode())
    for _ in commands:
        await one.hear(250)
    await one.hear(354)
    head = f"From: <{given.sender}>\r\nMessage-ID: <{number}.{time.time_ns()}@{given.helo}>\r\n\r\n"
    one.writer.write(head.encode())
    whole, rest = divmod(lines, len(_CHUNK) // len(_LINE))
    for _ in range(whole):
        one.writer.write(_CHUNK)
        await one.writer.drain()
    one.writer.write(_LINE * rest)
    await one.say(b".\r\n", 250)


async def _keep_sending(
    given: argparse.Namespace, context: ssl.SSLContext, numbers: Iterator[int], tally: Tally
) -> None:
    one: _Connection | None = None
    sent = tries = 0
    for number in numbers:
        try:
            if one is None:
                one, sent = await _open(given, context), 0
                tally.handshakes += 1
            began = time.perf_counter()
            await _send(one, given, number)
            tally.latencies.append(time.perf_counter() - began)
            sent, tries = sent + 1, 0
        except (UnexpectedReply, OSError) as error:
            tally.failed += 1
            tally.unexpected[getattr(error, "code", 0)] += 1
            sent, tries = given.per_conn, tries + 1
        if one is not None and sent >= given.per_conn:
            one.writer.write(b"QUIT\r\n")
            one.writer.close()
            one = None
        if tries > _TRIES:
            break
    if one is not None:
        one.writer.write(b"QUIT\r\n")
        one.writer.close()


async def _load(given: argparse.Namespace, context: ssl.SSLContext) -> Tally:
    tally, numbers = Tally(), iter(range(given.total))
    await asyncio.gather(
        *(_keep_sending(given, context, numbers, tally) for _ in range(given.conns))
    )
    return tally


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    options: dict[str, tuple[Callable[[str], str | int], str | int]] = {
        "--port": (int, 2525), "--cert": (str, ""), "--key": (str, ""),
        "--to": (str, "bench%d@a.mssante.fr"), "--helo": (str, "bench.mssante.fr"),
        "--conns": (int, 20), "--per-conn": (int, 100), "--rcpts": (int, 1),
        "--total": (int, 1000), "--size": (int, 10_000), "--mailboxes": (int, 1),
    }  # fmt: skip
    for name, (kind, default) in options.items():
        parser.add_argument(name, type=kind, default=default)
    parser.add_argument("--from", dest="sender", default="dr@b.mssante.fr")
    return parser


def main() -> None:
    """Send as the command line says; exit code 1 if nothing went through."""
    given = _options().parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(given.cert, given.key)
    began = time.perf_counter()
    tally = uvloop.run(_load(given, context))
    seconds = time.perf_counter() - began
    times = sorted(tally.latencies) or [0.0]
    found = {
        "ok": len(tally.latencies),
        "failed": tally.failed,
        "msgs_s": round(len(tally.latencies) / seconds, 2),
        "handshakes": tally.handshakes,
        "p50_ms": round(statistics.median(times) * 1000, 1),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 1),
        "unexpected": {str(code): count for code, count in tally.unexpected.items()},
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.exit(not tally.latencies)


if __name__ == "__main__":
    main()
