"""Criteria of a search: a tree, as IMAP (RFC 9051 §6.4.4) and JMAP (RFC 8621 §4.4.1) ask. Pure.

A door translates its own form into this one. Texts are compared as in `folded`: without regard to
case, as parts of words too; an empty text asks only that there is any.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum


class Field(Enum):
    """Texts of a message that are searched without its body."""

    SENDER = "sender"  # of the envelope
    FROM = "from"
    TO = "to"
    CC = "cc"
    BCC = "bcc"
    SUBJECT = "subject"
    ATTACHMENTS = "attachments"  # their names


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    """All of these; no criterion: every message."""

    parts: tuple["Criterion", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of these; no criterion: no message."""

    parts: tuple["Criterion", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The others."""

    part: "Criterion"


@dataclass(frozen=True, slots=True)
class Holds:
    """A field holds a text."""

    field: Field
    text: str


@dataclass(frozen=True, slots=True)
class HeaderField:
    """A header field of this name has a text in its value; an empty text: it has the field."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Body:
    """A text part has a text (RFC 9051: BODY)."""

    text: str


@dataclass(frozen=True, slots=True)
class AnyText:
    """Header or a text part have a text (RFC 9051: TEXT; RFC 8621: text)."""

    text: str


@dataclass(frozen=True, slots=True)
class Clinical:
    """The message has a class (`ClinicalFacts.classes`), such as `xdm`."""

    name: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """Internal date within a time: from `since`, to before `before`; None: without an end."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """Time it came into its folder (RFC 8514), as `Arrived`."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Day of the field Date, in its own zone, as `Arrived`; no message without that field."""

    since: date | None = None
    before: date | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Octets above `larger`, and below `smaller`; None: without a limit."""

    larger: int | None = None
    smaller: int | None = None


@dataclass(frozen=True, slots=True)
class Flagged:
    """All bits of `flags` are set (`folder_messages.flags`)."""

    flags: int


@dataclass(frozen=True, slots=True)
class Keyword:
    """The keyword of this name is set."""

    name: str


@dataclass(frozen=True, slots=True)
class Uids:
    """UID within one of the ranges, both ends included."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class InFolders:
    """In one of these folders, by id."""

    folders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MessageIds:
    """Messages with these ids (RFC 8474 §6: EMAILID)."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InThread:
    """Some message of its thread meets a criterion on flags or keywords; None: any.

    RFC 8621 §4.4.1: `someInThreadHaveKeyword` is InThread(k), `noneInThreadHaveKeyword`
    Not(InThread(k)), `allInThreadHaveKeyword` Not(InThread(Not(k))).
    """

    part: "Flagged | Keyword | Not"


@dataclass(frozen=True, slots=True)
class ThreadIds:
    """In one of these threads (RFC 8474 §6: THREADID)."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """Modification sequence of at least this (RFC 7162 §3.1.5)."""

    modseq: int


Criterion = (
    All
    | And
    | Or
    | Not
    | Holds
    | HeaderField
    | Body
    | AnyText
    | Clinical
    | Arrived
    | Saved
    | Sent
    | Size
    | Flagged
    | Keyword
    | Uids
    | InFolders
    | MessageIds
    | InThread
    | ThreadIds
    | Changed
)
