"""Refresh of lists as the configuration describes it: sources and limits as values."""

from datetime import timedelta

from whitelist.pki.trust_store import TrustStore
from whitelist.refresh.crl_refresh import CrlRefresher, CrlSources
from whitelist.refresh.list_refresh import ListRefresher, ListSources

from ..settings.model import Settings
from .clock import utc_now
from .trust import open_archive, open_crls, own_identity


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
