"""State of processes, from /proc."""

from contextlib import suppress
from pathlib import Path


def state_of(pid: int) -> str:
    """Letter of a process's state in /proc; empty if the process does not exist."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def alive(pid: int) -> bool:
    """Whether a process runs; False for a zombie."""
    return state_of(pid) not in {"", "Z"}


def children(pid: int) -> set[int]:
    """Pids of a process's children."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return set()
