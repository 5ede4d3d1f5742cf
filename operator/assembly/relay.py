"""Parts of the relay as the configuration describes them: scanners, router, labels."""

import random
import time
from collections.abc import Mapping, Sequence

import dns.asyncresolver
import dns.resolver

from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from relay.client.routing import Router, Target
from relay.dsn.writer import DsnWriter
from relay.operator_labels import OperatorLabels
from relay.policy.trust_state import TrustState
from relay.scan.clamav import Clamav
from relay.scan.rspamd import Rspamd
from relay.scan.scanner import Scanner, Scanners
from relay.smtp.address import SmtpAddress, parse_address
from relay.smtp.errors import SyntaxRefused
from whitelist.pki.distinguished_name import DistinguishedName

from ..settings.endpoints import split_endpoint
from ..settings.model import Settings
from . import policies
from .clock import make_id
from .faults import settings_fault
from .storage import storage_folder


def open_scanners(settings: Settings) -> Scanners:
    """Configured scanners."""
    section = settings.scan
    scanners: list[Scanner] = []
    if section.clamav:
        scanners.append(Clamav(section.clamav))
    if section.rspamd:
        scanners.append(Rspamd(section.rspamd, settings.operator.hostname))
    return Scanners(scanners, section.on_failure, section.timeout_seconds)


def postmaster_address(settings: Settings) -> SmtpAddress | None:
    """Address of the postmaster's mailbox; None if not configured.  Raises SettingsError."""
    text = settings.operator.postmaster
    try:
        return parse_address(text) if text else None
    except SyntaxRefused as error:
        raise settings_fault(settings, "operator.postmaster", error) from error


def make_dsn_writer(settings: Settings, store: Store, journal: Journal) -> DsnWriter:
    """Writer of DSNs outside the courier.  Raises SettingsError."""
    return DsnWriter(
        store,
        settings.operator.hostname,
        postmaster_address(settings),
        policies.retry_policy(settings).life,
        make_id,
        journal.record,
    )


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
        raise settings_fault(settings, "outbound.dns_servers", error) from error
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
