"""Services and settings that all sessions of a process share; tests pass in their own."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from foundation.journal.writer import Journal
from mailstore.blobs.bodies import Bodies
from relay.acceptance.disk_guard import DiskGuard
from relay.acceptance.group_commit import GroupCommitter
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.connection.connection_counts import ConnectionCounts
from relay.connection.limits import SessionLimits
from relay.connection.own_port import OwnPort
from relay.connection.strangers import Strangers
from relay.policy.admission import AdmissionPolicy
from relay.policy.quotas import Quotas
from relay.policy.trust_state import TrustState
from relay.scan.scanner import Scanners
from relay.server.rcpt_pipeline import RcptLines
from whitelist.pki.distinguished_name import DistinguishedName


@dataclass(frozen=True, slots=True)
class SessionContext:
    """Services and settings of the inbound side.

    Sessions of the names in `debug_peers` leave a transcript in the journal.  Sessions from
    `own_port` are the daemon's own: they get a `quiet` context, and nothing goes into the journal.
    """

    hostname: str
    limits: SessionLimits
    policy: AdmissionPolicy
    trust_state: TrustState
    recipient_lookup: RecipientLookup
    blobs: Bodies
    disk_guard: DiskGuard
    scanners: Scanners
    committer: GroupCommitter
    journal: Journal
    connection_counts: ConnectionCounts
    tls: Callable[[], ssl.SSLContext]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    debug_peers: frozenset[DistinguishedName] = frozenset()
    own_port: OwnPort = field(default_factory=OwnPort.unknown)
    quiet: bool = False
    strangers: Strangers = field(default_factory=Strangers)
    quotas: Quotas = field(default_factory=Quotas)
    rcpt_lines: RcptLines = field(init=False)  # of `recipient_lookup`

    def __post_init__(self) -> None:
        object.__setattr__(self, "rcpt_lines", RcptLines(self.recipient_lookup))
