"""Keywords of a mailbox: up to 63, each a bit of `folder_messages.keywords`, its name sealed.

Names compare without regard to case (RFC 9051 §2.3.2), and keep the case of their first use. The
bit of a keyword that no message has may be given to another.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from mailstore.db.folder_schema import folder_messages, keywords
from mailstore.errors import InvalidName, LimitReached
from mailstore.folders.lock import MailboxLock
from mailstore.sealed.row_seal import RowSeal

MAX_KEYWORDS: Final = 63  # in a mailbox
MAX_NAME: Final = 100  # octets
# An atom (RFC 9051 §9) that is no system flag; JMAP allows a subset (RFC 8621 §4.1.1).
_NAME: Final = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,100}")

_OF_MAILBOX = select(keywords.c.bit, keywords.c.name, keywords.c.name_hash).where(
    keywords.c.mailbox_id == bindparam("mailbox")
)
_IN_USE = (
    select(folder_messages.c.keywords)
    .where(folder_messages.c.mailbox_id == bindparam("mailbox"), folder_messages.c.keywords != 0)
    .distinct()
)


@dataclass(frozen=True, slots=True)
class Keywords:
    """Names of a mailbox's keywords, by bit number."""

    names: Mapping[int, str]

    def of(self, bits: int) -> list[str]:
        """Names of these bits."""
        return [name for bit, name in self.names.items() if bits >> bit & 1]

    def bits(self, names: Iterable[str]) -> int:
        """Bits of these names, in any case; a name that the mailbox has not adds none."""
        wanted = {name.lower() for name in names}
        return sum(1 << bit for bit, name in self.names.items() if name.lower() in wanted)


class KeywordReader:
    """Reads a mailbox's keywords for a session; opens only those that have changed since."""

    def __init__(self, mailbox_id: int, seal: RowSeal) -> None:
        self._mailbox_id = mailbox_id
        self._seal = seal
        self._opened: dict[tuple[int, bytes], str] = {}

    def read(self, conn: Connection) -> Keywords:
        """The keywords now. Raises KeyMissing, SealBroken."""
        rows = conn.execute(_OF_MAILBOX, {"mailbox": self._mailbox_id})
        sealed = sorted((bit, bytes(name)) for bit, name, _ in rows)
        known, bound = self._opened, keyword_bound(self._mailbox_id)
        self._opened = {
            one: known[one] if one in known else self._seal.open(one[1], bound) for one in sealed
        }
        return Keywords({bit: name for (bit, _), name in self._opened.items()})


def keyword_bits(lock: MailboxLock, seal: RowSeal, names: Sequence[str]) -> int:
    """Bits of these keywords; those new to the mailbox are added to it.

    Raises InvalidName; LimitReached if messages have all 63 of a mailbox's keywords.
    """
    if not names:
        return 0
    rows = lock.conn.execute(_OF_MAILBOX, {"mailbox": lock.mailbox_id}).all()
    by_hash = {bytes(row.name_hash): row.bit for row in rows}
    bound, found = keyword_bound(lock.mailbox_id), 0
    missing: dict[str, str] = {}
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise InvalidName("a keyword has letters, digits and -_$.+ alone, 100 at most")
        lower = name.lower()
        bit = next((by_hash[h] for h in seal.hashes(lower, bound) if h in by_hash), None)
        if bit is None:
            missing.setdefault(lower, name)
        else:
            found |= 1 << bit
    if missing:
        free = [bit for bit in range(MAX_KEYWORDS) if bit not in by_hash.values()]
        if len(free) < len(missing):
            free += _freed(lock, set(by_hash.values()), found)
        if len(free) < len(missing):
            raise LimitReached(f"a mailbox has {MAX_KEYWORDS} keywords at most")
        for bit, (lower, name) in zip(free, missing.items(), strict=False):
            _add(lock, seal, bit, lower, name)
            found |= 1 << bit
    return found


def find_keyword_bits(lock: MailboxLock, seal: RowSeal, names: Iterable[str]) -> int:
    """Bits of those of the keywords that the mailbox has."""
    return KeywordReader(lock.mailbox_id, seal).read(lock.conn).bits(names)


def _freed(lock: MailboxLock, taken: set[int], wanted: int) -> list[int]:
    used = wanted
    for bits in lock.conn.scalars(_IN_USE, {"mailbox": lock.mailbox_id}):
        used |= bits
    free = [bit for bit in sorted(taken) if not used >> bit & 1]
    lock.conn.execute(
        delete(keywords).where(keywords.c.mailbox_id == lock.mailbox_id, keywords.c.bit.in_(free))
    )
    return free


def _add(lock: MailboxLock, seal: RowSeal, bit: int, lower: str, name: str) -> None:
    bound = keyword_bound(lock.mailbox_id)
    lock.conn.execute(
        insert(keywords).values(
            mailbox_id=lock.mailbox_id,
            bit=bit,
            name=seal.seal(name, bound),
            name_hash=seal.hash(lower, bound),
        )
    )


def keyword_bound(mailbox_id: int) -> bytes:
    """Facts that the names of a mailbox's keywords are bound to."""
    return b"keyword of %d" % mailbox_id
