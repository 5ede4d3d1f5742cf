"""Command `mssante account export`: all that is kept about a person (RGPD, article 15)."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from foundation.visible_text import visible_json
from mailstore.accounts.accounts import get_account
from mailstore.accounts.export import Section, export_account

from ...services.acts import open_act
from ...settings.model import load
from ..options.private_file import PrivateFile
from ..output import masked


@click.command("export")
@click.argument("login")
@click.option(
    "--output",
    type=PrivateFile(),
    default="-",
    help="File to write, for its owner alone. [standard output]",
)
@click.pass_obj
def account_export(given: Path | None, login: str, output: Any) -> None:
    """Write all that is kept about LOGIN as JSON: for the person, who may ask for it (RGPD).

    With the audit rows by and about the person.  Without secrets, and without mail, which is
    exported from the mailbox: mssante message export.
    """
    with open_act(load(given)) as act:
        with act.store.database.read() as connection:
            found = get_account(connection, login)
        act.audit("account.exported", subject=found.login, tenant=found.tenant_id)
        with act.store.database.read() as connection:
            for piece in _json(export_account(connection, found)):
                output.write(piece.encode())
        output.flush()


def _json(sections: Iterator[Section]) -> Iterator[str]:
    """A JSON object with a list for each section, a line for each row."""
    yield "{"
    for number, (name, rows) in enumerate(sections):
        yield f'{"," if number else ""}\n"{name}": ['
        for place, row in enumerate(rows):
            text = json.dumps(masked(row), default=_plain, ensure_ascii=False)
            yield f"{',' if place else ''}\n  {visible_json(text)}"
        yield "\n]"
    yield "\n}\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a column of the type {type(value).__name__} is not exported")
