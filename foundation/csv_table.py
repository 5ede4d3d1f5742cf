"""Tables in CSV, as spreadsheets write them, read strictly. Pure.

UTF-8 with or without a byte order mark; `,` or `;` between values (French spreadsheets write `;`);
the first line names the columns. Nothing is guessed: an unknown column, a column twice, a missing
one, another encoding are refused. A line with a wrong number of values has a fault of its own, so
that all lines can be reported at once.
"""

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from foundation.visible_text import visible

MOST_OCTETS: Final = 32 * 1024 * 1024
_BETWEEN: Final = (";", ",")
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


class TableFault(Exception):
    """A file that is no such table; the message says where and why."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line: its number in the file, its values by column (stripped), or what is wrong with it.

    Columns that the file does not have are absent.
    """

    line: int
    values: dict[str, str]
    fault: str | None = None


def read_table(octets: bytes, needed: Collection[str], optional: Collection[str]) -> list[TableRow]:
    """Read a table; empty lines are left out. Raises TableFault."""
    if len(octets) > MOST_OCTETS:
        raise TableFault(f"{len(octets)} octets are too many: split it, at most {MOST_OCTETS}")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise TableFault(
            f"line {line} is not UTF-8: save it as CSV UTF-8, or run: "
            "iconv -f windows-1252 -t utf-8"
        ) from error
    lines = _LINE_END.split(text)
    if not lines[0].strip():
        raise TableFault("it is empty: the first line names the columns")
    header, between = _header(lines[0], needed, optional)
    return [
        _row(number, line, header, between)
        for number, line in enumerate(lines[1:], 2)
        if line.strip(f"{between} \t")
    ]


def _header(line: str, needed: Collection[str], optional: Collection[str]) -> tuple[list[str], str]:
    between = max(_BETWEEN, key=line.count)
    found = _split(line, between)
    if isinstance(found, str):
        raise TableFault(f"line 1: {found}")
    names = [name.lower() for name in found]
    known = {*needed, *optional}
    for name in names:
        if name not in known:
            raise TableFault(
                f"line 1: unknown column {name!a}; known are {', '.join([*needed, *optional])}"
            )
        if names.count(name) > 1:
            raise TableFault(f"line 1: the column {name} is there twice")
    missing = [name for name in needed if name not in names]
    if missing:
        raise TableFault(f"line 1: the column {missing[0]} is missing")
    return names, between


def _row(number: int, line: str, header: Sequence[str], between: str) -> TableRow:
    found = _split(line, between)
    if isinstance(found, str):
        return TableRow(number, {}, found)
    if len(found) != len(header):
        fault = f"{len(found)} values for {len(header)} columns"
        return TableRow(number, {}, fault)
    return TableRow(number, dict(zip(header, found, strict=True)))


def _split(line: str, between: str) -> list[str] | str:
    """The values of a line, stripped; or its fault."""
    try:
        (found,) = csv.reader([line], delimiter=between, strict=True)
    except (csv.Error, ValueError):
        return "its quotation marks are wrong, or a value is too long; no value has a line break"
    values = [value.strip() for value in found]
    hidden = next((value for value in values if visible(value) != value), None)
    return values if hidden is None else f"{hidden!a} has characters that cannot be seen"
