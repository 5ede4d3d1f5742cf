"""Limits of tests, enforced by an audit hook of the interpreter.

- No test connects, binds or sends beyond loopback. UNIX sockets are free. Tests of the check of
  `listen` may bind elsewhere, without listening (marker `binds_elsewhere`).
- No unit test starts a process: such a test belongs to another tier (tests/support/rules/tiers.py).

The call is refused. The test also fails at its end, since code under test may treat the refusal
like an ordinary network error. Child processes are not observed.
"""

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SOCKET = frozenset({"socket.connect", "socket.bind", "socket.sendto"})
_PROCESS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})


class Forbidden(BaseException):
    """A test broke a limit; no handler of the code under test catches this error."""


class _Guard:
    """State of the hook, which cannot be removed."""

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
            self._refuse(f"{event}: a unit test starts no process (tests/support/rules/tiers.py)")

    def _refuse(self, why: str) -> None:
        self.seen.append(why)
        raise Forbidden(why)


def _stays_here(address: object) -> bool:
    """Whether an address of any family is on loopback, or is no network address at all."""
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
    """Refuse forbidden calls during the block.

    processes: processes may be started; binds: sockets may be bound beyond loopback.

    Yields the list of refusals, one line each.
    """
    before = (_GUARD.on, _GUARD.processes, _GUARD.binds, _GUARD.seen)
    _GUARD.on, _GUARD.processes, _GUARD.binds, _GUARD.seen = True, processes, binds, []
    try:
        yield _GUARD.seen
    finally:
        _GUARD.on, _GUARD.processes, _GUARD.binds, _GUARD.seen = before


def refused() -> list[str]:
    """Refusals since the guard began, one line each."""
    return _GUARD.seen
