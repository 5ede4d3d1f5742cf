"""Form of a search block: a column for each searched field, each compressed by itself. Pure.

A search by sender unpacks the column of senders alone, and looks through it as a whole: no record
is made for a message that does not match.

    version (1), messages (4), then for each column its octets (4) and its content, compressed by
    zlib (RFC 1950). Numbers are 8 octets, little-endian; message ids are 16 octets; texts are
    UTF-8, folded, a line for each message.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from mailstore.errors import SealBroken

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BI")
_LENGTH: Final = struct.Struct("<I")
_ID_OCTETS: Final = 16
LARGEST: Final = 256 * 1024 * 1024  # octets of a column, unpacked


class Text(IntEnum):
    """Columns of texts, by their place in a record."""

    SENDER = 4
    FROM = 5
    TO = 6
    CC = 7
    BCC = 8
    SUBJECT = 9
    CLINICAL = 10
    ATTACHMENTS = 11


_COLUMNS: Final = max(Text) + 1


class Record(NamedTuple):
    """A message in a search block; texts are folded (`folded`), so without line ends.

    `sent`: seconds since 1970 of the field Date, 0 if it has none; `sent_day`: ordinal of its day
    in its own zone (RFC 9051 §6.4.4), 0 if none. `sender`: of the envelope. `clinical`: class.
    """

    entry_id: int
    message_id: str
    sent: int
    sent_day: int
    sender: str = ""
    from_: str = ""
    to: str = ""
    cc: str = ""
    bcc: str = ""
    subject: str = ""
    clinical: str = ""
    attachments: str = ""


def to_octets(records: Sequence[Record]) -> bytes:
    """Octets of a block of these messages."""
    columns = list(zip(*records, strict=True)) or [()] * _COLUMNS
    parts = [
        _numbers(columns[0]),
        b"".join(map(bytes.fromhex, columns[1])),
        _numbers(columns[2]),
        _numbers(columns[3]),
        *(_lines(column) for column in columns[4:]),
    ]
    packed = [zlib.compress(part) for part in parts]
    return _HEAD.pack(_VERSION, len(records)) + b"".join(
        _LENGTH.pack(len(part)) + part for part in packed
    )


class Block:
    """A block whose columns are unpacked when they are asked for."""

    def __init__(self, octets: bytes) -> None:
        """Raises SealBroken for octets of another form."""
        try:
            version, self.count = _HEAD.unpack_from(octets)
            if version != _VERSION:
                raise SealBroken("a search block is of no form that this version reads")
            self._packed, at = [], _HEAD.size
            for _ in range(_COLUMNS):
                (length,) = _LENGTH.unpack_from(octets, at)
                at += _LENGTH.size
                self._packed.append(octets[at : at + length])
                at += length
        except struct.error:
            raise SealBroken("a search block is cut short") from None

    def message_ids(self) -> list[str]:
        """Message ids, in the order of all columns."""
        digits = self._unpacked(1).hex()
        step = 2 * _ID_OCTETS
        return [digits[at : at + step] for at in range(0, len(digits), step)]

    def message_ids_at(self, places: Sequence[int]) -> list[str]:
        """Message ids at some places, without the others."""
        octets = self._unpacked(1)
        starts = [_ID_OCTETS * place for place in places]
        return [octets[at : at + _ID_OCTETS].hex() for at in starts]

    def entry_ids(self) -> "array[int]":
        """Entry ids."""
        return self._number_column(0)

    def sent(self) -> "array[int]":
        """Times of the field Date, in seconds since 1970; 0 without it."""
        return self._number_column(2)

    def sent_days(self) -> "array[int]":
        """Ordinals of the days of the field Date; 0 without it."""
        return self._number_column(3)

    def lines(self, column: Text) -> list[str]:
        """Texts of a column."""
        return self._unpacked(column).decode("utf-8", "surrogatepass").split("\n")[: self.count]

    def holding(self, column: Text, text: bytes) -> list[int]:
        """Places of the messages whose text holds `text`, folded; any text if it is empty."""
        return lines_holding(self._unpacked(column), text)

    def records(self) -> list[Record]:
        """All records."""
        return [
            Record(*row)
            for row in zip(
                self.entry_ids(),
                self.message_ids(),
                self.sent(),
                self.sent_days(),
                *(self.lines(column) for column in Text),
                strict=True,
            )
        ]

    def _number_column(self, number: int) -> "array[int]":
        found = array("q")
        found.frombytes(self._unpacked(number))
        if sys.byteorder == "big":
            found.byteswap()
        return found

    def _unpacked(self, number: int) -> bytes:
        try:
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(self._packed[number], LARGEST)
        except zlib.error:
            raise SealBroken("a column of a search block was altered") from None
        return content


def lines_holding(lines: bytes, text: bytes) -> list[int]:
    """Numbers of the lines that hold `text`; of all lines with any text if it is empty."""
    if not text:
        return [number for number, line in enumerate(lines.split(b"\n")) if line]
    found, line, counted = [], 0, 0
    at = lines.find(text)
    while at >= 0:
        line += lines.count(b"\n", counted, at)
        found.append(line)
        counted = lines.find(b"\n", at)
        if counted < 0:
            break
        at = lines.find(text, counted)
    return found


def _numbers(column: Sequence[int]) -> bytes:
    numbers = array("q", column)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _lines(column: Sequence[str]) -> bytes:
    return "".join(f"{text}\n" for text in column).encode("utf-8", "surrogatepass")
