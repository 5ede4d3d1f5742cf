"""Inbound side of an operator in the test's process, on loopback, with real TLS and a real store.

The trust space has operators A (ours), B and C, an intruder whose certificate is off the list, and
impostors of B (and of A), each with one fault.  The clock is real, since OpenSSL judges these
certificates by the real time.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.x509.oid import NameOID

from foundation.journal.writer import Journal
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.mail.quota import set_domain_quota
from mailstore.mailboxes.aliases import add_alias
from mailstore.mailboxes.attributes import Attribute
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, set_state
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.mailboxes.states import InboundMail, MailboxState
from mailstore.messages.messages import MailboxEntry, list_entries
from mssante_operator.assembly.database import migrations
from mssante_operator.setup.install import TrustSpace, write_identity
from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import Lifetime, Subject
from mssante_operator.setup.testbed.credential import Credential, new_key
from relay.acceptance.disk_guard import DiskGuard, FreeSpaceFloor
from relay.acceptance.group_commit import GroupCommitter
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.connection.connection_counts import ConnectionCounts
from relay.connection.limits import SessionLimits
from relay.policy import tls
from relay.policy.admission import AdmissionPolicy
from relay.policy.trust_state import TrustState
from relay.scan.on_failure import OnFailure
from relay.scan.scanner import Scanners
from relay.server.context import SessionContext
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from relay.smtp.address import SmtpAddress
from tests.support.clock import system_clock
from tests.support.ids import make_id
from tests.support.machines.perimeters import fall_behind, trust_state
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import TrustStore

HOST = "127.0.0.1"
OURS = "a.mssante.fr"
ACTIVE = f"claire.martin@{OURS}"
SUSPENDED = f"suspendu@{OURS}"
CLOSED = f"ferme@{OURS}"
REFUSED = f"refuse@{OURS}"
DELETED = f"supprime@{OURS}"
NO_REPLY = f"noreply-labo@{OURS}"
ALIAS, ENDED_ALIAS = f"claire.durand@{OURS}", f"ancien.nom@{OURS}"  # of the active mailbox

_RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
_FINESS = Identifier(IdentifierKind.FINESS, "750000002")


@dataclass(frozen=True)
class Space:
    """Trust space with its operators' credentials by name, and the signed list.

    `foreign`: credentials from `other`, a hierarchy with the same names and other keys.
    """

    space: TrustSpace
    operators: dict[str, Credential]
    white_list: bytes
    other: Hierarchy
    foreign: dict[str, Credential]

    @property
    def trust(self) -> TrustStore:
        authorities = self.space.hierarchy
        return TrustStore(
            (authorities.root.certificate,),
            (authorities.intermediate.certificate,),
            revocation=RevocationPolicy.REFUSE,
        )

    @property
    def crls(self) -> tuple[bytes, bytes]:
        """Revocation lists of the authorities; the intermediate's list has operator `revoked`."""
        authorities = self.space.hierarchy
        return (
            self.space.crl(authorities.root),
            self.space.crl(authorities.intermediate, [self.operators["revoked"]]),
        )

    def identity(self, name: str, folder: Path) -> tls.Identity:
        """Certificate and key of an operator, as files."""
        if not (folder / f"{name}.pem").exists():
            if name in self.foreign:
                write_identity(self.foreign[name], self.other, folder, name)
            else:
                write_identity(self.operators[name], self.space.hierarchy, folder, name)
        return tls.Identity(folder / f"{name}.pem", folder / f"{name}.key")


@cache
def trust_space() -> Space:
    """Trust space of this test process."""
    now = datetime.now(UTC)
    space, key = TrustSpace.create(now), new_key()

    def enrol(name: str, lifetime: Lifetime) -> Credential:
        subject = Subject(name, "1750000002", f"OPERATEUR {name}", "Hérault (34)")
        return space.hierarchy.issue_server(subject, [name], lifetime, key=key)

    fresh = Lifetime.of_leaf(now)
    over = Lifetime(now - timedelta(days=30), now - timedelta(days=1))
    operators = {name: enrol(f"smtp.{name}.mssante.fr", fresh) for name in ("a", "b", "c")}
    listed = {f"{name}.mssante.fr": credential for name, credential in operators.items()}
    operators["revoked"] = enrol("smtp.b.mssante.fr", fresh)
    operators["expired"] = enrol("smtp.b.mssante.fr", over)
    operators["intruder"] = enrol("smtp.intrus.example", fresh)
    right = operators["b"].certificate.subject
    for name, oid, value in (
        ("cn_differs", NameOID.COMMON_NAME, "smtp.b2.mssante.fr"),
        ("dn_differs", NameOID.ORGANIZATIONAL_UNIT_NAME, "1750000099"),
    ):
        wrong = x509.Name(
            [x509.NameAttribute(oid, value) if one.oid == oid else one for one in right]
        )
        operators[name] = space.hierarchy.issue_server(wrong, ["smtp.b.mssante.fr"], fresh, key=key)
    other = Hierarchy.create(now)
    foreign = {
        f"foreign_{name}": other.issue_server(
            operators[name].certificate.subject, [f"smtp.{name}.mssante.fr"], fresh, key=key
        )
        for name in ("a", "b")
    }
    return Space(space, operators, space.sign_list(listed), other, foreign)


@dataclass
class Inbound:
    """Operator A, which listens."""

    port: int
    folder: Path
    store: Store
    context: SessionContext
    trust_state: TrustState
    space: Space = field(default_factory=trust_space)

    def client_tls(self, name: str | None) -> ssl.SSLContext:
        """TLS context with the certificate of an operator, or without a certificate."""
        if name is not None:
            return tls.client_context(self.space.identity(name, self.folder), self.space.trust)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.space.trust.pem)
        return context

    def entries(self, address: str) -> list[MailboxEntry]:
        """Entries of a mailbox."""
        with self.store.database.read() as connection:
            return list_entries(connection, get_mailbox(connection, address).id)

    def body(self, entry: MailboxEntry) -> bytes:
        """Octets of a message as received."""
        with self.store.blobs.open(entry.message.blob) as stored:
            return stored.read()


@cache
def _migrated() -> bytes:
    """Empty SQLite database with the schema, made once: migrations are slow for small tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        migrations.upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def make_store(folder: Path, url: str | None = None) -> Store:
    """Store with operator A's domain, and mailboxes in each state.

    `url`: database with the schema; by default a new SQLite file in the folder.
    """
    if url is None:
        path = folder / "store.db"
        path.write_bytes(_migrated())
        path.chmod(0o600)
        url = f"sqlite:///{path}"
    database = Database(url)
    store = Store(Bodies(FileBlobStore(folder / "blobs"), database, system_clock), database)
    now = system_clock()
    with store.database.write() as connection:
        add_domain(connection, OURS, now=now)
        for address in (ACTIVE, f"cardiologie@{OURS}", SUSPENDED, CLOSED, REFUSED, DELETED):
            add_mailbox(connection, address, MailboxType.PER, _RPPS, now=now)
        add_mailbox(connection, f"plein@{OURS}", MailboxType.PER, _RPPS, quota=1000, now=now)
        set_state(connection, SUSPENDED, MailboxState.SUSPENDED)
        set_state(connection, CLOSED, MailboxState.CLOSED)
        set_state(connection, REFUSED, MailboxState.SUSPENDED, inbound=InboundMail.REFUSE)
        delete_mailbox(connection, DELETED, reason="départ", grace=timedelta(days=30), now=now)
        no_reply = {Attribute.NO_REPLY: True}
        add_mailbox(connection, NO_REPLY, MailboxType.APP, _FINESS, attributes=no_reply, now=now)
        add_alias(connection, ACTIVE, ALIAS, ends_at=None, now=now)
        add_alias(connection, ACTIVE, ENDED_ALIAS, ends_at=now, now=now)
    return store


@asynccontextmanager
async def inbound(
    folder: Path,
    *,
    white_list: bytes | None = None,
    limits: SessionLimits = SessionLimits(),  # noqa: B008 - frozen
    policy: AdmissionPolicy = AdmissionPolicy(1_000_000),  # noqa: B008 - frozen
    scanners: Scanners = Scanners((), OnFailure.DEFER, 1),  # noqa: B008 - has no state
    floor: FreeSpaceFloor = FreeSpaceFloor(0, 0),  # noqa: B008 - frozen
    postmaster: SmtpAddress | None = None,
    debug_peers: frozenset[DistinguishedName] = frozenset(),
    behind: bool = False,
    domain_quota: int | None = None,
) -> AsyncIterator[Inbound]:
    """Listen as operator A.  `white_list`: b"" for no list, None for the good list.

    `behind`: another machine of A has a newer list.  `domain_quota`: octets, of A's domain.
    """
    space = trust_space()
    data = space.white_list if white_list is None else white_list
    follower = trust_state(folder, data, space.trust, system_clock, crls=space.crls)
    if behind:
        fall_behind(follower, folder)
    store = make_store(folder)
    if domain_quota is not None:
        with store.database.write() as connection:
            set_domain_quota(connection, OURS, domain_quota)
    server_tls = tls.server_context(space.identity("a", folder), space.trust)
    disk_guard = DiskGuard(folder, floor, store.blobs.probe)
    context = SessionContext(
        hostname="smtp.a.mssante.fr",
        limits=limits,
        policy=policy,
        trust_state=follower,
        recipient_lookup=RecipientLookup(store.database, postmaster=postmaster, now=system_clock),
        blobs=store.blobs,
        disk_guard=disk_guard,
        scanners=scanners,
        committer=GroupCommitter(store, system_clock, disk_guard.failed),
        journal=Journal(folder / "trace", system_clock),
        connection_counts=ConnectionCounts(limits),
        tls=lambda: server_tls,
        clock=system_clock,
        new_id=make_id,
        debug_peers=debug_peers,
    )
    listener = Listener(peer_session, context)
    bound = bind(HOST, 0)
    listener.start(bound)
    try:
        yield Inbound(bound.getsockname()[1], folder, store, context, follower)
    finally:
        await asyncio.wait_for(listener.stop(grace=0), 10)
        await context.committer.close()
        context.journal.close()
        store.close()
