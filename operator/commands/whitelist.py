"""Commands on the national white list: verify, explain, status."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailstore.database import Database
from relay.address import parse_address
from relay.admission import Attempt, Finding, Recipient, Stage, examine
from relay.directory import Directory
from relay.headers import HeaderFacts
from whitelist.certificates import read_pem
from whitelist.errors import ListRefused, TrustFileError
from whitelist.loading import load_file
from whitelist.lookup import WhiteList
from whitelist.trust import TrustStore

from .. import runtime
from ..output import show_record, show_rows
from ..settings import load

SIGNER = "alb.mssante.fr"


@click.group()
def whitelist() -> None:
    """The national white list."""


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
    """Sort authorities from PEM files: self-signed ones are anchors, the others intermediates."""
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
        raise click.UsageError("--trust: no root among these certificates; add the root's PEM file")
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
    moment = _moment(at) if at else runtime.clock()
    if trust_files:
        trust, expected = _trust(trust_files), signer or SIGNER
    else:
        settings = load(given)
        trust, expected = runtime.open_trust(settings), signer or settings.whitelist.signer
    try:
        found = load_file(file, trust, expected, moment)
    except ListRefused as refused:
        record = {"valid": False, "reason": refused.reason.value, "detail": refused.detail}
        show_record(record, as_json=as_json)
        raise SystemExit(1) from None
    show_record({"valid": True, "reason": None, **_facts(found)}, as_json=as_json)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--at: {text!r} is not a time like 2025-03-01T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@whitelist.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(given: Path | None, *, as_json: bool) -> None:
    """What the configured list says now; exit 1 if it could not be used."""
    settings = load(given)
    snapshot = runtime.open_perimeter(settings, runtime.open_trust(settings)).snapshot
    record: dict[str, Any] = {"file": settings.path(settings.whitelist.file)}
    if snapshot.white_list is None:
        show_record({**record, "usable": False, "problem": snapshot.problem}, as_json=as_json)
        raise SystemExit(1)
    age = runtime.clock() - snapshot.white_list.generated_at
    record |= {"usable": True, "age_hours": round(age.total_seconds() / 3600, 1)}
    show_record({**record, **_facts(snapshot.white_list)}, as_json=as_json)


@whitelist.command()
@click.option("--certificate", required=True, type=click.Path(path_type=Path), help="Peer's PEM.")
@click.option("--from", "sender", required=True, help="Envelope sender; '' for the null sender.")
@click.option("--header-from", help="Address in the header From.")
@click.option("--rcpt", "recipients", multiple=True, help="Recipient, may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def explain(
    given: Path | None,
    certificate: Path,
    sender: str,
    header_from: str | None,
    recipients: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Tell what a peer with this certificate would get, rule by rule; exit 1 if refused."""
    settings = load(given)
    perimeter = runtime.open_perimeter(settings, runtime.open_trust(settings))
    try:
        shown = read_pem(certificate.read_bytes())[0]
    except (OSError, ValueError) as error:
        raise TrustFileError(
            certificate, f"not a PEM certificate ({error})", "give the peer's certificate as PEM"
        ) from None
    peer = perimeter.identify(shown.public_bytes(Encoding.DER), "TLS", "as agreed")
    attempt = Attempt(
        peer,
        runtime.policy(settings),
        perimeter.snapshot.white_list,
        perimeter.snapshot.problem,
        sender_stated=True,
        sender=parse_address(sender) if sender else None,
    )
    if header_from:
        domain = parse_address(header_from).domain
        attempt = replace(attempt, header=HeaderFacts(frozenset({domain})))
    findings = list(examine(attempt))
    if recipients:
        with closing(runtime.open_store(settings)) as store:
            findings += _recipients(attempt, store.database, recipients)
    rows = [
        {
            "rule": finding.rule,
            "result": "passed" if finding.passed else "FAILED",
            "evidence": finding.evidence,
            "reply": str(finding.reply) if finding.reply else None,
        }
        for finding in findings
    ]
    show_rows(rows, ("rule", "result", "evidence", "reply"), as_json=as_json)
    refusal = next((finding.reply for finding in findings if finding.reply), None)
    if not as_json:
        click.echo(f"verdict: {refusal or '250 accepted'}")
    if refusal:
        raise SystemExit(1)


def _recipients(attempt: Attempt, database: Database, given: tuple[str, ...]) -> list[Finding]:
    directory = Directory(database)
    found: list[Finding] = []
    for text in given:
        address = parse_address(text)
        recipient = Recipient(address, directory.find(address).state)
        (finding,) = examine(replace(attempt, recipient=recipient), Stage.RECIPIENT)
        found.append(replace(finding, rule=f"recipient {address.masked}"))
    return found
