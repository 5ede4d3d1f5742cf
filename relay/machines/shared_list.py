"""The newest white list that any machine has adopted, in the database that all machines share.

The database is not trusted: each reader verifies the list as if it came from anywhere
(`relay.machines.list_sharing`).  A newer list is never replaced by an older one; damaged
data, which is no list for any machine, is.
"""

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, and_, func, or_, select, update

from mailstore.db.dialect import insert_or_ignore
from relay.machines.schema import shared_list
from whitelist.national.newest import SharedList
from whitelist.national.signed_file import MAX_LIST_BYTES

# A list is XML, which zlib shrinks to a quarter; a list that does not shrink still fits.
MAX_PACKED: Final = MAX_LIST_BYTES + 64 * 1024

_NONE: Final = timedelta(0)
_C: Final = shared_list.c
_HEAD: Final = select(_C.digest, _C.generated_at, _C.checked_at, _C.shrink_accepted)


class NotPacked(ValueError):
    """The octets in the database are not those of a packed list."""


@dataclass(frozen=True, slots=True)
class SharedListHead:
    """The row's facts about its list.

    `shrink_accepted` is the date of the newest list that shrank and that a person accepted; None if
    there was none.
    """

    shared: SharedList
    shrink_accepted: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListOffer:
    """A list that this machine has adopted; `shrink_accepted` if a person accepted its shrinking.

    `checked_ago`: the time since the start of the check that found it to be the newest; None
    without such a check.
    """

    digest: str
    generated_at: datetime
    data: bytes
    checked_ago: timedelta | None = None
    shrink_accepted: bool = False


def read_head(connection: Connection) -> SharedListHead | None:
    """The facts of the shared list, without its octets; None before there is a list."""
    row = connection.execute(_HEAD).one_or_none()
    if row is None:
        return None
    return SharedListHead(
        SharedList(row.digest, row.generated_at, row.checked_at), row.shrink_accepted
    )


def read_list_octets(connection: Connection, digest: str) -> bytes | None:
    """The octets of the list with this digest; None if another list is shared by now.

    Raises NotPacked; never reads more octets than a list may have.
    """
    size = connection.scalar(select(func.length(_C.compressed)).where(_C.digest == digest))
    if size is None:
        return None
    if size > MAX_PACKED:
        raise NotPacked(f"{size} octets, more than a list can have")
    packed = connection.scalar(select(_C.compressed).where(_C.digest == digest))
    return None if packed is None else unpack(packed)


def publish(
    connection: Connection, offer: ListOffer, now: datetime, *, instead_of: SharedList | None = None
) -> bool:
    """Share a list if it is newer than the shared one; True if it was shared.

    `now` is by the database's clock.  `instead_of` is damaged data, to be replaced whatever its
    date, unless another machine was faster.
    """
    ago = offer.checked_ago
    values = {
        "digest": offer.digest,
        "generated_at": offer.generated_at,
        "adopted_at": now,
        # Without a check: certainly the newest at the time that its publisher made it.
        "checked_at": min(offer.generated_at, now) if ago is None else now - max(ago, _NONE),
        "compressed": pack(offer.data),
    }
    if offer.shrink_accepted:
        values["shrink_accepted"] = offer.generated_at
    older = _C.generated_at < offer.generated_at
    if instead_of is not None:
        damaged = (_C.digest == instead_of.digest, _C.generated_at == instead_of.generated_at)
        older = or_(older, and_(*damaged))
    if connection.execute(update(shared_list).where(older).values(values)).rowcount:
        return True
    if read_head(connection) is not None:
        return False
    first = insert_or_ignore(connection, shared_list).values({"id": 1, **values})
    return bool(connection.execute(first).rowcount)


def confirm(connection: Connection, digest: str, now: datetime, ago: timedelta) -> bool:
    """Note that the shared list was found to be the newest, `ago` before `now` (see `publish`).

    The noted time never goes back, unless it lies in the future.  False if another list is shared.
    """
    at = now - max(ago, _NONE)
    later = or_(_C.checked_at < at, _C.checked_at > now)
    of_it = update(shared_list).where(_C.digest == digest, later)
    if connection.execute(of_it.values(checked_at=at)).rowcount:
        return True
    head = read_head(connection)
    return head is not None and head.shared.digest == digest


def pack(data: bytes) -> bytes:
    """The octets of a list as stored in the database."""
    return zlib.compress(data, 6)


def unpack(packed: bytes) -> bytes:
    """The octets of a list, bounded by the largest allowed size.  Raises NotPacked."""
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(packed, MAX_LIST_BYTES + 1)
    except zlib.error as error:
        raise NotPacked(f"not compressed by zlib ({error})") from error
    if len(data) > MAX_LIST_BYTES:
        raise NotPacked(f"more than {MAX_LIST_BYTES} octets when unpacked")
    if not reader.eof or reader.unused_data:
        raise NotPacked("cut off, or followed by something")
    return data
