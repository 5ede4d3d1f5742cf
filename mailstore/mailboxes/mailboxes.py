"""Domains and mailboxes (BAL): adding, listing, finding, suspending, limiting.

Rules: a BAL is of type PER, ORG, APP or CAB and has a national identifier that its type allows
(DOMAIN §1.3, §9.32). Address and type never change (§9.33): there is no function for it, and the
database refuses it. The address is unique (§9.34). Functions take a connection in a transaction;
functions that write need `Database.write()`.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.schema import domains, entries, mailbox_changes, mailboxes, messages
from mailstore.errors import Conflict, InvalidState, NotFound
from mailstore.mailboxes.address import address_key, parse_domain, parse_mailbox_address
from mailstore.mailboxes.identifiers import (
    Identifier,
    MailboxType,
    check_attachment,
    read_stored,
    stored_kind,
)
from mailstore.mailboxes.states import MailboxState

_USED = func.sum(messages.c.size)


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain that this operator hosts; the name is in lower case."""

    id: int
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A BAL; local part as given; quota in octets, None for no limit."""

    id: int
    local_part: str
    domain: str
    type: MailboxType
    state: MailboxState
    identifier: Identifier
    description: str | None
    created_at: datetime
    quota: int | None = None

    @property
    def address(self) -> str:
        """The address for display; compare addresses by `address_key`."""
        return f"{self.local_part}@{self.domain}"


def add_domain(conn: Connection, name: str, *, now: datetime) -> Domain:
    """Add a domain to host. Raises InvalidAddress; Conflict for a hosted domain."""
    domain = parse_domain(name)
    row = conn.execute(
        insert_or_ignore(conn, domains)
        .values(name=domain, created_at=now)
        .returning(domains.c.id, domains.c.created_at)
    ).one_or_none()
    if row is None:
        raise Conflict(f"the domain {domain} is hosted already")
    return Domain(row.id, domain, row.created_at)


def list_domains(conn: Connection) -> list[Domain]:
    """List the hosted domains by name."""
    columns = (domains.c.id, domains.c.name, domains.c.created_at)
    return [Domain(*row) for row in conn.execute(select(*columns).order_by(domains.c.name))]


def get_domain(conn: Connection, name: str) -> Domain:
    """Find a hosted domain, in any letter case. Raises NotFound."""
    columns = (domains.c.id, domains.c.name, domains.c.created_at)
    row = conn.execute(select(*columns).where(domains.c.name == name.lower())).one_or_none()
    if row is None:
        raise NotFound(f"the domain {name} is not hosted here")
    return Domain(*row)


def local_domains(conn: Connection) -> frozenset[str]:
    """Return the names of the hosted domains, in lower case."""
    return frozenset(conn.scalars(select(domains.c.name)))


def is_local_domain(conn: Connection, name: str) -> bool:
    """True if we host the domain, in any letter case."""
    return _domain_id(conn, name.lower()) is not None


def add_mailbox(
    conn: Connection,
    address: str,
    mailbox_type: MailboxType,
    identifier: Identifier,
    *,
    description: str | None = None,
    quota: int | None = None,
    now: datetime,
) -> Mailbox:
    """Open a mailbox, active at once, on a hosted domain.

    Raises InvalidAddress; InvalidIdentifier for a kind that the type does not allow; NotFound for a
    domain that is not hosted; Conflict for an address in use, even by a closed mailbox: the mail of
    a holder must never reach another.
    """
    parsed = parse_mailbox_address(address)
    check_attachment(mailbox_type, identifier)
    domain_id = _domain_id(conn, parsed.domain)
    if domain_id is None:
        raise NotFound(f"the domain {parsed.domain} is not hosted here: add it first")
    added = conn.scalar(
        insert_or_ignore(conn, mailboxes)
        .values(
            domain_id=domain_id,
            local_part=parsed.local_part,
            address=parsed.key,
            type=mailbox_type.value,
            state=MailboxState.ACTIVE.value,
            identifier_kind=stored_kind(identifier),
            identifier_value=identifier.value,
            description=description,
            created_at=now,
            quota=quota,
        )
        .returning(mailboxes.c.id)
    )
    if added is None:
        raise Conflict(f"the mailbox {parsed} exists already")
    _note_change(conn)  # its number may have been a mailbox's that a fail-over lost
    return get_mailbox(conn, str(parsed))


def list_mailboxes(conn: Connection, domain: str | None = None) -> list[Mailbox]:
    """List all mailboxes, or those of a domain, by address. Raises NotFound for the domain."""
    query = _of_domain(conn, _mailboxes(), domain).order_by(mailboxes.c.address)
    return [_mailbox(row) for row in conn.execute(query)]


def get_mailbox(conn: Connection, address: str) -> Mailbox:
    """Find a mailbox in any state. Raises NotFound."""
    found = resolve(conn, [address]).get(address)
    if found is None:
        raise NotFound(f"there is no mailbox {address}")
    return found


def resolve(conn: Connection, addresses: Iterable[str]) -> dict[str, Mailbox]:
    """Find the mailboxes of many recipients by a single query, in any state.

    Keys are the addresses as given, well-formed or not; addresses without a mailbox are absent.
    """
    keys = {address: address_key(address) for address in addresses}
    if not keys:
        return {}
    rows = conn.execute(_RESOLVED, {"addresses": list(set(keys.values()))})
    found = {row.address: _mailbox(row) for row in rows}
    return {address: found[key] for address, key in keys.items() if key in found}


def set_state(conn: Connection, address: str, state: MailboxState) -> Mailbox:
    """Suspend, resume or close a mailbox; no error if it has this state already.

    Raises NotFound, and InvalidState for a closed mailbox, which stays closed.
    """
    mailbox = get_mailbox(conn, address)
    changed = conn.execute(
        update(mailboxes)
        .where(mailboxes.c.id == mailbox.id)
        .where((mailboxes.c.state != MailboxState.CLOSED.value) | (state is MailboxState.CLOSED))
        .values(state=state.value)
    )
    if not changed.rowcount:
        raise InvalidState(f"the mailbox {mailbox.address} is closed, which is final")
    _note_change(conn)
    return get_mailbox(conn, address)


def set_quota(conn: Connection, address: str, quota: int | None) -> Mailbox:
    """Set the quota of a mailbox, in octets (None: no limit). Raises NotFound.

    Present messages stay, even beyond the quota.
    """
    mailbox = get_mailbox(conn, address)
    conn.execute(update(mailboxes).where(mailboxes.c.id == mailbox.id).values(quota=quota))
    _note_change(conn)
    return get_mailbox(conn, address)


def change_number(conn: Connection) -> int:
    """A number that changes with each change (not addition) of a mailbox."""
    return int(conn.scalar(_CHANGE_NUMBER) or 0)


@dataclass(frozen=True, slots=True)
class Usage:
    """Octets of a mailbox's messages, up to and including the entry `last`."""

    octets: int = 0
    last: int = 0


def used_octets(conn: Connection, mailbox_id: int, known: Usage = Usage()) -> Usage:
    """Sum the sizes of a mailbox's messages; only those after `known` are read."""
    octets, last = conn.execute(_USED_SINCE, {"mailbox": mailbox_id, "after": known.last}).one()
    return Usage(known.octets + int(octets or 0), last or known.last)


def used_by_mailbox(conn: Connection, domain: str | None = None) -> dict[int, int]:
    """Sum sizes by mailbox id, for mailboxes with messages. Raises NotFound for the domain."""
    query = select(entries.c.mailbox_id, _USED).join_from(entries, messages)
    if domain is not None:
        query = _of_domain(conn, query.join(mailboxes), domain)
    return {row[0]: int(row[1]) for row in conn.execute(query.group_by(entries.c.mailbox_id))}


def _note_change(conn: Connection) -> None:
    # A random step: after a fail-over to a lagging standby, a new change gives another number than
    # the lost change, and no process continues with lost mailboxes in its cache.
    step = 1 + secrets.randbelow(_LONGEST_STEP)
    conn.execute(update(mailbox_changes).values(number=mailbox_changes.c.number + step))


def _of_domain(conn: Connection, query: Select[Any], name: str | None) -> Select[Any]:
    """Restrict to the mailboxes of a domain; None: all. Raises NotFound."""
    if name is None:
        return query
    domain_id = _domain_id(conn, name.lower())
    if domain_id is None:
        raise NotFound(f"the domain {name} is not hosted here")
    return query.where(mailboxes.c.domain_id == domain_id)


def _domain_id(conn: Connection, name: str) -> int | None:
    return conn.scalar(_DOMAIN_ID, {"name": name})


def _mailboxes() -> Select[Any]:
    return select(mailboxes, domains.c.name.label("domain")).join_from(mailboxes, domains)


_LONGEST_STEP: Final = 2**32  # the column holds two thousand million of these
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_CHANGE_NUMBER = select(mailbox_changes.c.number)
_DOMAIN_ID = select(domains.c.id).where(domains.c.name == bindparam("name"))
_USED_SINCE = (
    select(_USED, func.max(entries.c.id))
    .join_from(entries, messages)
    .where(entries.c.mailbox_id == bindparam("mailbox"), entries.c.id > bindparam("after"))
)
_RESOLVED = _mailboxes().where(mailboxes.c.address.in_(bindparam("addresses", expanding=True)))


def _mailbox(row: Row[Any]) -> Mailbox:
    return Mailbox(
        id=row.id,
        local_part=row.local_part,
        domain=row.domain,
        type=MailboxType(row.type),
        state=MailboxState(row.state),
        identifier=read_stored(row.identifier_kind, row.identifier_value),
        description=row.description,
        created_at=row.created_at,
        quota=row.quota,
    )
