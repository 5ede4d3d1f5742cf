"""Command `mssante whitelist explain`: verdict on a peer or on a server, rule by rule.

It calls the same functions as sessions and deliveries, so verdict and evidence are the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import click
from cryptography.hazmat.primitives.serialization import Encoding

from mailstore.mailboxes.mailboxes import local_domains
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.client.connect import identify_server
from relay.client.routing import Target
from relay.policy import tls
from relay.policy.admission import AdmissionFacts, AdmissionFinding, Stage, examine
from relay.policy.author_rules import seen_authors
from relay.policy.recipient import Recipient
from relay.policy.server_admission import examine_server
from relay.smtp.address import parse_address
from relay.smtp.headers import HeaderFacts
from whitelist.errors import TrustFileError
from whitelist.pki.certificates import read_pem

from ..assembly import policies
from ..assembly.clock import utc_now
from ..assembly.relay import postmaster_address
from ..assembly.storage import open_store
from ..assembly.trust import open_tls, open_trust, open_trust_state
from ..settings.endpoints import split_endpoint
from ..settings.model import Settings, load
from .output import say, show_rows

_TLS = "tls"  # rule on TLS version and cipher, which need a session

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _peer_options(*, required: bool) -> Callable[[_Command], _Command]:
    """Options of `explain peer`.  `required`: whether the mandatory options are enforced."""

    def add(command: _Command) -> _Command:
        options = (
            click.option(
                "--certificate",
                type=click.Path(path_type=Path),
                required=required,
                help="Peer's certificate, PEM.",
            ),
            click.option(
                "--from", "sender", required=required, help="Envelope sender; '' for the null one."
            ),
            click.option("--header-from", help="Address in the header From."),
            click.option("--rcpt", "recipients", multiple=True, help="Recipient, may be repeated."),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _server_options(*, required: bool) -> Callable[[_Command], _Command]:
    """Options of `explain server`.  `required`: whether both are enforced."""

    def add(command: _Command) -> _Command:
        options = (
            click.option("--connect", required=required, help="Server to look at, HOST:PORT."),
            click.option("--domain", required=required, help="Recipient domain."),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return add


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@_peer_options(required=False)
@_server_options(required=False)
@_json
@click.pass_context
def explain(
    context: click.Context,
    *,
    certificate: Path | None,
    sender: str | None,
    header_from: str | None,
    recipients: tuple[str, ...],
    connect: str | None,
    domain: str | None,
    as_json: bool,
) -> None:
    """Tell the verdict on a peer or on a server, rule by rule; exit 1 if refused.

    The options here, without a command, are the older form of both commands: they work in this
    version and not in the next. Use: explain peer, explain server.
    """
    older = (certificate, sender, header_from, recipients, connect, domain, as_json)
    if context.invoked_subcommand is not None:
        if any(option not in {None, (), False} for option in older):
            raise click.UsageError(
                f"wrong place of the options; write them after: {context.invoked_subcommand}"
            )
    elif connect is not None and domain is not None:
        _explain_server(load(context.obj), connect, domain, as_json=as_json)
    elif certificate is not None and sender is not None:
        settings = load(context.obj)
        _explain_peer(settings, certificate, sender, header_from, recipients, as_json=as_json)
    else:
        raise click.UsageError(
            "options missing; add --certificate and --from, or --connect and --domain"
        )


@explain.command()
@_peer_options(required=True)
@_json
@click.pass_obj
def peer(
    given: Path | None,
    *,
    certificate: Path,
    sender: str,
    header_from: str | None,
    recipients: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell what a peer with this certificate would get, rule by rule; exit 1 if refused."""
    _explain_peer(load(given), certificate, sender, header_from, recipients, as_json=as_json)


@explain.command()
@_server_options(required=True)
@_json
@click.pass_obj
def server(given: Path | None, *, connect: str, domain: str, as_json: bool) -> None:
    """Tell whether mail for a domain may go to a server, rule by rule; exit 1 if not.

    The command connects to the server as for a delivery, up to TLS.
    """
    _explain_server(load(given), connect, domain, as_json=as_json)


def _explain_peer(
    settings: Settings,
    certificate: Path,
    sender: str,
    header_from: str | None,
    recipients: Sequence[str],
    *,
    as_json: bool,
) -> None:
    trust_state = open_trust_state(settings, open_trust(settings))
    # Without a session there is no TLS version and no cipher: that rule is left out.
    origin = asyncio.run(trust_state.identify_peer(_der(certificate), "", ""))
    attempt = AdmissionFacts(
        origin,
        policies.policy(settings),
        trust_state.snapshot.white_list,
        trust_state.snapshot.problem,
        sender_stated=True,
        sender=parse_address(sender) if sender else None,
        list_final=trust_state.snapshot.final,
    )
    if header_from:
        attempt = _with_author(settings, attempt, header_from)
    findings = [one for one in examine(attempt) if one.rule != _TLS]
    findings += _recipients(settings, attempt, recipients)
    rows = [
        {
            "rule": _TLS,
            "result": "not checked",
            "evidence": "only a session shows it: version and cipher",
            "reply": None,
        }
    ]
    rows += [
        {
            "rule": finding.rule,
            "result": _result(passed=finding.passed),
            "evidence": finding.evidence,
            "reply": str(finding.reply) if finding.reply else None,
        }
        for finding in findings
    ]
    show_rows(rows, ("rule", "result", "evidence", "reply"), as_json=as_json)
    refusal = next((finding.reply for finding in findings if finding.reply), None)
    if not as_json:
        say(f"verdict: {refusal or '250 accepted'}")
    if refusal:
        raise SystemExit(1)


def _der(certificate: Path) -> bytes:
    """First certificate of a PEM file, as DER.  Raises TrustFileError."""
    try:
        return read_pem(certificate.read_bytes())[0].public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise TrustFileError(
            certificate, f"not a PEM certificate ({error})", "give the peer's certificate as PEM"
        ) from None


def _with_author(settings: Settings, attempt: AdmissionFacts, header_from: str) -> AdmissionFacts:
    """The attempt with the domain of its header From, and whether we host that domain."""
    author = parse_address(header_from).domain
    known = attempt._replace(header=HeaderFacts(frozenset({author})))
    with closing(open_store(settings)) as store, store.database.read() as connection:
        ours = local_domains(connection)
    return known._replace(own_authors=tuple(one for one in seen_authors(known) if one in ours))


def _recipients(
    settings: Settings, attempt: AdmissionFacts, given: Sequence[str]
) -> list[AdmissionFinding]:
    if not given:
        return []
    found: list[AdmissionFinding] = []
    with closing(open_store(settings)) as store:
        directory = RecipientLookup(
            store.database, postmaster=postmaster_address(settings), now=utc_now
        )
        for text in given:
            address = parse_address(text)
            found_here = directory.find(address)
            recipient = Recipient(address, found_here.state, found_here.reports_only)
            (finding,) = examine(attempt._replace(recipient=recipient), Stage.RECIPIENT)
            found.append(finding._replace(rule=f"recipient {address.masked}"))
    return found


def _explain_server(settings: Settings, connect: str, domain: str, *, as_json: bool) -> None:
    trust = open_trust(settings)
    trust_state = open_trust_state(settings, trust)
    try:
        target = Target(*split_endpoint(connect))
    except ValueError as error:
        raise click.UsageError(f"--connect: {error}") from None
    context = open_tls(settings, tls.client_context, trust)
    shown = asyncio.run(
        identify_server(target, settings.operator.hostname, context(), trust_state.identify_peer)
    )
    snapshot = trust_state.snapshot
    findings = examine_server(shown, snapshot.white_list, snapshot.problem, domain.lower())
    rows = [
        {
            "rule": finding.rule,
            "result": _result(passed=finding.passed),
            "evidence": finding.evidence,
        }
        for finding in findings
    ]
    show_rows(rows, ("rule", "result", "evidence"), as_json=as_json)
    refused = not all(finding.passed for finding in findings)
    if not as_json:
        say(f"verdict: mail is {'held' if refused else 'handed over'}")
    if refused:
        raise SystemExit(1)


def _result(*, passed: bool) -> str:
    return "passed" if passed else "FAILED"
