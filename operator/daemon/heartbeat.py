"""Heartbeat of one process: the supervisor asks, and kills the process that does not answer.

The process answers from its event loop (lifeline.py), so that a loop that is blocked, deadlocked
or stopped is found, though the process lives.  The supervisor logs the stack, counts the silence
(`mssante_processes_silent_total`) and kills; replacing is the business of whoever waits for the
end of the process (docs/decisions/0067).
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from foundation.best_effort import best_effort

from . import stack_dump
from .silence import Silence, Verdict
from .stack_dump import Stacks
from .subreaper import Process

_log = structlog.get_logger(__name__)

_STOPPED: Final = "stopped"  # Linux's word for it
_REPLACED: Final = "it did not answer from its event loop; it is killed and replaced"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What Linux says of a process: a word for its state; the pid of a debugger, 0 for none."""

    word: str = "unknown"
    tracer: int = 0


@dataclass(slots=True, eq=False)
class Heartbeat:
    """Of a process with this role; `killed` is told the role when it is killed for its silence."""

    role: str
    process: Process
    silence: Silence
    ask: Callable[[], None]
    killed: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic

    async def run(self) -> None:
        """Ask again and again until cancelled; return once the process is killed."""
        while True:
            verdict = self.silence.tick(self.monotonic())
            if verdict is Verdict.ASK:
                self.ask()
            elif verdict is Verdict.SILENT and await self._end():
                return
            await asyncio.sleep(self.silence.interval)

    async def _end(self) -> bool:
        """Log and kill it; False where a debugger holds it, which is somebody's intention."""
        state, stacks = state_of(self.process.pid), Stacks()
        facts: dict[str, object] = {
            "role": self.role,
            "pid": self.process.pid,
            "seconds": round(self.silence.seconds, 1),
            "state": state.word,
        }
        if state.tracer:
            self.silence.start_over()
            detail = f"process {state.tracer} traces it, such as a debugger; it is not killed"
            _log.warning("process.traced", **facts, detail=detail)
            return False
        if state.word != _STOPPED:
            with best_effort:
                stacks = await stack_dump.take(self.process)
        _log.error(
            "process.silent",
            **facts,
            stack=stacks.loop,
            threads=stacks.threads,
            detail=_REPLACED if stacks.loop else f"{_REPLACED}; {_without_stack(state)}",
        )
        self.killed(self.role)
        self.process.kill()
        return True


def _without_stack(state: ProcessState) -> str:
    if state.word == _STOPPED:
        return "no stack: a signal has stopped it (SIGSTOP), so that it runs no code"
    return "no stack: it did not take the signal within 2 s; it may wait for a disk"


def state_of(pid: int) -> ProcessState:
    """The state of a process (proc_pid_status(5))."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ProcessState()
    word = re.search(r"^State:\s+\S \((.+)\)$", text, re.MULTILINE)
    tracer = re.search(r"^TracerPid:\s+(\d+)$", text, re.MULTILINE)
    return ProcessState(word[1] if word else "unknown", int(tracer[1]) if tracer else 0)
