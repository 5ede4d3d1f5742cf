"""Self-check of readiness: each inbound address must send an SMTP banner to a connection of ours.

All processes may run and yet take no mail: a worker may hang, or close its connections.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from relay.connection.own_port import OwnPort

from ..settings.endpoints import split_endpoint

CACHE_SECONDS: Final = 5.0  # life of a cached answer: frequent requests to /readyz cost nothing
GREETING_SECONDS: Final = 5.0  # timeout in seconds, for all addresses together
_LONGEST: Final = 1024  # octets of a banner
_WAITS: Final = "greets with '421"
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


class SelfCheck:
    """Connects to our own addresses, at most every CACHE_SECONDS.  Thread-safe."""

    def __init__(
        self,
        endpoints: Sequence[str],
        port: OwnPort,
        *,
        patience: float = GREETING_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # Port 0 is left out: the port that the system chose is not known here.
        self._endpoints = [one for one in endpoints if split_endpoint(one)[1]]
        self._port = port
        self._patience = patience
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._found: list[str] | None = None
        self._good_until = 0.0

    def problems(self) -> list[str]:
        """A line for each address that takes no mail; empty if every address sends a banner.

        While another thread checks, the last answer is returned.
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
        """Reason why an address sends no banner; empty if it does.  `patience` in seconds."""
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
                return "closed without an SMTP banner"
            line += octets
        if not line.startswith(b"220"):
            said = line.split(b"\n")[0].strip().decode("ascii", "backslashreplace")
            return f"wrong SMTP banner {said!r}"
        with suppress(OSError):  # the banner has come, so the check has passed
            asking.sendall(b"QUIT\r\n")
            asking.recv(_LONGEST)
        return ""


def _fix(why: str) -> str:
    """Advice for a reason.  After a 421 no restart: the worker waits and recovers by itself."""
    return "see the log" if _WAITS in why else "see the log, then restart the daemon"
