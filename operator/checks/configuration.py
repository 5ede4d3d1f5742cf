"""Check of everything that a configuration names, without changing anything.

NO: `mssante serve` refuses to start.  DOUBT: it starts, but the setting may be a mistake, or the
daemon would wait for an outside service.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.mailboxes import local_domains
from relay.acceptance.disk_guard import FreeSpaceFloor, measure
from relay.policy import tls
from whitelist.errors import ArchiveError, CrlRefused, ListRefused
from whitelist.national.adoption import own_domains
from whitelist.pki.certificates import read_pem
from whitelist.pki.crl import RevocationList, RevocationPolicy, accept_crl
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import TrustStore

from ..assembly import store_mark
from ..assembly.clock import utc_now
from ..assembly.database import database_check
from ..assembly.file_owner import check_user
from ..assembly.findings import CheckFinding, CheckVerdict
from ..assembly.people.anchor_places import check_places
from ..assembly.people.audit import open_trail
from ..assembly.relay import make_router, open_scanners, postmaster_address
from ..assembly.storage import open_database, open_store, storage_folder
from ..assembly.trust import open_crls, open_list_refresher, open_tls, open_trust, own_identity
from ..errors import Outage
from ..machine.clock_watching import clock_doubts
from ..machine.node_name import known_node_name
from ..machine.run_directory import RunFolder
from ..settings import consistency
from ..settings.model import Settings, SettingsError, user_name
from . import bucket as bucket_check
from . import file_modes, listening, own_certificate

SCANNER_SECONDS: Final = 5.0  # timeout of each scanner
_OWNERS: Final = 2000  # limit of the files in the storage folder whose owner is checked


def check(settings: Settings) -> list[CheckFinding]:
    """Run all checks.  Blocks, also for the list's URL and the scanners."""
    return [
        CheckFinding("configuration", CheckVerdict.YES, f"{settings.origin}: all keys valid")
    ] + [
        finding
        for look in (
            _certificates,
            _white_list,
            _storage,
            _listen,
            _dns,
            _outbound,
            _scanners,
            _modes,
        )
        for finding in look(settings)
    ]


def _probe(name: str, look: Callable[[], object], fine: str) -> CheckFinding:
    try:
        look()
    except SettingsError as error:
        return CheckFinding(name, CheckVerdict.NO, str(error))
    except Outage as error:
        return CheckFinding(
            name, CheckVerdict.DOUBT, f"{error}; the daemon can start, and waits for it"
        )
    return CheckFinding(name, CheckVerdict.YES, fine)


def _doubt(name: str, settings: Settings, key: str, problem: str) -> CheckFinding:
    return CheckFinding(name, CheckVerdict.DOUBT, f"{settings.origin}: {key}: {problem}")


def _certificates(settings: Settings) -> Iterator[CheckFinding]:
    def authorities() -> None:
        open_tls(settings, tls.server_context, open_trust(settings))

    fine = f"{settings.tls.certificate}, its key and the authorities"
    found = _probe("certificates", authorities, fine)
    yield found
    if found.says is CheckVerdict.NO:
        return
    trust, problems = _with_crls(settings, open_trust(settings))
    for problem in problems:
        yield _doubt("revocation", settings, "trust.crl_files", problem)
    chain = read_pem(own_identity(settings).certificate.read_bytes())
    now = utc_now()
    for problem in own_certificate.doubts(chain, trust, settings.operator.hostname, now):
        yield _doubt("certificates", settings, "tls.certificate", problem)


def _with_crls(settings: Settings, trust: TrustStore) -> tuple[TrustStore, list[str]]:
    """Authorities with all revocation lists on disk, and the problems with `trust.crl_files`.

    Lists of `trust.crl_urls` are fetched by the daemon: if they are missing, that is no problem.
    """
    problems: list[str] = []
    if settings.trust.revocation is RevocationPolicy.OFF:
        return trust, problems
    lists: list[RevocationList] = []
    with suppress(SettingsError):
        lists += open_crls(settings, trust).current()
    now = utc_now()
    for name in settings.trust.crl_files:
        path = settings.path(name)
        try:
            crl = RevocationList.read(path.read_bytes())
            accept_crl(crl, trust.authorities, now, None)
        except OSError as error:
            problems.append(f"{path}: CRL unreadable: {error.strerror}; put the CRL there")
        except CrlRefused as refused:
            problems.append(f"{path}: {refused}")
        else:
            lists.append(crl)
    return trust.with_crls(lists), problems


def _white_list(settings: Settings) -> Iterator[CheckFinding]:
    section = settings.whitelist
    if section.stale_hours >= section.expired_hours:
        problem = (
            f"{section.stale_hours:g} is not below expired_hours ({section.expired_hours:g}): "
            "mail would stop without an earlier alarm; lower it"
        )
        yield _doubt("white list", settings, "whitelist.stale_hours", problem)
    try:
        trust, _ = _with_crls(settings, open_trust(settings))
        _, _, found = open_list_refresher(settings, trust).obtain()
    except SettingsError:
        return  # reported with the certificates or the storage
    except (ArchiveError, ListRefused) as error:
        problem = f"{error}; without a white list all mail gets 451"
        yield _doubt("white list", settings, "whitelist", problem)
        return
    yield CheckFinding("white list", CheckVerdict.YES, "valid list at the source")
    for text in consistency.doubts_of_list(settings, found):
        yield CheckFinding("outbound", CheckVerdict.DOUBT, text)
    with suppress(OSError, ValueError, SettingsError, StoreUnavailable):  # reported elsewhere
        pem = own_identity(settings).certificate.read_bytes()
        own = DistinguishedName.from_certificate(read_pem(pem)[0])
        with (
            closing(open_database(settings)) as database,
            database.read() as connection,
        ):
            hosted = sorted(local_domains(connection))
        for alarm in own_domains(found, hosted, own):
            yield _doubt("white list", settings, "tls.certificate", alarm.detail)


def _storage(settings: Settings) -> Iterator[CheckFinding]:
    doubts: list[str] = []
    trust: list[TrustStore] = []

    database: list[CheckFinding] = []

    def storage() -> None:
        check_user(settings)
        RunFolder(storage_folder(settings) / "run").check()
        known_node_name(settings)
        with suppress(SettingsError):  # reported with the certificates
            trust.append(open_trust(settings))
        for one in trust:
            open_crls(settings, one)
        check_places(settings)
        with closing(open_store(settings)) as store:
            open_trail(settings, store.database)
            doubts.extend(store_mark.doubts(settings, store.database, store.blobs))
            with store.database.read() as connection:
                doubts.extend(consistency.doubts_of_store(settings, connection))
            doubts.extend(clock_doubts(settings, store.database))
            with suppress(StoreUnavailable):
                database.extend(database_check.database_findings(settings, store.database))

    found = _probe("storage", storage, "database schema up to date")
    yield found
    if found.says is CheckVerdict.YES:
        look = bucket_check.check_bucket(settings)
        yield from (CheckFinding("storage", CheckVerdict.NO, text) for text in look.losses)
        doubts.extend(look.doubts)
    yield from (CheckFinding("storage", CheckVerdict.DOUBT, text) for text in doubts)
    yield from database
    folder = settings.path(settings.storage.directory)
    with suppress(OSError):
        section = settings.storage
        if measure(folder).short_of(
            FreeSpaceFloor(section.min_free_bytes, section.min_free_inodes)
        ):
            problem = (
                f"too little free space on the file system of {folder} (below min_free_bytes or "
                "min_free_inodes): mail gets 452; free some space, or lower the limits"
            )
            yield _doubt("storage", settings, "storage.directory", problem)
        strangers = _of_others(folder)
        if strangers:
            owner = user_name(folder.stat().st_uid)
            problem = (
                f"{', '.join(map(str, strangers))}: wrong owner, not {owner} like the folder; "
                f"run: chown -R {owner} {folder}"
            )
            yield _doubt("storage", settings, "storage.directory", problem)


def _of_others(folder: Path) -> list[Path]:
    """Up to three files in a folder that belong to another user than the folder itself."""
    owner = folder.stat().st_uid
    found = []
    for path in islice(folder.rglob("*"), _OWNERS):
        with suppress(OSError):
            if path.lstat().st_uid != owner:
                found.append(path)
        if len(found) == 3:  # enough examples for the message
            break
    return found


def _listen(settings: Settings) -> Iterator[CheckFinding]:
    return listening.check_listening(settings, _held(settings))


def _held(settings: Settings) -> AbstractSet[tuple[str, str]] | None:
    """(key, address) that the daemon on this store listens on; None if no daemon runs."""
    run = settings.path(settings.storage.directory) / "run"
    if not _daemon_runs(run):
        return None
    noted = RunFolder(run).listening()
    if noted is not None:
        return noted
    # The file is missing (disk full, older version): each configured address may be the daemon's.
    return set(listening.named(settings))


def _daemon_runs(run: Path) -> bool:
    if not (run / "lock").is_file() or not os.access(run / "lock", os.W_OK):
        return False
    with suppress(Outage, SettingsError):
        lock = RunFolder(run).lock()
        if lock is None:
            return True
        lock.close()
    return False


def _dns(settings: Settings) -> Iterator[CheckFinding]:
    yield _probe("dns", lambda: make_router(settings), "resolver configured")


def _outbound(settings: Settings) -> Iterator[CheckFinding]:
    contradictions = consistency.contradictions(settings)
    yield from (CheckFinding("outbound", CheckVerdict.NO, text) for text in contradictions)
    postmaster = _probe("outbound", lambda: postmaster_address(settings), "")
    if postmaster.says is CheckVerdict.NO:
        yield postmaster
    elif not contradictions:
        yield CheckFinding("outbound", CheckVerdict.YES, "no contradiction")
    yield from (
        CheckFinding("outbound", CheckVerdict.DOUBT, text) for text in consistency.doubts(settings)
    )


def _scanners(settings: Settings) -> Iterator[CheckFinding]:
    scanners = open_scanners(settings)
    if not scanners.on:
        return
    problems = asyncio.run(scanners.probe(SCANNER_SECONDS))
    for name, problem in problems.items():
        effect = f"messages are {'deferred' if scanners.defers else 'accepted without a scan'}"
        yield _doubt("scanners", settings, f"scan.{name}", f"{problem}; {effect}")
    if not problems:
        yield CheckFinding("scanners", CheckVerdict.YES, "all scanners answer")


def _modes(settings: Settings) -> Iterator[CheckFinding]:
    yield from (
        CheckFinding("modes", CheckVerdict.DOUBT, text) for text in file_modes.doubts(settings)
    )
