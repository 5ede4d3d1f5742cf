"""How commands print: tables for eyes, JSON for programs, always the same facts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import click

from relay.journal import mask

Row = Mapping[str, Any]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if isinstance(value, Path):
        return str(value)
    return str(value)


def masked(value: Any) -> Any:
    """The same without patients' identifiers."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {name: masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(masked, value))
    return value


def show_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def show_rows(rows: Iterable[Row], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a listing: `columns` of each row, or all of the row as JSON."""
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
    """Print one thing, a line for each of its facts."""
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
    # One line for each row, whatever a peer or a list put into a text.
    return " ".join(str(_plain(value)).split()) or "-"
