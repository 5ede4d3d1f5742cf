"""Aliases: other addresses of a mailbox inside this operator.

Mail for an alias reaches its mailbox until the alias ends; from then on it is refused as for an
unknown address. An alias only receives: its mailbox sends under its own address. The address of an
alias is never given to another mailbox, even after its end. Functions take a connection in a
transaction; functions that write need `Database.write()`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from mailstore.db.schema import aliases, domains, mailboxes
from mailstore.errors import Conflict, InvalidAttribute, InvalidState, NotFound
from mailstore.mailboxes.address import address_key, parse_mailbox_address
from mailstore.mailboxes.changes import note_change
from mailstore.mailboxes.mailboxes import get_domain, get_mailbox, lock_domain
from mailstore.mailboxes.states import MailboxState


@dataclass(frozen=True, slots=True)
class Alias:
    """Another address of a mailbox; `ends_at`: mail is refused from then on, None for no end."""

    id: int
    mailbox_id: int
    local_part: str
    domain: str
    created_at: datetime
    ends_at: datetime | None

    @property
    def address(self) -> str:
        """The address for display; compare addresses by `address_key`."""
        return f"{self.local_part}@{self.domain}"


def add_alias(
    conn: Connection, mailbox: str, alias: str, *, ends_at: datetime | None, now: datetime
) -> Alias:
    """Give a mailbox another address, or an alias that has ended a new life.

    Raises InvalidAddress; NotFound for the mailbox or a domain that is not hosted; InvalidState for
    a closed mailbox, or a domain of another tenant; InvalidAttribute for an end in the past;
    Conflict for an address in use.
    """
    owner, parsed = get_mailbox(conn, mailbox), parse_mailbox_address(alias)
    if owner.state is MailboxState.CLOSED:
        raise InvalidState(f"the mailbox {owner.address} is {owner.status}: it gets no alias")
    _check_end(ends_at, now)
    domain_id = lock_domain(conn, parsed.domain)
    if get_domain(conn, parsed.domain).tenant_id != owner.tenant_id:
        raise InvalidState(f"{parsed.domain} and {owner.domain} are of different tenants")
    if conn.scalar(_MAILBOX, {"address": parsed.key}) is not None:
        raise Conflict(f"{parsed} is a mailbox, and no alias")
    known = conn.execute(_ALIAS, {"address": parsed.key}).one_or_none()
    if known is not None and (known.mailbox_id != owner.id or not _over(known.ends_at, now)):
        whose = "this" if known.mailbox_id == owner.id else "another"
        raise Conflict(f"{parsed} is or was an alias of {whose} mailbox already")
    if known is None:
        conn.execute(
            insert(aliases).values(
                mailbox_id=owner.id,
                domain_id=domain_id,
                local_part=parsed.local_part,
                address=parsed.key,
                created_at=now,
                ends_at=ends_at,
            )
        )
    else:
        conn.execute(update(aliases).where(aliases.c.id == known.id).values(ends_at=ends_at))
    note_change(conn)
    return _get(conn, parsed.key)


def end_alias(
    conn: Connection, mailbox: str, alias: str, *, ends_at: datetime, now: datetime
) -> Alias:
    """Set the end of an alias, now or later.

    Raises NotFound, InvalidAttribute for an end in the past, InvalidState for an alias that has
    ended: only `add_alias` gives it a new life, with all its checks.
    """
    owner = get_mailbox(conn, mailbox)
    known = conn.execute(_ALIAS, {"address": address_key(alias)}).one_or_none()
    if known is None or known.mailbox_id != owner.id:
        raise NotFound(f"the mailbox {owner.address} has no alias {alias}")
    if _over(known.ends_at, now):
        raise InvalidState(f"the alias {alias} ended at {known.ends_at.isoformat()}: add it again")
    _check_end(ends_at, now)
    conn.execute(update(aliases).where(aliases.c.id == known.id).values(ends_at=ends_at))
    note_change(conn)
    return _get(conn, address_key(alias))


def aliases_of(conn: Connection, mailbox_ids: Sequence[int]) -> dict[int, tuple[Alias, ...]]:
    """Return aliases by mailbox id, by address, those that have ended too."""
    found: dict[int, tuple[Alias, ...]] = {}
    asked = aliases.c.mailbox_id.in_(mailbox_ids)
    for row in conn.execute(_aliases().where(asked).order_by(aliases.c.address)):
        found[row.mailbox_id] = (*found.get(row.mailbox_id, ()), _alias(row))
    return found


def _check_end(ends_at: datetime | None, now: datetime) -> None:
    if ends_at is not None and ends_at < now:
        raise InvalidAttribute(f"the end {ends_at.isoformat()} is in the past")


def _over(ends_at: datetime | None, now: datetime) -> bool:
    return ends_at is not None and ends_at <= now


def _get(conn: Connection, key: str) -> Alias:
    return _alias(conn.execute(_ALIAS, {"address": key}).one())


def _aliases() -> Select[Any]:
    return select(aliases, domains.c.name.label("domain")).join_from(aliases, domains)


def _alias(row: Row[Any]) -> Alias:
    return Alias(row.id, row.mailbox_id, row.local_part, row.domain, row.created_at, row.ends_at)


_ALIAS = _aliases().where(aliases.c.address == bindparam("address"))
_MAILBOX = select(mailboxes.c.id).where(mailboxes.c.address == bindparam("address"))
