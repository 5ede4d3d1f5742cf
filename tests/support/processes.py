"""Processes as /proc shows them."""

from contextlib import suppress
from pathlib import Path


def state_of(pid: int) -> str:
    """The letter for a process's state in /proc, empty if there is none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def alive(pid: int) -> bool:
    """Whether it has not ended, collected or not."""
    return state_of(pid) not in {"", "Z"}


def children(pid: int) -> set[int]:
    """Those that it started."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return set()
