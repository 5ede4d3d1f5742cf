r"""Dialogue files: SMTP sessions as text, played against a real server.

# a comment
peer: b                  operator whose certificate is shown (none: no certificate)
C: EHLO smtp.b.mssante.fr        sent with CRLF; consecutive lines are sent in one write
S: 250-smtp.a.mssante.fr         expected line; * matches any text
S: 250 ...                       expected reply with any number of lines
T: starttls              TLS handshake
X: raw\r\n               sent unchanged, with Python's escapes
Z: 1000000               so many octets of text lines
F: the handshake fails
E: the server closes the connection
"""

import asyncio
import fnmatch
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60.0  # timeout in seconds of a step: a real server may have to start a process


@dataclass(frozen=True)
class Step:
    """Consecutive lines of the same kind."""

    kind: str
    lines: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Dialogue:
    """Parsed file."""

    settings: dict[str, str]
    steps: tuple[Step, ...]


def parse(path: Path) -> Dialogue:
    """Read a dialogue file."""
    settings: dict[str, str] = {}
    steps: list[Step] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, colon, text = line.partition(":")
        assert colon, f"{path.name}:{number}: no colon"
        text = text.removeprefix(" ")
        if kind not in {"C", "S", "T", "X", "Z", "F", "E"}:
            settings[kind] = text.strip()
        elif steps and steps[-1].kind == kind == "C":
            steps[-1] = Step(kind, (*steps[-1].lines, text), steps[-1].where)
        else:
            steps.append(Step(kind, (text,), f"{path.name}:{number}"))
    return Dialogue(settings, tuple(steps))


async def play(dialogue: Dialogue, host: str, port: int, tls: Callable[[], ssl.SSLContext]) -> None:
    """Play the dialogue.  AssertionError with file and line of the first difference."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for step in dialogue.steps:
            async with asyncio.timeout(PATIENCE):
                await _step(step, reader, writer, tls)
    finally:
        writer.close()


async def _step(
    step: Step,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    tls: Callable[[], ssl.SSLContext],
) -> None:
    match step.kind:
        case "C":
            writer.write("".join(f"{line}\r\n" for line in step.lines).encode())
            await writer.drain()
        case "X":
            writer.write(step.lines[0].encode("latin-1").decode("unicode_escape").encode("latin-1"))
            await writer.drain()
        case "Z":
            for piece in _text(int(step.lines[0])):
                writer.write(piece)
                await writer.drain()
        case "S":
            await _expect(step, reader)
        case "T":
            await writer.start_tls(tls())
        case "F":
            try:
                await writer.start_tls(tls())
                rest = await reader.read()  # in TLS 1.3 the client learns of it only afterwards
            except (ssl.SSLError, ConnectionError):
                return
            assert rest == b"", f"{step.where}: the handshake succeeded, then came {rest!r}"
        case "E":
            rest = await reader.read()
            assert rest == b"", f"{step.where}: expected the end, the server said {rest!r}"


async def _expect(step: Step, reader: asyncio.StreamReader) -> None:
    said, expected = await _line(reader), step.lines[0]
    if expected.endswith("..."):
        while said.startswith(f"{expected[:3]}-"):
            said = await _line(reader)
        expected = f"{expected[:3]} *"
    assert fnmatch.fnmatchcase(said, expected), (
        f"{step.where}: expected {expected!r}, the server said {said!r}"
    )


async def _line(reader: asyncio.StreamReader) -> str:
    line = await reader.readline()
    assert line.endswith(b"\r\n"), f"the server said {line!r} and closed the connection"
    return line[:-2].decode("ascii")


def _text(octets: int) -> Iterator[bytes]:
    line = b"0123456789" * 7 + b"\r\n"
    block = line * 1000
    for _ in range(octets // len(block)):
        yield block
    yield line * (octets % len(block) // len(line))
