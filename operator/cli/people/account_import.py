"""Command `mssante account import`: accounts from a table, all or none."""

from pathlib import Path
from typing import IO

import click

from mailstore.accounts.bulk import (
    COLUMNS,
    REQUIRED,
    AccountLine,
    add_lines,
    check_lines,
    read_lines,
)
from mailstore.mailbox_import.csv_form import LARGEST, read_csv

from ...services.acts import Act, open_act
from ...settings.identifiers import luhn_kinds
from ...settings.model import load
from ..output import say
from .options import OWN_TENANT


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--tenant", default=OWN_TENANT, show_default=True, help="Tenant of lines that name none."
)
@click.option("--dry-run", is_flag=True, help="Check and report; add nothing.")
@click.pass_obj
def account_import(given: Path | None, file: IO[bytes], tenant: str, *, dry_run: bool) -> None:
    """Add the accounts of the table FILE (CSV): all of them, or none if one line is wrong.

    Needed columns: login, family_name.  Others: given_name, tenant, kind (person, software), rpps,
    adeli, psi, groups (names with | between).
    """
    settings = load(given)
    rows = read_csv(file.read(LARGEST + 1), COLUMNS, REQUIRED)
    lines = read_lines(rows, tenant, luhn=luhn_kinds(settings))
    with open_act(settings) as act:
        if dry_run:
            with act.store.database.read() as connection:
                checked = check_lines(connection, lines)
        else:
            checked = _add(act, lines)
    wrong = sum(one.fault is not None for one in checked)
    done = "would be added" if dry_run else "added"
    if wrong and not dry_run:
        done = "not added, as other lines are wrong"
    for one in checked:
        say(f"line {one.line}: {one.login}: {one.fault or done}")
    if wrong:
        raise click.ClickException(f"{wrong} of {len(checked)} lines are wrong: nothing is added")
    click.echo(f"{len(checked)} accounts {done}", err=True)


def _add(act: Act, lines: list[AccountLine]) -> list[AccountLine]:
    """Add all, or none if one is wrong; returns the lines with their faults."""
    with act.write() as change:
        checked = check_lines(change.connection, lines)
        if any(one.fault for one in checked):
            return checked
        add_lines(change.connection, checked, act.clock())
        for one in checked:
            change.audit(
                "account.added",
                subject=one.login,
                tenant=one.tenant_id,
                kind=one.kind.value,
                identifiers=", ".join(map(str, one.identifiers)) or None,
            )
    return checked
