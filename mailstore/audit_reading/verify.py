"""Verification of the whole audit trail: chains, rows, totals, anchors.

Reads page by page beside writers, in bounded memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Row, select

from mailstore.audit.chain import Totals
from mailstore.audit.keys import AuditKeys
from mailstore.audit.statement import SignedStatement
from mailstore.audit.tables import sealed_ends, sealed_totals, totals_of
from mailstore.audit_reading.findings import Checked, Finding, chain_place
from mailstore.audit_reading.reading import chains_with_rows, snapshot
from mailstore.audit_reading.verify_anchors import AnchorCheck
from mailstore.audit_reading.verify_chain import check_chain
from mailstore.db.audit_schema import audit_state
from mailstore.db.database import Database
from mailstore.db.instants import microseconds

_PLACE = "totals"
_TOTALS: Any = select(*sealed_totals).where(audit_state.c.id == 1)


def verify(
    database: Database,
    keys: AuditKeys,
    checked: Checked,
    *,
    given: Iterable[SignedStatement] = (),
    public_keys: Sequence[bytes] = (),
    kept_since: datetime | None = None,
) -> Iterator[Finding]:
    """Yield every sign of tampering; none: all is as it was written. Raises StoreUnavailable.

    `given`: anchors that were kept elsewhere; `public_keys`: of their signers, the oldest first, as
    noted elsewhere; without them those of the keys. `kept_since`: time from which on the retention
    has removed no row: the owner of the keys could remove rows as it does, but anchors show when
    they were written.
    """
    found, chains = _totals_and_chains(database)
    with database.read() as connection:
        others = select(audit_state.c.id).where(audit_state.c.id != 1).limit(1)
        if connection.execute(others).first() is not None:
            yield Finding(_PLACE, "there are others beside them: they were inserted")
    yield from _totals_findings(keys, found, chains)
    totals = totals_of(found) if found is not None else Totals()
    age = keys.totals_age(totals, found.seal) if found is not None else None
    for chain in chains:
        yield from check_chain(database, keys, chain, age, checked)
    for chain in chains_with_rows(database):
        if chain not in chains:  # removed, or begun meanwhile
            yield from check_chain(database, keys, chain, age, checked)
    if age is not None and checked.newest_age > age:
        yield from _old_totals(database, keys, checked.newest_age)
    anchors = AnchorCheck(
        database,
        public_keys or [one.public_key for one in keys.all],
        checked,
        None if kept_since is None else microseconds(kept_since),
    )
    yield from anchors.kept()
    if type(totals.anchors) is int:
        yield from anchors.missing(totals.anchors)
        yield from _surplus_anchors(database, anchors.last)
    yield from anchors.given(given)


def _totals_and_chains(database: Database) -> tuple[Row[Any] | None, list[Any]]:
    with snapshot(database) as connection:
        found = connection.execute(_TOTALS).first()
        chains = [one.id for one in connection.execute(select(*sealed_ends))]
    return found, sorted(chains, key=lambda one: (str(type(one)), one))


def _totals_findings(
    keys: AuditKeys, found: Row[Any] | None, chains: Sequence[Any]
) -> Iterator[Finding]:
    if found is None:
        if chains:
            yield Finding(_PLACE, "the numbers of chains and anchors were removed")
        return
    if keys.totals_age(totals_of(found), found.seal) is None:
        yield Finding(_PLACE, "the seal of the numbers of chains and anchors is wrong")
    if type(found.chains) is not int:
        return
    there = [one for one in chains if type(one) is int and 1 <= one <= found.chains]
    for chain in chains:
        if chain not in there:
            yield Finding(chain_place(chain), "no chain has this number: it was inserted")
    for before, after in pairwise([0, *there, found.chains + 1]):
        if after - before == 2:
            yield Finding(chain_place(before + 1), "the chain was removed")
        elif after - before > 2:
            yield Finding(_PLACE, f"chains {before + 1} to {after - 1} were removed")


def _surplus_anchors(database: Database, last: int) -> Iterator[Finding]:
    found, _ = _totals_and_chains(database)  # again: one may have been made meanwhile
    if found is not None and type(found.anchors) is int and last > found.anchors:
        yield Finding(
            "anchors", f"the last one has the number {last}, and only {found.anchors} were made"
        )


def _old_totals(database: Database, keys: AuditKeys, newest: int) -> Iterator[Finding]:
    found, _ = _totals_and_chains(database)  # again: a key may have come into use meanwhile
    age = keys.totals_age(totals_of(found), found.seal) if found is not None else None
    if age is None or age < newest:
        yield Finding(_PLACE, "their seal is by a key that is not in use any more")
