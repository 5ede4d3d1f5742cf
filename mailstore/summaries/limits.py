"""Limits of the reader: a message beyond one of them is unreadable as a whole.

Real mail stays far below them.  Each bounds work or memory that a sender could otherwise choose.
"""

from dataclasses import dataclass
from typing import Final

from mailstore.errors import MailstoreError

MAX_DEPTH: Final = 50  # multiparts and messages within each other
MAX_PARTS: Final = 1000
MAX_HEADER: Final = 256 * 1024  # octets of one header section
MAX_HEADERS: Final = 1024 * 1024  # octets of all header sections
MAX_FIELDS: Final = 2000  # header fields in one section
MAX_PARAMETERS: Final = 100  # of one field, segments of RFC 2231 §3 counted each
MAX_ADDRESSES: Final = 5000  # in one field
MAX_WORDS: Final = 10_000  # encoded words (RFC 2047) in one field
MAX_IDS: Final = 1000  # message ids in one field
MAX_DASHES: Final = 300_000  # lines that begin with `--` and are no delimiter
MAX_SAMPLES: Final = 16  # texts and reports whose first octets are kept; no error beyond


class TooMuch(MailstoreError):
    """The message exceeds a limit; never leaves the reader."""


@dataclass(slots=True)
class Budget:
    """Header octets, parts, lines and samples left for one message."""

    header_octets: int = MAX_HEADERS
    parts: int = MAX_PARTS
    dashes: int = MAX_DASHES
    samples: int = MAX_SAMPLES

    def take_header(self, octets: int) -> None:
        """Note a header section of a part."""
        self.parts -= 1
        self.header_octets -= octets
        if self.parts < 0 or self.header_octets < 0:
            raise TooMuch

    def take_dashes(self) -> None:
        """Note a line that only looks like a delimiter."""
        self.dashes -= 1
        if self.dashes < 0:
            raise TooMuch
