"""Output of commands: tables for people, JSON for programs, with the same facts.

Identifiers of patients are masked (`foundation.privacy`), control characters are escaped.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import click

from foundation.privacy import mask, mask_of
from foundation.visible_text import safe, visible, visible_json

from ..log_writer import hush

Row = Mapping[str, Any]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset | set):
        return sorted(mask(str(one)) for one in value)
    return mask(str(value))


def tell(text: str, *, err: bool = False) -> None:
    """Print a line of information.  An unusable output is ignored: the command continues."""
    stream = sys.stderr if err else sys.stdout
    try:
        click.echo(safe(text), file=stream)
    except OSError:
        hush(stream)


def masked(value: Any, own: Sequence[str] = ()) -> Any:
    """Copy of a value with identifiers of patients masked.

    `own`: addresses of the delivery; local parts at patient.mssante.fr are masked in any text.
    """
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return mask_of(value, own)
    if isinstance(value, dict):
        return {name: masked(item, own) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(masked(item, own) for item in value)
    return value


def say(text: str, *, err: bool = False) -> None:
    """Print text that may come from peers, with control characters escaped."""
    click.echo(safe(text), err=err)


def show_json(value: object) -> None:
    """Print a value as JSON."""
    text = json.dumps(masked(value), default=_plain, ensure_ascii=False, indent=2)
    click.echo(visible_json(text))


def show_rows(rows: Iterable[Row], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a table of `columns`, or the complete rows as JSON."""
    listed = list(rows)
    if as_json:
        show_json(listed)
        return
    cells = [[_cell(row[column]) for column in columns] for row in listed]
    table = [[column.upper().replace("_", " ") for column in columns], *cells]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def show_record(row: Row, *, as_json: bool) -> None:
    """Print one record, one line for each key, or as JSON."""
    if as_json:
        show_json(row)
        return
    width = max(map(len, row))
    for key, value in row.items():
        click.echo(f"{key.replace('_', ' ').ljust(width)}  {_cell(value)}")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{_cell(key)}={_cell(item)}" for key, item in value.items()) or "-"
    # Line breaks in texts of a peer or a list must not break the table.
    return visible(" ".join(mask(str(_plain(value))).split())) or "-"
