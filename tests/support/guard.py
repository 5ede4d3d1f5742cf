"""What no test may do, and what no unit test may do: seen by an audit hook of the interpreter.

- No test connects, binds or sends beyond loopback, but for those of the check of `listen`, which
  bind and do not listen (marker `binds_elsewhere`). UNIX sockets are free.
- No unit test starts a process: one that does belongs to another tier (tests/support/tiers.py).

The call itself is refused. The test fails at its end too, since code under test may take the
refusal for an ordinary fault of the network. Processes of their own are not seen.
"""

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SOCKET = frozenset({"socket.connect", "socket.bind", "socket.sendto"})
_PROCESS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})


class Forbidden(BaseException):
    """A test reached for more than it may; no handler of the code under test catches it."""


class _Guard:
    """State of the one hook, which nothing can take out again."""

    def __init__(self) -> None:
        self.on = False
        self.processes = True
        self.binds = False
        self.seen: list[str] = []

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if not self.on:
            return
        if event in _SOCKET:
            if not _stays_here(args[1]) and not (self.binds and event == "socket.bind"):
                self._refuse(f"{event} to {args[1]!r}: tests stay on loopback")
        elif event in _PROCESS and not self.processes:
            self._refuse(f"{event}: a unit test starts no process (tests/support/tiers.py)")

    def _refuse(self, why: str) -> None:
        self.seen.append(why)
        raise Forbidden(why)


def _stays_here(address: object) -> bool:
    """Whether an address of any family is on loopback, or not of the network at all."""
    if not isinstance(address, tuple) or not isinstance(address[0], str):
        return True
    if address[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False


_GUARD = _Guard()
sys.addaudithook(_GUARD)


@contextmanager
def guarded(*, processes: bool, binds: bool = False) -> Iterator[list[str]]:
    """Refuse until the end, but for processes and for binds beyond loopback if these may be.

    Gives the list of what was refused since, a line each.
    """
    before = (_GUARD.on, _GUARD.processes, _GUARD.binds, _GUARD.seen)
    _GUARD.on, _GUARD.processes, _GUARD.binds, _GUARD.seen = True, processes, binds, []
    try:
        yield _GUARD.seen
    finally:
        _GUARD.on, _GUARD.processes, _GUARD.binds, _GUARD.seen = before


def refused() -> list[str]:
    """What was refused since the guard began, a line each."""
    return _GUARD.seen
