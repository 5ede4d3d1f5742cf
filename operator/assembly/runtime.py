"""Construction of the operator's parts from its settings, for the daemon and the commands alike.

Clock and randomness are read only here; all lower layers get them as arguments.
"""

import os
import random
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.asyncresolver
import dns.resolver

from foundation.ids import RANDOM_OCTETS, new_id
from foundation.journal import files as journal_folder
from foundation.journal.writer import Journal
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.interface import BlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.errors import InvalidKeys, MailstoreError, StoreUnavailable, UnfitDatabase
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.compression import Zstd
from mailstore.sealed.keyring import Keyring, make_first
from relay.client.routing import Router, Target
from relay.delivery.operator_labels import OperatorLabels
from relay.machines.clock_difference import ClockComparison
from relay.policy import tls
from relay.policy.trust_state import ExpectedList, ListAgeLimits, TrustState
from relay.scan.clamav import Clamav
from relay.scan.rspamd import Rspamd
from relay.scan.scanner import Scanner, Scanners
from relay.smtp.address import SmtpAddress, parse_address
from relay.smtp.errors import SyntaxRefused
from whitelist.errors import TrustFileError
from whitelist.national.archive import Archive
from whitelist.pki.crl_store import CrlStore
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.ocsp_client import OcspClient
from whitelist.pki.trust_store import TrustStore

from ..errors import OperatorError, Outage
from ..settings.endpoints import split_endpoint
from ..settings.model import Settings, SettingsError, owner_of
from . import store_mark
from .database_check import fit_revision
from .outside_errors import is_outside
from .s3 import open_bucket
from .schema_revision import REVISION


class _Randomness:
    """Random octets, read from the system in blocks to save system calls.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = b""

    def take(self, octets: int) -> bytes:
        """Return so many random octets, none of them twice."""
        with self._lock:
            if len(self._pool) < octets:
                self._pool = secrets.token_bytes(4096)
            taken, self._pool = self._pool[:octets], self._pool[octets:]
        return taken


_randomness = _Randomness()
_DRAFTS_ROOM = 8 * 1024 * 1024  # octets of drafts kept in memory; more go to temporary files
_SAMPLE = 16  # number of blobs whose keys are checked when the store is opened


def clock() -> datetime:
    """Current time, aware, in UTC."""
    return datetime.now(UTC)


def make_id() -> str:
    """New identifier of a message or session."""
    return new_id(clock(), _randomness.take(RANDOM_OCTETS))


def _fault(settings: Settings, key: str, error: Exception) -> OperatorError:
    """Outage for an outside error, else SettingsError; with file and key."""
    kind = Outage if is_outside(error) else SettingsError
    return kind(f"{settings.origin}: {key}: {error}")


def open_trust(settings: Settings) -> TrustStore:
    """Configured authorities, without revocation lists.  Raises SettingsError."""
    try:
        return TrustStore.from_files(
            [settings.path(p) for p in settings.trust.anchors],
            [settings.path(p) for p in settings.trust.intermediates],
            settings.trust.revocation,
        )
    except TrustFileError as error:
        raise _fault(settings, "trust", error) from error


def identity(settings: Settings) -> tls.Identity:
    """Our certificate and key."""
    return tls.Identity(settings.path(settings.tls.certificate), settings.path(settings.tls.key))


def open_tls(
    settings: Settings,
    make: Callable[[tls.Identity, TrustStore, str], ssl.SSLContext],
    trust: TrustStore,
) -> tls.ReloadingContext:
    """TLS contexts, renewed when their files change.  Raises SettingsError.

    `make`: `tls.server_context` or `tls.client_context`.
    """
    suites = settings.tls.suites
    try:
        return tls.ReloadingContext(
            lambda own, top: make(own, top, suites), identity(settings), trust
        )
    except TrustFileError as error:
        raise _fault(settings, "tls", error) from error


def open_archive(settings: Settings) -> Archive:
    """Archive of adopted white lists.  Raises SettingsError without a storage folder."""
    return Archive(storage_folder(settings) / "whitelist")


def open_crls(settings: Settings, trust: TrustStore) -> CrlStore:
    """Store of revocation lists.  Raises SettingsError, Outage."""
    try:
        return CrlStore(storage_folder(settings) / "crl", trust.authorities)
    except OSError as error:
        raise _fault(settings, "storage.directory", error) from error


def list_age_limits(settings: Settings) -> ListAgeLimits:
    """Ages at which the white list is stale and expired."""
    section = settings.whitelist
    return ListAgeLimits(
        timedelta(hours=section.stale_hours), timedelta(hours=section.expired_hours)
    )


def open_trust_state(settings: Settings, trust: TrustStore) -> TrustState:
    """Perimeter, loaded from disk.  Raises SettingsError, Outage."""
    trust_state = TrustState(
        open_archive(settings),
        open_crls(settings, trust),
        trust,
        ExpectedList(settings.whitelist.expected_signer, settings.whitelist.loose_department),
        list_age_limits(settings),
        clock,
        ocsp=OcspClient(clock, settings.trust.ocsp_urls) if settings.trust.ocsp else None,
    )
    trust_state.load()
    return trust_state


def storage_folder(settings: Settings) -> Path:
    """Storage folder.  Raises SettingsError if it is missing or not accessible."""
    folder = settings.path(settings.storage.directory)
    if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsError(
            f"{settings.origin}: storage.directory: {folder} cannot be read and written; "
            f"run the command as {owner_of(folder)}"
        )
    if not folder.is_dir():
        raise SettingsError(
            f"{settings.origin}: storage.directory: {folder} is not a folder; "
            f"create it and run: mssante --config {settings.origin} db upgrade"
        )
    return folder


def open_database(settings: Settings) -> Database:
    """Database handle; no connection is made yet.  Raises SettingsError for an unusable URL."""
    if not settings.storage.database:
        storage_folder(settings)
    try:
        return Database(settings.database_url)
    except MailstoreError as error:  # no outside service is involved yet
        raise SettingsError(f"{settings.origin}: storage.database: {error}") from error


def keys_file(settings: Settings) -> Path:
    """Path of the key file, which need not exist."""
    storage = settings.storage
    return settings.path(storage.keys) if storage.keys else storage_folder(settings) / "keys"


def make_keys(settings: Settings) -> Path | None:
    """Create the key file if encryption is on and the file is missing.

    Returns its path if it was created, else None.  Raises SettingsError, also if existing blobs
    need the missing keys, and Outage.
    """
    path = keys_file(settings)
    if not settings.storage.encryption or path.exists():
        return None
    with closing(open_database(settings)) as database:
        try:
            if store_mark.has_key(database):
                raise store_mark.refusal(settings, path)
        except StoreUnavailable as error:
            raise _fault(settings, "storage", error) from error
        _open_bodies(settings, database, BlobFormat()).close()
    try:
        make_first(path, clock())
    except InvalidKeys as error:
        raise _fault(settings, "storage.keys", error) from error
    return path


def _open_form(settings: Settings) -> BlobFormat:
    storage, path = settings.storage, keys_file(settings)
    if storage.encryption and not path.exists():
        raise SettingsError(
            f"{settings.origin}: storage.keys: {path}: no such file; put it back from a backup, "
            f"or for a new store run: mssante --config {settings.origin} db upgrade"
        )
    try:
        keys = Keyring(path) if path.exists() else None
    except InvalidKeys as error:
        raise _fault(settings, "storage.keys", error) from error
    try:
        codec = Zstd() if storage.compression == "zstd" else None
    except StoreUnavailable as error:
        raise _fault(settings, "storage.compression", error) from error
    return BlobFormat(keys, codec, encrypt=storage.encryption)


def _make_blobs(settings: Settings, form: BlobFormat) -> BlobStore:
    folder = storage_folder(settings)
    try:
        if settings.storage.s3.bucket:
            return open_bucket(settings, folder / "drafts", form, clock, _DRAFTS_ROOM)
        return FileBlobStore(folder / "blobs", form, _DRAFTS_ROOM)
    except StoreUnavailable as error:
        raise _fault(settings, "storage", error) from error


def _open_bodies(settings: Settings, database: Database, form: BlobFormat) -> Bodies:
    """Open the bodies; refuse if a key that a sample of them needs is missing."""
    with ExitStack() as opened:
        blobs = opened.enter_context(closing(_make_blobs(settings, form)))
        try:
            bodies = Bodies(blobs, database, clock, settings.storage.small_body_bytes)
            used = bodies.keys_used(_SAMPLE)
        except StoreUnavailable as error:
            raise _fault(settings, "storage", error) from error
        lacking = used - (form.keys.names if form.keys is not None else set())
        if lacking:
            raise SettingsError(
                f"{settings.origin}: storage.keys: {keys_file(settings)} has not the key "
                f"{min(lacking).hex()}, which messages need; put it back from a backup, "
                "or copy it from another machine of this store"
            )
        opened.pop_all()
        return bodies


def open_store(settings: Settings, *, mark: bool = False) -> Store:
    """Open the store; check schema, keys and mark.  `mark`: give a new store its mark.

    Raises SettingsError and Outage.
    """
    storage_folder(settings)
    with ExitStack() as opened:
        database = opened.enter_context(closing(open_database(settings)))
        try:
            found = fit_revision(database)
        except StoreUnavailable as error:
            # An error of this installation takes precedence: it must end the daemon's start.
            _make_blobs(settings, _open_form(settings)).close()
            raise _fault(settings, "storage", error) from error
        except UnfitDatabase as error:
            raise _fault(settings, "storage.database", error) from error
        if found != REVISION:
            raise SettingsError(
                f"{settings.origin}: storage.database: schema is at {found or 'nothing'}, "
                f"this version needs {REVISION}; "
                f"run: mssante --config {settings.origin} db upgrade"
            )
        bodies = opened.enter_context(
            closing(_open_bodies(settings, database, _open_form(settings)))
        )
        try:
            store_mark.verify(settings, keys_file(settings), database, bodies, anew=mark)
        except StoreUnavailable as error:
            raise _fault(settings, "storage", error) from error
        opened.pop_all()
        return Store(bodies, database)


def compare_clocks(settings: Settings, database: Database) -> ClockComparison:
    """Comparison of this machine's clock with the database's; no query is made yet."""
    most = timedelta(seconds=settings.storage.max_clock_difference_seconds)
    return ClockComparison(database, most, clock)


def open_journal(settings: Settings, role: str) -> Journal:
    """Journal of this process.  Raises SettingsError."""
    return Journal(
        storage_folder(settings) / journal_folder.NAME,
        clock,
        process=f"{role}:{os.getpid()}",
        floor=settings.storage.min_free_bytes,
    )


def open_scanners(settings: Settings) -> Scanners:
    """Configured scanners."""
    section = settings.scan
    scanners: list[Scanner] = []
    if section.clamav:
        scanners.append(Clamav(section.clamav))
    if section.rspamd:
        scanners.append(Rspamd(section.rspamd, settings.operator.hostname))
    return Scanners(scanners, section.on_failure, section.timeout_seconds)


def postmaster(settings: Settings) -> SmtpAddress | None:
    """Address of the postmaster's mailbox; None if not configured.  Raises SettingsError."""
    text = settings.operator.postmaster
    try:
        return parse_address(text) if text else None
    except SyntaxRefused as error:
        raise _fault(settings, "operator.postmaster", error) from error


def make_router(settings: Settings, trust_state: TrustState | None = None) -> Router:
    """Router with its resolver.  Routes by operator need `trust_state`, for its white list.

    Raises SettingsError if no DNS server is found.
    """
    section = settings.outbound
    try:
        resolver = dns.asyncresolver.Resolver(configure=not section.dns_servers)
        if section.dns_servers:
            resolver.nameservers = section.dns_servers
    except (dns.resolver.NoResolverConfiguration, ValueError) as error:
        raise _fault(settings, "outbound.dns_servers", error) from error
    resolver.lifetime = section.dns_timeout_seconds
    resolver.timeout = min(resolver.timeout, resolver.lifetime)

    def names_of(domain: str) -> frozenset[DistinguishedName]:
        white_list = trust_state.snapshot.white_list if trust_state is not None else None
        return white_list.names_of(domain) if white_list is not None else frozenset()

    return Router(
        _targets(section.routes),
        resolver,
        random.SystemRandom(),
        operators=_targets(section.operator_routes),
        names_of=names_of,
        hostname=settings.operator.hostname,
        clock=time.monotonic,
    )


def open_operator_labels(settings: Settings, trust_state: TrustState) -> OperatorLabels:
    """Labels of operators in metrics, from the white list on disk, even an expired one.

    Raises SettingsError.
    """

    def names_of(domain: str) -> frozenset[DistinguishedName]:
        loaded = trust_state.snapshot.loaded
        return loaded.names_of(domain) if loaded is not None else frozenset()

    labels = OperatorLabels(storage_folder(settings) / "operators", names_of)
    labels.read()
    return labels


def _targets(routes: Mapping[str, Sequence[str]]) -> dict[str, list[Target]]:
    return {key: [Target(*split_endpoint(one)) for one in hosts] for key, hosts in routes.items()}
