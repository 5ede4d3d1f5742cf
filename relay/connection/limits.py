"""The limits of the listener and its sessions, and the patience with a peer that sends slowly.

Pure: `Pace` is told how long was waited, it never looks at a clock.  Every limit is the
configuration's (`[inbound]`), each for one worker process.
"""

from dataclasses import dataclass
from typing import Final

from relay.smtp.errors import Disconnected, Reply

LINGER_SECONDS: Final = 5.0  # a connection that we close may take so long to hear why


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, and times in seconds; `min_rate` in octets a second, 0 for any."""

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


class Tally:
    """What a session has done so far; `errors` and `commands` since its last message accepted."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.messages = self.errors = self.commands = 0

    def accepted(self) -> None:
        """A message was accepted."""
        self.messages, self.errors, self.commands = self.messages + 1, 0, 0

    def check(self) -> None:
        """Return if the session may go on.  Raises Disconnected."""
        if self.errors >= self._limits.max_errors:
            raise Disconnected(_TOO_MANY_ERRORS)
        if self.commands > self._limits.max_commands:
            raise Disconnected(_TOO_MANY_COMMANDS)

    @property
    def left(self) -> int:
        """How many commands more are no reason to end the session."""
        return self._limits.max_commands - self.commands


class Pace:
    """How long a peer may still keep us waiting in the middle of one message.

    Only the time spent waiting for the peer counts: a slow disk of ours is not its fault.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waited = 0.0
        self._octets = 0

    @property
    def patience(self) -> float:
        """Seconds that the next octets may take; zero or less once the peer is too slow."""
        limits = self._limits
        if not limits.min_rate:
            return limits.data_idle_seconds
        due = limits.rate_grace_seconds + self._octets / limits.min_rate
        return min(limits.data_idle_seconds, due - self._waited)

    def waited(self, seconds: float) -> None:
        """The peer let us wait for its next octets."""
        self._waited += seconds

    def received(self, octets: int) -> None:
        """So many octets have come."""
        self._octets += octets
