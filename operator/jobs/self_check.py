"""Readiness speaks SMTP to itself: each address that we listen on must greet.

A daemon whose processes all run may still take no mail: a worker hangs, or closes connections.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from relay.connection.own_port import OwnPort

from ..settings.endpoints import split_endpoint

CACHE_SECONDS: Final = 5.0  # for which an answer serves: asking is free for whoever asks often
PATIENCE: Final = 5.0  # seconds for all addresses together
_LONGEST: Final = 1024  # octets of a first line
_WAITS: Final = "greets with '421"
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on


class SelfCheck:
    """Asks our own addresses, no more often than every few seconds; from any thread."""

    def __init__(
        self,
        endpoints: Sequence[str],
        port: OwnPort,
        *,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # Which port the system chose for 0 is not known here.
        self._endpoints = [one for one in endpoints if split_endpoint(one)[1]]
        self._port = port
        self._patience = patience
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._found: list[str] | None = None
        self._good_until = 0.0

    def problems(self) -> list[str]:
        """Why one of our addresses takes no mail, by address; empty if each greets.

        While another thread asks, the last answer is given.
        """
        if self._found is not None and self._lock.locked():
            return self._found
        with self._lock:
            if self._found is None or self._monotonic() >= self._good_until:
                each = self._patience / max(len(self._endpoints), 1)
                told = ((one, self._ask(one, each)) for one in self._endpoints)
                self._found = [f"inbound {one}: {why}; {_fix(why)}" for one, why in told if why]
                self._good_until = self._monotonic() + CACHE_SECONDS
            return self._found

    def _ask(self, endpoint: str, patience: float) -> str:
        """Why an address does not greet, empty if it does."""
        host, port = split_endpoint(endpoint)
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                _ANY.get(host, host), port, type=socket.SOCK_STREAM
            )[0]
            with socket.socket(family, kind) as asking:
                asking.bind((address[0], 0))
                self._port.announce(asking.getsockname()[1])
                end = self._monotonic() + patience
                asking.settimeout(patience)
                asking.connect(address)
                return self._hear(asking, end)
        except TimeoutError:
            return f"no SMTP banner within {patience:g} s"
        except OSError as error:
            return f"no SMTP banner ({error.strerror or error})"
        finally:
            self._port.announce(0)

    def _hear(self, asking: socket.socket, end: float) -> str:
        line = b""
        while b"\n" not in line and len(line) < _LONGEST:
            left = end - self._monotonic()
            if left <= 0:
                raise TimeoutError
            asking.settimeout(left)
            octets = asking.recv(_LONGEST)
            if not octets:
                return "it closes without an SMTP banner"
            line += octets
        if not line.startswith(b"220"):
            said = line.split(b"\n")[0].strip().decode("ascii", "backslashreplace")
            return f"it greets with {said!r}"
        with suppress(OSError):  # it has greeted, and that was the question
            asking.sendall(b"QUIT\r\n")
            asking.recv(_LONGEST)
        return ""


def _fix(why: str) -> str:
    """What to do about it; whoever says 421 waits for something and goes on by itself."""
    return "see the log" if _WAITS in why else "see the log, then restart the daemon"
