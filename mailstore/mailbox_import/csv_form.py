"""CSV files that people make: header line, UTF-8 with or without BOM, `,` or `;`. Pure.

Strict: a column that is not known, named twice or lacking is an error of the file; a line with a
wrong number of cells is an error of the line. A cell in double quotes may have separators and line
ends.
"""

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from mailstore.errors import MailstoreError

LARGEST: Final = 64 * 1024 * 1024  # octets of a file


class InvalidCsv(MailstoreError):
    """A file that cannot be read as CSV with these columns; the message names the line."""


@dataclass(frozen=True, slots=True)
class CsvLine:
    """A line: number at which it begins, cells by column, stripped. `problem`: why it has none."""

    number: int
    cells: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def read_csv(octets: bytes, columns: Sequence[str], required: Collection[str]) -> list[CsvLine]:
    """Read the lines of a file; empty lines are left out. Raises InvalidCsv.

    `columns` are the known names, of which the header must have the `required` ones. Its names may
    be in any order and letter case, with `-` or `_`. The separator is that of the header.
    """
    text = _decoded(octets)
    separator = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = _rows(reader)
    _, header = next(rows, (1, []))
    names = [name.strip().lower().replace("-", "_") for name in header]
    _check_header(names, columns, required)
    lines = []
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(names):
            problem = f"{len(cells)} cells, and the header names {len(names)}"
            lines.append(CsvLine(number, problem=problem))
        else:
            lines.append(CsvLine(number, dict(zip(names, cells, strict=True))))
    return lines


def _decoded(octets: bytes) -> str:
    if len(octets) > LARGEST:
        raise InvalidCsv(f"the file has {len(octets)} octets, and {LARGEST} are the most")
    if b"\0" in octets:
        # No cell may have it, and PostgreSQL could not even be asked for it.
        line = octets.count(b"\n", 0, octets.index(b"\0")) + 1
        raise InvalidCsv(f"line {line} has a NUL octet: save the file as CSV UTF-8")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise InvalidCsv(
            f"line {line} is not UTF-8: save the file as CSV UTF-8, or run: "
            "iconv -f windows-1252 -t utf-8"
        ) from error


class _Reader(Protocol):
    """A reader of the csv module."""

    line_num: int

    def __next__(self) -> list[str]: ...


def _rows(reader: _Reader) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the number of their first line."""
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidCsv(f"line {number} is not CSV: {error}") from error
        yield number, row


def _check_header(names: Sequence[str], columns: Sequence[str], required: Collection[str]) -> None:
    known = ", ".join(columns)
    for name in names:
        if name not in columns:
            raise InvalidCsv(f"the column {name!r} is not known; known: {known}")
        if names.count(name) > 1:
            raise InvalidCsv(f"the column {name!r} is named twice")
    for name in required:
        if name not in names:
            raise InvalidCsv(f"the column {name!r} is lacking in the first line; known: {known}")
