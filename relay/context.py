"""What every session of a process shares, passed in so that tests can pass in their own."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mailstore.blobs import FileBlobStore
from relay.acceptance import Intake
from relay.admission import Policy
from relay.directory import Directory
from relay.errors import Reply
from relay.perimeter import Perimeter


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the listener and its sessions; times in seconds."""

    max_connections: int = 500
    max_recipients: int = 1000
    idle_seconds: float = 300
    handshake_seconds: float = 30


class OpenSession(Protocol):
    """What the listener needs of a session in order to stop."""

    @property
    def idle(self) -> bool:
        """Whether it can be ended without loss."""

    def hang_up(self, reply: Reply) -> None:
        """Say why and close the connection."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """Services and settings of the inbound side; `sessions` holds the open ones."""

    hostname: str
    limits: Limits
    policy: Policy
    perimeter: Perimeter
    directory: Directory
    blobs: FileBlobStore
    intake: Intake
    tls: Callable[[], ssl.SSLContext]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    sessions: set[OpenSession] = field(default_factory=set)

    def opened(self, session: OpenSession) -> None:
        """A session has begun."""
        self.sessions.add(session)

    def closed(self, session: OpenSession) -> None:
        """A session is over."""
        self.sessions.discard(session)
