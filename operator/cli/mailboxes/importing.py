"""Command `mssante mailbox import`: mailboxes added and changed in bulk from CSV."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Final

import click

from foundation.privacy import mask
from mailstore.mailbox_import.bulk import carry_out, load_known
from mailstore.mailbox_import.csv_form import LARGEST, CsvLine, read_csv
from mailstore.mailbox_import.import_plan import (
    COLUMNS,
    REQUIRED,
    Action,
    Known,
    PlannedLine,
    plan,
)
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind
from mailstore.mailboxes.mailboxes import list_domains
from mailstore.rights.model import Action as Asked
from mailstore.scope.model import Scope

from ...services.acts import Act, ActTransaction
from ...services.list_tie import untied
from ...services.permission import NotAllowed, Permission
from ...settings.identifiers import luhn_kinds
from ...settings.model import Settings, load
from ..acting import Acting, acting
from ..output import show_rows, tell

_NAMED: Final = 20  # lines that an audit row names


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Check each line and report; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def import_mailboxes(
    given: Path | None, /, file: IO[bytes], who: Acting, *, dry_run: bool, as_json: bool
) -> None:
    """Add and change mailboxes by the lines of FILE (- for standard input), all or none.

    CSV in UTF-8, separated by , or ; with the names of its columns in the first line: address,
    type, rpps, adeli, finess, siren, siret, rpps_rang, holders (RPPS, separated by blanks),
    description, service, responsible, red_list, rank, no_reply (yes or no), quota. A line whose
    address exists changes it. An empty cell leaves all as it is, - takes the value away.

    Each line is reported; if one is refused, nothing is changed, and the exit code is 1.
    """
    lines = read_csv(file.read(LARGEST + 1), COLUMNS, REQUIRED)
    settings = load(given)
    planned = (_planned if dry_run else _imported)(who, settings, lines)
    rows = [
        {"line": line.number, "address": line.address, "action": line.action, "detail": line.detail}
        for line in planned
    ]
    show_rows(rows, ("line", "address", "action", "detail"), as_json=as_json)
    counts = Counter(line.action for line in planned)
    said = ", ".join(f"{counts[action]} {action}" for action in Action)
    refused = counts[Action.REFUSE] > 0
    tell(f"{len(planned)} lines: {said}{_ending(dry_run=dry_run, refused=refused)}", err=True)
    for domain in sorted({line.parsed.domain for line in planned if line.parsed is not None}):
        if problem := untied(settings, domain):
            tell(f"warning: {problem}", err=True)
    if refused:
        raise SystemExit(1)


def _planned(who: Acting, settings: Settings, lines: Sequence[CsvLine]) -> list[PlannedLine]:
    with who.look(settings) as reader:
        with reader.read() as seen:
            planned, known, scope = _plan(seen, settings, lines, lock=False)
        if reader.act is not None:
            _note_outside(reader.act, planned, known, scope)
    return planned


def _imported(who: Acting, settings: Settings, lines: Sequence[CsvLine]) -> list[PlannedLine]:
    """Plan and carry out in one transaction; a plan with a refusal changes nothing.

    A first plan keeps a wrong file from holding up arriving mail.
    """
    with who.open(settings) as act:
        with act.read() as seen:
            planned, known, scope = _plan(seen, settings, lines, lock=False)
        if not _refused(planned):
            with act.write() as change:
                planned, known, scope = _plan(change, settings, lines, lock=True)
                change.refuse_own_identifiers(
                    Identifier(IdentifierKind.RPPS, rpps)
                    for line in planned
                    if line.action is Action.CHANGE
                    for rpps in line.holders or ()
                )
                if not _refused(planned):
                    carry_out(change.connection, planned, act.clock())
                    _audit(change, planned)
        _note_outside(act, planned, known, scope)
    return planned


def _plan(
    seen: Permission, settings: Settings, lines: Sequence[CsvLine], *, lock: bool
) -> tuple[list[PlannedLine], Known, Scope]:
    scope = seen.scope(Asked.ADMINISTER)
    luhn = luhn_kinds(settings)
    known = load_known(seen.connection, lines, luhn, lock=lock, scope=scope)
    return plan(lines, known), known, scope


def _refused(planned: Iterable[PlannedLine]) -> bool:
    return any(line.action is Action.REFUSE for line in planned)


def _note_outside(act: Act, planned: Iterable[PlannedLine], known: Known, scope: Scope) -> None:
    """Audit that an account named domains for which it has no role.

    A domain that is not hosted looks the same, but not to an account with a role for the whole.
    """
    if scope.whole:
        return
    outside = [
        str(line.number)
        for line in planned
        if line.action is Action.REFUSE
        and "@" in line.address
        and address_key(line.address).rpartition("@")[2] not in known.domains
    ]
    if outside:
        named = ", ".join(outside[:_NAMED]) + (" …" if len(outside) > _NAMED else "")
        why = f"{act.name} has no role for the domains of the lines {named}"
        act.refused(NotAllowed(why, tenant=scope.home))


def _audit(change: ActTransaction, planned: Iterable[PlannedLine]) -> None:
    tenants = {one.name: one.tenant_id for one in list_domains(change.connection)}
    events = {Action.ADD: "mailbox.added", Action.CHANGE: "mailbox.changed"}
    for line in planned:
        if line.action not in events:
            continue
        key = address_key(line.address)
        change.audit(
            events[line.action],
            mailbox=key,
            tenant=tenants.get(key.rpartition("@")[2]),
            line=line.number,
            **_facts(line),
        )


def _facts(line: PlannedLine) -> dict[str, Any]:
    facts: dict[str, Any] = {
        attribute.value: mask(value) if isinstance(value, str) else value
        for attribute, value in line.attributes.items()
    }
    if line.type is not None:
        facts |= {"type": line.type.value, "identifier": str(line.identifier)}
    if line.structure is not None:
        facts["structure"] = str(line.structure)
    if line.holders is not None:
        facts["holders"] = " ".join(line.holders) or "none"
    if line.sets_quota:
        facts["quota"] = "none" if line.quota is None else line.quota
    return facts


def _ending(*, dry_run: bool, refused: bool) -> str:
    if refused:
        return "; nothing is changed"
    return "; nothing is changed in a dry run" if dry_run else ""
