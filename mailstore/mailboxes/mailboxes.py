"""Domains and mailboxes (BAL): adding, listing, finding, changing, limiting.

Rules: a BAL is of type PER, ORG, APP or CAB and has a national identifier that its type allows
(DOMAIN §1.3, §9.32). Address and type never change (§9.33): there is no function for it, and the
database refuses it. The address is unique (§9.34), among aliases too. Functions take a connection
in a transaction; functions that write need `Database.write()`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, select, update

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.db.schema import aliases, domains, mailboxes
from mailstore.errors import Conflict, InvalidState, NotFound
from mailstore.mailboxes.address import address_key, parse_domain, parse_mailbox_address
from mailstore.mailboxes.attributes import Attribute, Value, Values, check_values
from mailstore.mailboxes.changes import note_change
from mailstore.mailboxes.filter import EVERY, MailboxFilter
from mailstore.mailboxes.identifiers import (
    Identifier,
    MailboxType,
    check_attachment,
    check_structure,
    read_stored,
    stored_kind,
)
from mailstore.mailboxes.model import Domain, Mailbox
from mailstore.mailboxes.states import InboundMail, MailboxState
from mailstore.scope.conditions import domain_within
from mailstore.scope.model import WHOLE, Scope

_NOTHING: Final[Mapping[Attribute, Value]] = MappingProxyType({})


def add_domain(conn: Connection, name: str, *, now: datetime) -> Domain:
    """Add a domain to host, or host a removed one again; it is the operator's own tenant's.

    Raises InvalidAddress; Conflict for a hosted domain.
    """
    domain = parse_domain(name)
    row = conn.execute(
        insert_or_ignore(conn, domains).values(name=domain, created_at=now).returning(*_DOMAIN)
    ).one_or_none()
    if row is None:
        removed = (domains.c.name == domain, domains.c.removed_at.is_not(None))
        row = conn.execute(
            update(domains)
            .where(*removed)
            .values(removed_at=None, tenant_id=OPERATOR_TENANT, quota=None, quota_told=0)
            .returning(*_DOMAIN)
        ).one_or_none()
    if row is None:
        raise Conflict(f"the domain {domain} is hosted already")
    return Domain(*row)


def list_domains(conn: Connection, scope: Scope = WHOLE) -> list[Domain]:
    """List the hosted domains within a scope by name."""
    query = select(*_DOMAIN).where(_HOSTED, *domain_within(scope)).order_by(domains.c.name)
    return [Domain(*row) for row in conn.execute(query)]


def get_domain(conn: Connection, name: str) -> Domain:
    """Find a hosted domain, in any letter case. Raises NotFound."""
    row = conn.execute(
        select(*_DOMAIN).where(domains.c.name == name.lower(), _HOSTED)
    ).one_or_none()
    if row is None:
        raise NotFound(f"the domain {name} is not hosted here")
    return Domain(*row)


def local_domains(conn: Connection) -> frozenset[str]:
    """Return the names of the hosted domains, in lower case."""
    return frozenset(conn.scalars(select(domains.c.name).where(_HOSTED)))


def is_local_domain(conn: Connection, name: str) -> bool:
    """True if we host the domain, in any letter case."""
    return _domain_id(conn, name.lower()) is not None


def lock_domain(conn: Connection, name: str) -> int:
    """Lock a hosted domain until the transaction ends; return its id. Raises NotFound.

    Under this lock an address of the domain is free or taken, among mailboxes and aliases alike.
    On SQLite the only writer holds it already.
    """
    found: int | None = conn.scalar(_LOCKED_DOMAIN, {"name": name})
    if found is None:
        raise NotFound(f"the domain {name} is not hosted here: add it first")
    return found


def add_mailbox(
    conn: Connection,
    address: str,
    mailbox_type: MailboxType,
    identifier: Identifier,
    *,
    structure: Identifier | None = None,
    attributes: Values = _NOTHING,
    quota: int | None = None,
    now: datetime,
) -> Mailbox:
    """Open a mailbox, active at once, on a hosted domain.

    Raises InvalidAddress; InvalidIdentifier for a kind that the type does not allow;
    InvalidAttribute; NotFound for a domain that is not hosted; Conflict for an address in use, even
    by a closed or deleted mailbox or an alias that has ended: the mail of a holder must never reach
    another.
    """
    parsed = parse_mailbox_address(address)
    check_attachment(mailbox_type, identifier)
    check_structure(mailbox_type, identifier, structure)
    values = check_values(mailbox_type, attributes)
    domain_id = lock_domain(conn, parsed.domain)
    check_no_alias(conn, parsed.key)
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
            structure_kind=None if structure is None else stored_kind(structure),
            structure_value=None if structure is None else structure.value,
            created_at=now,
            quota=quota,
            **{attribute.value: value for attribute, value in values.items()},
        )
        .returning(mailboxes.c.id)
    )
    if added is None:
        raise Conflict(f"the mailbox {parsed} exists already")
    note_change(conn)  # its number may have been a mailbox's that a fail-over lost
    return get_mailbox(conn, str(parsed))


def check_no_alias(conn: Connection, key: str) -> None:
    """Raise Conflict if the address (as compared) is an alias, even one that has ended."""
    owner = conn.scalar(_ALIAS_OWNER, {"address": key})
    if owner is not None:
        raise Conflict(f"{key} is or was an alias of {owner}, and never another's address")


def list_mailboxes(
    conn: Connection,
    domain: str | None = None,
    *,
    wanted: MailboxFilter = EVERY,
    scope: Scope = WHOLE,
    after: str = "",
    limit: int | None = None,
) -> list[Mailbox]:
    """List mailboxes within a scope, of a domain or all, by address.

    A page: up to `limit` mailboxes after the address `after`; without a filter its cost does not
    depend on the number of others. Raises NotFound for the domain.
    """
    query = _of_domain(conn, _mailboxes(), domain).order_by(mailboxes.c.address)
    query = query.where(*wanted.conditions(), *domain_within(scope))
    if after:
        # The beginning of an address will do.
        begin = address_key(after) if "@" in after else after.lower()
        query = query.where(mailboxes.c.address > begin)
    return [read_mailbox(row) for row in conn.execute(query.limit(limit))]


def get_mailbox(conn: Connection, address: str) -> Mailbox:
    """Find a mailbox in any state. Raises NotFound."""
    found = resolve(conn, [address]).get(address)
    if found is None:
        owner = conn.scalar(_ALIAS_OWNER, {"address": address_key(address)})
        hint = f": it is an alias of {owner}" if owner else ""
        raise NotFound(f"there is no mailbox {address}{hint}")
    return found


def resolve(conn: Connection, addresses: Iterable[str]) -> dict[str, Mailbox]:
    """Find the mailboxes of many addresses by a single query, in any state; no aliases.

    Keys are the addresses as given, well-formed or not; addresses without a mailbox are absent.
    """
    keys = {address: address_key(address) for address in addresses}
    if not keys:
        return {}
    rows = conn.execute(_RESOLVED, {"addresses": list(set(keys.values()))})
    found = {row.address: read_mailbox(row) for row in rows}
    return {address: found[key] for address, key in keys.items() if key in found}


def set_attributes(conn: Connection, address: str, values: Values) -> Mailbox:
    """Change attributes of a mailbox; None takes one away.

    Raises NotFound, InvalidAttribute, and InvalidState for a deleted mailbox.
    """
    mailbox = _present(conn, address)
    checked = check_values(mailbox.type, values)
    if checked:
        columns = {attribute.value: value for attribute, value in checked.items()}
        conn.execute(update(mailboxes).where(mailboxes.c.id == mailbox.id).values(columns))
        note_change(conn)
    return get_mailbox(conn, address)


def set_quota(conn: Connection, address: str, quota: int | None) -> Mailbox:
    """Set the quota of a mailbox, in octets (None: no limit).

    Present messages stay, even beyond the quota. Raises NotFound, and InvalidState for a deleted
    mailbox.
    """
    mailbox = _present(conn, address)
    conn.execute(update(mailboxes).where(mailboxes.c.id == mailbox.id).values(quota=quota))
    note_change(conn)
    return get_mailbox(conn, address)


def _present(conn: Connection, address: str) -> Mailbox:
    """Find a mailbox to change: what a deleted one gets would outlive its erasure."""
    mailbox = get_mailbox(conn, address)
    if mailbox.deleted_at is not None:
        raise InvalidState(f"the mailbox {mailbox.address} is deleted: restore it first")
    return mailbox


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
    columns = (mailboxes, domains.c.name.label("domain"), domains.c.tenant_id)
    return select(*columns).join_from(mailboxes, domains)


def read_mailbox(row: Row[Any]) -> Mailbox:
    """Return the mailbox of a row of `mailboxes`, joined with its domain's name and tenant."""
    structure = row.structure_kind
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
        structure=None if structure is None else read_stored(structure, row.structure_value),
        service=row.service,
        responsible=row.responsible,
        red_list=row.red_list,
        rank=row.rank,
        no_reply=row.no_reply,
        state_since=row.state_since,
        state_reason=row.state_reason,
        inbound=None if row.inbound is None else InboundMail(row.inbound),
        deleted_at=row.deleted_at,
        erase_after=row.erase_after,
        erased_at=row.erased_at,
        last_login_at=row.last_login_at,
        tenant_id=row.tenant_id,
    )


_HOSTED = domains.c.removed_at.is_(None)
_DOMAIN = (domains.c.id, domains.c.name, domains.c.created_at, domains.c.tenant_id)
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_DOMAIN_ID = select(domains.c.id).where(domains.c.name == bindparam("name"), _HOSTED)
_LOCKED_DOMAIN = _DOMAIN_ID.with_for_update(key_share=True)
_RESOLVED = _mailboxes().where(mailboxes.c.address.in_(bindparam("addresses", expanding=True)))
_ALIAS_OWNER = (
    select(mailboxes.c.address)
    .join_from(aliases, mailboxes)
    .where(aliases.c.address == bindparam("address"))
)
