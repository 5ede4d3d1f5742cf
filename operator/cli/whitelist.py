"""Commands on the national white list: verify, refresh, history, diff, status; explain."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from whitelist.errors import ListRefused, TrustFileError
from whitelist.national.difference import compare_lists
from whitelist.national.lookup import WhiteList
from whitelist.national.reader import load_file, read_list
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.certificates import read_pem
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.trust_store import TrustStore

from ..assembly.clock import utc_now
from ..assembly.file_owner import check_user
from ..assembly.trust import (
    open_archive,
    open_crl_refresher,
    open_list_refresher,
    open_trust,
    open_trust_state,
)
from ..services.list_sharing import share_now
from ..settings.model import load
from .output import say, show_record, show_rows
from .whitelist_explain import explain

SIGNER = "alb.mssante.fr"


@click.group()
def whitelist() -> None:
    """The national white list."""


whitelist.add_command(explain)


def _facts(found: WhiteList) -> dict[str, Any]:
    return {
        "entries": found.entries,
        "domains": found.domains,
        "dn_strings": found.dn_strings,
        "names": found.names,
        "generated_at": found.generated_at,
        "signer": str(found.signer.subject),
        "signer_expires": found.signer.not_after,
        "digest": found.digest,
        "warnings": list(found.warnings),
    }


def _trust(files: tuple[Path, ...]) -> TrustStore:
    """Trust store from PEM files: self-signed certificates are anchors, others intermediates.

    Raises TrustFileError.
    """
    anchors: list[x509.Certificate] = []
    intermediates: list[x509.Certificate] = []
    for path in files:
        try:
            found = read_pem(path.read_bytes())
        except (OSError, ValueError) as error:
            raise TrustFileError(
                path, f"not a PEM certificate ({error})", "give a PEM file"
            ) from None
        for certificate in found:
            kind = anchors if certificate.subject == certificate.issuer else intermediates
            kind.append(certificate)
    if not anchors:
        raise click.UsageError("--trust: root certificate missing; add its PEM file")
    return TrustStore(tuple(anchors), tuple(intermediates))


@whitelist.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    "trust_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="PEM file of an authority, may be repeated; default: those of the configuration.",
)
@click.option("--signer", help=f"Common name of the expected signer. [{SIGNER}]")
@click.option("--at", help="Time of verification, as 2025-03-01T00:00:00Z. [now]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(
    given: Path | None,
    file: Path,
    trust_files: tuple[Path, ...],
    signer: str | None,
    at: str | None,
    *,
    as_json: bool,
) -> None:
    """Check FILE in every way that a list in force was checked; exit 1 if it is refused."""
    moment = _moment(at) if at else utc_now()
    if trust_files:
        trust, expected = _trust(trust_files), ExpectedSigner(signer or SIGNER)
        loose = False
    else:
        settings = load(given)
        trust = open_trust_state(settings, open_trust(settings)).trust
        configured = settings.whitelist.expected_signer
        expected = ExpectedSigner(signer, policy=configured.policy) if signer else configured
        loose = settings.whitelist.loose_department
    try:
        found = load_file(file, trust, expected, moment, loose_department=loose)
    except ListRefused as refused:
        record = {"valid": False, "reason": refused.reason.value, "detail": refused.detail}
        show_record(record, as_json=as_json)
        raise SystemExit(1) from None
    show_record({"valid": True, "reason": None, **_facts(found)}, as_json=as_json)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"--at: {text!r} is not a time; write for example 2025-03-01T00:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@whitelist.command()
@click.option(
    "--accept-shrink", is_flag=True, help="Adopt it though many domains vanish or change."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def refresh(given: Path | None, *, accept_shrink: bool, as_json: bool) -> None:
    """Obtain the list now and adopt it if it passes; a running daemon takes it over at once."""
    settings = load(given)
    check_user(settings)
    trust = open_trust(settings)
    crls = open_crl_refresher(settings, trust)
    crls.check(utc_now(), by_hand=True)
    refresher = open_list_refresher(settings, trust.with_crls(crls.store.current()))
    done = refresher.check(accept_shrink=accept_shrink)
    record = {"adopted": done.changed, "source": done.source, **_facts(done.white_list)}
    show_record(record, as_json=as_json)
    if why := share_now(settings, refresher):
        say(f"note: not yet shared with the other machines; a daemon will do it: {why}", err=True)


@whitelist.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def history(given: Path | None, *, as_json: bool) -> None:
    """Every list adopted so far, the oldest first."""
    archive = open_archive(load(given))
    rows = [{**asdict(version), "digest": version.digest} for version in archive.records()]
    for row in rows:
        row["id"] = row["digest"][:12]
    columns = ("id", "generated_at", "adopted_at", "domains", "names", "source", "signer")
    show_rows(rows, columns, as_json=as_json)
    for problem in archive.problems():
        say(f"note: {problem}", err=True)


@whitelist.command()
@click.argument("old", default="previous")
@click.argument("new", default="active")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diff(given: Path | None, old: str, new: str, *, as_json: bool) -> None:
    """What leads from list OLD to list NEW: an id of the history, a date, active or previous."""
    settings = load(given)
    section = settings.whitelist
    archive, trust = open_archive(settings), open_trust(settings)

    def read(reference: str) -> WhiteList:
        version, data = archive.load(reference)
        then = replace(trust, revocation=RevocationPolicy.OFF)
        return read_list(
            data,
            then,
            section.expected_signer,
            version.adopted_at,
            loose_department=section.loose_department,
        )

    found = compare_lists(read(old), read(new))
    rows: list[dict[str, Any]] = [{"change": "added", "domain": d} for d in found.added]
    rows += [{"change": "removed", "domain": d} for d in found.removed]
    rows += [
        {
            "change": "recertified",
            "domain": change.domain,
            "names_added": [str(name) for name in change.added],
            "names_removed": [str(name) for name in change.removed],
        }
        for change in found.recertified
    ]
    rows = [{"names_added": [], "names_removed": [], **row} for row in rows]
    show_rows(rows, ("change", "domain", "names_added", "names_removed"), as_json=as_json)


@whitelist.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(given: Path | None, *, as_json: bool) -> None:
    """The list in force and its age; exit 1 if nothing is relayed for want of one."""
    settings = load(given)
    trust_state = open_trust_state(settings, open_trust(settings))
    snapshot = trust_state.snapshot
    record: dict[str, Any] = {
        "usable": snapshot.white_list is not None,
        "state": snapshot.freshness,
        "last_check": snapshot.last_check,
        "behind": snapshot.behind,
        "newest_at": trust_state.confirmed,
        "problem": snapshot.problem or None,
    }
    if snapshot.loaded is not None:
        record |= _facts(snapshot.loaded)
    show_record(record, as_json=as_json)
    if snapshot.white_list is None:
        raise SystemExit(1)
