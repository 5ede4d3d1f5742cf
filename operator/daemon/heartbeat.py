"""Heartbeat: the supervisor asks each process regularly, and kills a process that is silent.

The process answers from its event loop (control_channel.py).  So a loop that is blocked,
deadlocked or stopped is found, although the process lives.  The supervisor logs the stack, counts
the case (`mssante_processes_silent_total`) and kills.  The replacement is done by the code that
waits for the exit of the process: child.py, fork_client.py (docs/decisions/0067).
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
from .silence import Silence, SilenceVerdict
from .stack_dump import StackDump
from .subreaper import ChildProcess

_log = structlog.get_logger(__name__)

_STOPPED: Final = "stopped"  # state in /proc/PID/status
_REPLACED: Final = "no answer from its event loop; killed and replaced"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """State of a process: Linux's word for it, and the pid of a debugger, 0 without one."""

    word: str = "unknown"
    tracer: int = 0


@dataclass(slots=True, eq=False)
class Heartbeat:
    """Heartbeat of a process.  `killed`: called with the role when the process is killed."""

    role: str
    process: ChildProcess
    silence: Silence
    ask: Callable[[], None]
    killed: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic

    async def run(self) -> None:
        """Ask regularly until cancelled; return once the process is killed."""
        while True:
            verdict = self.silence.tick(self.monotonic())
            if verdict is SilenceVerdict.ASK:
                self.ask()
            elif verdict is SilenceVerdict.SILENT and await self._end():
                return
            await asyncio.sleep(self.silence.interval)

    async def _end(self) -> bool:
        """Log and kill the process; False if a debugger traces it, which is intended."""
        state, stacks = state_of(self.process.pid), StackDump()
        facts: dict[str, object] = {
            "role": self.role,
            "pid": self.process.pid,
            "seconds": round(self.silence.seconds, 1),
            "state": state.word,
        }
        if state.tracer:
            self.silence.start_over()
            detail = f"traced by process {state.tracer} (a debugger?); not killed"
            _log.warning("process.traced", **facts, detail=detail)
            return False
        if state.word != _STOPPED:
            with best_effort:
                stacks = await stack_dump.take_stacks(self.process)
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
        return "no stack: stopped by a signal (SIGSTOP)"
    return "no stack: no reaction to the signal within 2 s, perhaps blocked by a disk"


def state_of(pid: int) -> ProcessState:
    """The state of a process (proc_pid_status(5))."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ProcessState()
    word = re.search(r"^State:\s+\S \((.+)\)$", text, re.MULTILINE)
    tracer = re.search(r"^TracerPid:\s+(\d+)$", text, re.MULTILINE)
    return ProcessState(word[1] if word else "unknown", int(tracer[1]) if tracer else 0)
