"""The limits of the listener and its sessions, and the timeout for a peer that sends slowly.

Pure: `Pace` is told the seconds waited and never reads a clock.  Every limit is set in the
configuration (`[inbound]`), and holds for one worker process.
"""

from dataclasses import dataclass
from typing import Final

from relay.smtp.errors import Disconnected
from relay.smtp.reply import Reply

LINGER_SECONDS: Final = 5.0  # time for a peer to read the last reply before we abort


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Counts, and times in seconds; `min_rate` in octets per second, 0 for no minimum."""

    max_connections: int = 500
    max_connections_per_address: int = 100
    max_connections_per_peer: int = 100
    max_messages: int = 1000
    max_recipients: int = 1000
    max_errors: int = 20
    max_commands: int = 5000
    stranger_seconds: float = 60
    greeting_seconds: float = 60
    handshake_seconds: float = 30
    idle_seconds: float = 300
    data_idle_seconds: float = 180
    min_rate: int = 5000
    rate_grace_seconds: float = 60


_TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors since the last message accepted")
_TOO_MANY_COMMANDS: Final = Reply(421, "4.7.0", "Too many commands since the last message accepted")


class SessionCounts:
    """The counts of a session; `errors` and `commands` since its last accepted message."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self.messages = self.errors = self.commands = 0

    def accepted(self) -> None:
        """Count an accepted message."""
        self.messages, self.errors, self.commands = self.messages + 1, 0, 0

    def check(self) -> None:
        """Return if the session may go on.  Raises Disconnected."""
        if self.errors >= self._limits.max_errors:
            raise Disconnected(_TOO_MANY_ERRORS)
        if self.commands > self._limits.max_commands:
            raise Disconnected(_TOO_MANY_COMMANDS)

    @property
    def left(self) -> int:
        """The number of commands left before the session ends."""
        return self._limits.max_commands - self.commands


class Pace:
    """The time that a peer has left in the middle of a message.

    Only waiting for the peer counts, not the time of our own disk.
    """

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._waited = 0.0
        self._octets = 0

    @property
    def timeout(self) -> float:
        """Timeout in seconds for the next octets; zero or less once the peer is too slow."""
        limits = self._limits
        if not limits.min_rate:
            return limits.data_idle_seconds
        due = limits.rate_grace_seconds + self._octets / limits.min_rate
        return min(limits.data_idle_seconds, due - self._waited)

    def waited(self, seconds: float) -> None:
        """Count seconds of waiting for the peer."""
        self._waited += seconds

    def received(self, octets: int) -> None:
        """Count octets received."""
        self._octets += octets
