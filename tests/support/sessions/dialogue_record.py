r"""Record of a server's replies to the client's side of a dialogue.

`dialogue.play` expects each reply; this module records any reply: code and enhanced code for each
command.  If a server refuses the message (no `354`), the message is not sent; if a server takes it
unexpectedly, an empty message is sent.  After the server closes, nothing more is recorded.
"""

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.support.sessions.dialogue import PATIENCE, Dialogue, Step
from tests.support.sessions.dialogue import _step as take

_CODES = re.compile(r"(\d{3})(?:[ -](\d\.\d{1,3}\.\d{1,3})(?= |$))?")
_END = "end of message"
_SENDS = {"C", "X", "Z"}
_SHORT = 48
_NOOP, _DOT = (Step("C", (line,), "") for line in ("NOOP", "."))


@dataclass(frozen=True)
class Turn:
    """Steps sent without waiting, and the commands whose replies follow, in order.

    `message`: steps that are sent first, only after a `354`.  `opens`: the last reply should be a
    `354`.  `offers`: the dialogue lists the lines of the reply, so the lines are recorded too.
    """

    message: tuple[Step, ...]
    sent: tuple[Step, ...]
    answered: tuple[str, ...]
    opens: bool
    offers: bool


def turns(dialogue: Dialogue) -> Iterator[Turn | Step]:
    """Turns of a dialogue; steps of TLS and of the end stay between them."""
    sent: list[Step] = []
    replies: list[str] = []
    inside = False  # a message
    for step in (*dialogue.steps, Step("", ("",), "")):
        if step.kind == "S":
            replies.append(step.lines[0])
            continue
        if replies or (sent and step.kind not in _SENDS):
            turn = _turn(sent, replies, inside=inside)
            yield turn
            sent, replies, inside = [], [], turn.opens
        if step.kind in _SENDS:
            sent.append(step)
        elif step.kind:
            yield step


def _turn(sent: Sequence[Step], replies: Sequence[str], *, inside: bool) -> Turn:
    message, rest = _divided(sent) if inside else ((), tuple(sent))
    awaited = [line for line in replies if line[3:4] != "-"]
    labels = [_END] if message else []
    labels += [label for step in rest for label in _labels(step)]
    if not sent:
        labels = ["connection"]
    if len(labels) != len(awaited):
        whole = _shown(" ".join(line for step in sent for line in step.lines))
        labels = [f"{whole} [{n}]" for n in range(1, len(awaited) + 1)]
    opens = bool(awaited) and awaited[-1].startswith("354")
    return Turn(message, rest, tuple(labels), opens, len(replies) > len(awaited))


def _divided(sent: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Steps of the message, up to the line with a dot or the end of raw octets; then the others."""
    for position, step in enumerate(sent):
        if step.kind == "X":
            return tuple(sent[: position + 1]), tuple(sent[position + 1 :])
        if step.kind == "C" and "." in step.lines:
            cut = step.lines.index(".") + 1
            within = Step("C", step.lines[:cut], step.where)
            after = (Step("C", step.lines[cut:], step.where),) if step.lines[cut:] else ()
            return (*sent[:position], within), (*after, *sent[position + 1 :])
    return tuple(sent), ()


def _labels(step: Step) -> list[str]:
    return [] if step.kind == "Z" else [_shown(line) for line in step.lines]


def _shown(line: str) -> str:
    line = line if len(line) <= _SHORT else f"{line[:_SHORT]}…"
    return line.strip() or "(empty line)"


@dataclass
class _Talk:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tls: Callable[[], ssl.SSLContext]
    notes: list[tuple[str, str]] = field(default_factory=list)
    ready: bool = False  # for a message
    closed: bool = False

    def note(self, label: str, answer: str) -> None:
        self.notes.append((label, answer))

    async def reply(self) -> list[str]:
        """Lines of a reply; empty once the connection is closed."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = b""
            with suppress(ConnectionError, ssl.SSLError):
                line = await self.reader.readline()
            if not line:
                self.closed = True
                return []
            lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
        return lines

    async def send(self, *steps: Step) -> None:
        """Send steps to a server that may have closed."""
        with suppress(ConnectionError, ssl.SSLError):
            for step in steps:
                await take(step, self.reader, self.writer, self.tls)

    async def probe(self) -> bool:
        """Whether the connection is still open."""
        await self.send(_NOOP)
        return bool(await self.reply())

    async def stand(self, step: Step) -> None:
        """Play a step that is not a command: handshake, failing handshake, or end."""
        if step.kind == "E":
            self.note("end", "open" if await self.probe() else "closed")
            return
        try:
            await self.writer.start_tls(self.tls())
        except (ConnectionError, ssl.SSLError):
            self.closed = True
        # In TLS 1.3 the client learns of it only afterwards.
        failed = self.closed or (step.kind == "F" and not await self.probe())
        self.note("TLS handshake", "failed" if failed else "done")

    async def turn(self, turn: Turn) -> None:
        """Send a turn, and record its replies."""
        labels = turn.answered
        if turn.message and self.ready:
            await self.send(*turn.message)
        elif turn.message:
            self.note(labels[0], "not sent")
            labels = labels[1:]
        await self.send(*turn.sent)
        answer = ""
        for label in labels:
            lines = await self.reply()
            answer = _codes(lines)
            self.note(label, answer)
            if self.closed:
                return
            if turn.offers and label.startswith("EHLO"):
                self.note(f"{label}, offers", ", ".join(sorted(line[4:] for line in lines[1:])))
        self.ready = answer == "354" and turn.opens
        if answer == "354" and not turn.opens:
            await self.send(_DOT)
            self.note(f"{labels[-1]}, empty message", _codes(await self.reply()))


def _codes(lines: Sequence[str]) -> str:
    if not lines:
        return "closed"
    codes = _CODES.match(lines[-1])
    return " ".join(filter(None, codes.groups())) if codes else "no reply code"


async def record(
    dialogue: Dialogue, host: str, port: int, tls: Callable[[], ssl.SSLContext]
) -> dict[str, str]:
    """Play the client's side; returns command to reply, in order.

    A command that occurs more than once has a number behind it.
    """
    reader, writer = await asyncio.open_connection(host, port)
    talk = _Talk(reader, writer, tls)
    try:
        for turn in turns(dialogue):
            async with asyncio.timeout(PATIENCE):
                await (talk.turn(turn) if isinstance(turn, Turn) else talk.stand(turn))
            if talk.closed:
                break
    finally:
        writer.close()
    often: Counter[str] = Counter()
    answers: dict[str, str] = {}
    for label, answer in talk.notes:
        often[label] += 1
        answers[label if often[label] == 1 else f"{label} ({often[label]})"] = answer
    return answers


def differences(ours: dict[str, str], theirs: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Differences of two records by command; commands that only `ours` has do not count."""
    alone = {step: ("not asked", theirs[step]) for step in theirs if step not in ours}
    both = {step: (ours[step], theirs[step]) for step in ours if step in theirs}
    return {step: pair for step, pair in (both | alone).items() if pair[0] != pair[1]}
