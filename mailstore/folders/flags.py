"""Flags of messages: a bit each, and the change that a set of flags undergoes. Pure.

System flags are RFC 9051 §2.3.2's; the keywords that it names (`$Forwarded`, …) have bits here too,
since they tell nothing of a message's content. All other keywords are the mailbox's own
(`mailstore.folders.keywords`).
"""

from collections.abc import Iterable
from enum import Enum, IntFlag
from typing import Final, NamedTuple


class Flag(IntFlag):
    """Bits of `folder_messages.flags`."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16
    FORWARDED = 32
    MDN_SENT = 64
    JUNK = 128
    NOT_JUNK = 256
    PHISHING = 512


FLAG_NAMES: Final = {
    Flag.SEEN: "\\Seen",
    Flag.ANSWERED: "\\Answered",
    Flag.FLAGGED: "\\Flagged",
    Flag.DELETED: "\\Deleted",
    Flag.DRAFT: "\\Draft",
    Flag.FORWARDED: "$Forwarded",
    Flag.MDN_SENT: "$MDNSent",
    Flag.JUNK: "$Junk",
    Flag.NOT_JUNK: "$NotJunk",
    Flag.PHISHING: "$Phishing",
}
_BY_NAME: Final = {name.lower(): flag for flag, name in FLAG_NAMES.items()}
ALL_BITS: Final = 2**63 - 1  # a column's bits: the sign stays 0


class Bits(NamedTuple):
    """Flags and keywords of a message, as bits."""

    flags: int = 0
    keywords: int = 0


class FlagMode(Enum):
    """Meaning of the flags of a change (RFC 9051 §6.4.6)."""

    ADD = "add"
    REMOVE = "remove"
    SET = "set"


class Masks(NamedTuple):
    """A change of bits: those in `keep` stay, those in `put` are set."""

    keep: Bits
    put: Bits

    def apply(self, flags: int, keywords: int) -> Bits:
        """Bits after the change."""
        return Bits(
            flags & self.keep.flags | self.put.flags,
            keywords & self.keep.keywords | self.put.keywords,
        )


def masks(mode: FlagMode, bits: Bits) -> Masks:
    """The change that adds, removes or sets these bits."""
    if mode is FlagMode.ADD:
        return Masks(Bits(ALL_BITS, ALL_BITS), bits)
    if mode is FlagMode.REMOVE:
        return Masks(Bits(ALL_BITS & ~bits.flags, ALL_BITS & ~bits.keywords), Bits())
    return Masks(Bits(), bits)


def split_names(names: Iterable[str]) -> tuple[int, list[str]]:
    """Bits of the flags known here, in any letter case, and the names of all other keywords."""
    flags, others = 0, []
    for name in names:
        flag = _BY_NAME.get(name.lower())
        if flag is None:
            others.append(name)
        else:
            flags |= flag
    return flags, others


def flag_names(flags: int) -> list[str]:
    """Names of these bits."""
    return [name for flag, name in FLAG_NAMES.items() if flags & flag]
