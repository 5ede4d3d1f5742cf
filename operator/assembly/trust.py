"""Trust as the configuration describes it: authorities, own certificate, white list, CRLs.

The refresh of white list and CRLs gets its sources and limits from here, as values.
"""

import ssl
from collections.abc import Callable
from datetime import timedelta

from relay.policy import tls
from relay.policy.trust_state import ExpectedList, ListAgeLimits, TrustState
from whitelist.errors import TrustFileError
from whitelist.national.archive import Archive
from whitelist.pki.crl_store import CrlStore
from whitelist.pki.ocsp_client import OcspClient
from whitelist.pki.trust_store import TrustStore
from whitelist.refresh.crl_refresh import CrlRefresher, CrlSources
from whitelist.refresh.list_refresh import ListRefresher, ListSources

from ..settings.model import Settings
from .clock import utc_now
from .faults import settings_fault
from .storage import storage_folder


def open_trust(settings: Settings) -> TrustStore:
    """Configured authorities, without revocation lists.  Raises SettingsError."""
    try:
        return TrustStore.from_files(
            [settings.path(p) for p in settings.trust.anchors],
            [settings.path(p) for p in settings.trust.intermediates],
            settings.trust.revocation,
        )
    except TrustFileError as error:
        raise settings_fault(settings, "trust", error) from error


def own_identity(settings: Settings) -> tls.Identity:
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
            lambda own, top: make(own, top, suites), own_identity(settings), trust
        )
    except TrustFileError as error:
        raise settings_fault(settings, "tls", error) from error


def open_archive(settings: Settings) -> Archive:
    """Archive of adopted white lists.  Raises SettingsError without a storage folder."""
    return Archive(storage_folder(settings) / "whitelist")


def open_crls(settings: Settings, trust: TrustStore) -> CrlStore:
    """Store of revocation lists.  Raises SettingsError, Outage."""
    try:
        return CrlStore(storage_folder(settings) / "crl", trust.authorities)
    except OSError as error:
        raise settings_fault(settings, "storage.directory", error) from error


def list_sources(settings: Settings) -> ListSources:
    """Sources of the white list: keys of [whitelist]."""
    section = settings.whitelist
    return ListSources(
        url=section.url,
        file=settings.path(section.file) if section.file else None,
        file_text=section.file,
        fetch_timeout=section.fetch_timeout_seconds,
        expected_signer=section.expected_signer,
        loose_department=section.loose_department,
        max_shrink=section.max_shrink,
    )


def open_list_refresher(settings: Settings, trust: TrustStore) -> ListRefresher:
    """Refresher of the archive.  `trust`: with the current CRLs.

    Raises SettingsError without a storage folder.
    """
    return ListRefresher(list_sources(settings), open_archive(settings), trust, utc_now)


def crl_sources(settings: Settings) -> CrlSources:
    """Sources of revocation lists: keys of [trust], and our own certificate."""
    section = settings.trust
    return CrlSources(
        files=tuple(map(settings.path, section.crl_files)),
        urls=tuple(section.crl_urls),
        own_certificate=own_identity(settings).certificate,
        interval=timedelta(hours=section.crl_refresh_hours),
    )


def open_crl_refresher(settings: Settings, trust: TrustStore) -> CrlRefresher:
    """Refresher of the store of revocation lists.  Raises SettingsError, Outage."""
    return CrlRefresher(crl_sources(settings), open_crls(settings, trust), trust)


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
        utc_now,
        ocsp=OcspClient(utc_now, settings.trust.ocsp_urls) if settings.trust.ocsp else None,
    )
    trust_state.load()
    return trust_state
