"""Bulk import: what exists for a plan, and a plan carried out in one transaction."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.schema import aliases, mailbox_holders, mailboxes
from mailstore.mailbox_import.csv_form import CsvLine
from mailstore.mailbox_import.import_plan import Action, Known, KnownMailbox, PlannedLine
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.attributes import Attribute
from mailstore.mailboxes.changes import note_change
from mailstore.mailboxes.holders import holders_of
from mailstore.mailboxes.identifiers import IdentifierKind, stored_kind
from mailstore.mailboxes.mailboxes import list_domains, lock_domain, resolve
from mailstore.mailboxes.states import MailboxState
from mailstore.scope.model import WHOLE, Scope

_FLAGS: Final = (Attribute.RED_LIST, Attribute.NO_REPLY)
_TEXTS: Final = tuple(attribute for attribute in Attribute if attribute not in _FLAGS)
_BATCH: Final = 500  # rows read or written by one statement


def load_known(
    conn: Connection,
    lines: Sequence[CsvLine],
    luhn: frozenset[IdentifierKind],
    *,
    lock: bool,
    scope: Scope = WHOLE,
) -> Known:
    """Read what exists of the addresses of these lines; domains beyond the scope seem not hosted.

    `lock`: in a write transaction, keep other writers from adding addresses to their domains.
    """
    keys = sorted({address_key(line.cells.get("address", "")) for line in lines})
    hosted = {domain.name for domain in list_domains(conn, scope)}
    if not scope.whole:
        keys = [key for key in keys if key.rpartition("@")[2] in hosted]
    if lock:
        # In one order, so that two imports never wait for each other.
        for domain in sorted({key.rpartition("@")[2] for key in keys} & hosted):
            lock_domain(conn, domain)
    known: dict[str, KnownMailbox] = {}
    owners: dict[str, str] = {}
    owner = select(aliases.c.address, mailboxes.c.address).join_from(aliases, mailboxes)
    for some in _batches(keys):
        found = resolve(conn, some)
        holders = holders_of(conn, [box.id for box in found.values()])
        known |= {key: KnownMailbox(box, holders.get(box.id, ())) for key, box in found.items()}
        rows = conn.execute(owner.where(aliases.c.address.in_(some)))
        owners |= {row[0]: row[1] for row in rows}
    return Known(known, owners, hosted, luhn)


def _batches(items: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), _BATCH):
        yield list(items[start : start + _BATCH])


def carry_out(conn: Connection, planned: Sequence[PlannedLine], now: datetime) -> None:
    """Add and change the mailboxes of a plan without refusals, in a locking transaction.

    The plan must be made in the same transaction, from `load_known` with `lock`.
    """
    added = [line for line in planned if line.action is Action.ADD]
    if added:
        ids = {domain.name: domain.id for domain in list_domains(conn)}
        for some in _batches(added):
            conn.execute(insert(mailboxes), [_row(line, ids, now) for line in some])
    changed = [line for line in planned if line.action is Action.CHANGE]
    for line in changed:
        values: dict[str, Any] = {name.value: value for name, value in line.attributes.items()}
        if line.sets_quota:
            values["quota"] = line.quota
        if values and line.known is not None:
            conn.execute(update(mailboxes).where(mailboxes.c.id == line.known.id).values(values))
    _set_holders(conn, [*added, *changed], now)
    if added or changed:
        note_change(conn)


def _row(line: PlannedLine, domains: dict[str, int], now: datetime) -> dict[str, Any]:
    parsed, identifier, structure = line.parsed, line.identifier, line.structure
    if parsed is None or identifier is None or line.type is None:
        raise ValueError(f"line {line.number} adds no mailbox")
    return {
        "domain_id": domains[parsed.domain],
        "local_part": parsed.local_part,
        "address": parsed.key,
        "type": line.type.value,
        "state": MailboxState.ACTIVE.value,
        "identifier_kind": stored_kind(identifier),
        "identifier_value": identifier.value,
        "structure_kind": None if structure is None else stored_kind(structure),
        "structure_value": None if structure is None else structure.value,
        "created_at": now,
        "quota": line.quota,
        **{attribute.value: line.attributes.get(attribute) for attribute in _TEXTS},
        **{attribute.value: bool(line.attributes.get(attribute)) for attribute in _FLAGS},
    }


def _set_holders(conn: Connection, lines: Iterable[PlannedLine], now: datetime) -> None:
    """Replace co-holders; those who stay keep their date."""
    holder = mailbox_holders.c
    of = {address_key(line.address): line.holders for line in lines if line.holders is not None}
    rows: list[dict[str, Any]] = []
    for some in _batches(sorted(of)):
        for key, box in resolve(conn, some).items():
            named = of[key] or ()
            gone = (holder.mailbox_id == box.id, holder.rpps.not_in(named))
            conn.execute(delete(mailbox_holders).where(*gone))
            rows += [{"mailbox_id": box.id, "rpps": rpps, "since": now} for rpps in named]
    if rows:
        conn.execute(insert_or_ignore(conn, mailbox_holders), rows)
