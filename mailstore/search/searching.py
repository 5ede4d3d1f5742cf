"""A search in a mailbox: by the database, then by search blocks, then by bodies.

Each step decides all that it can for less than the next costs: a body is read only for a message
that rows and blocks leave open. Nothing is kept after the search.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import ColumnElement, and_, or_, select

from mailstore.blobs.store import Store
from mailstore.db.folder_schema import folder_messages
from mailstore.db.listed import listed_texts
from mailstore.sealed.row_seal import RowSeal
from mailstore.search import criteria as c
from mailstore.search.block_search import block_hits
from mailstore.search.body_search import body_hits
from mailstore.search.conditions import Scope, condition
from mailstore.search.criteria import Criterion
from mailstore.search.deciding import cheaper, decide, leaves

FEW: Final = 20_000  # messages that are looked up by id; for more, all rows are read

_HELD: Final = folder_messages.c
_LISTED: Final = listed_texts(_HELD.message_id, "ids")
_HIT: Final = (_HELD.folder_id, _HELD.uid, _HELD.entry_id, _HELD.message_id)


_Row = tuple[Any, ...]


class Hit(NamedTuple):
    """A message that was found, in one of its folders."""

    folder_id: int
    uid: int
    entry_id: int
    message_id: str


def search(store: Store, seal: RowSeal, scope: Scope, criterion: Criterion) -> list[Hit]:
    """Messages of the scope that meet a criterion, by folder and UID.

    An unreadable message meets criteria on its row alone. Raises StoreUnavailable.
    """
    exact = condition(criterion, scope)
    if exact is not None:
        return [Hit(*row) for row in _rows(store, scope, [], exact)]
    return _Mixed(store, seal, scope, cheaper(criterion)).run()


def search_uids(store: Store, seal: RowSeal, scope: Scope, criterion: Criterion) -> list[int]:
    """UIDs of `search`; its scope is a folder."""
    exact = condition(criterion, scope)
    if exact is None:
        return [hit.uid for hit in search(store, seal, scope, criterion)]
    query = select(_HELD.uid).where(scope.within(), exact).order_by(_HELD.uid)
    with store.database.read() as conn:
        return list(conn.scalars(query).all())


class _Mixed:
    """A criterion that the database alone does not decide."""

    def __init__(self, store: Store, seal: RowSeal, scope: Scope, criterion: Criterion) -> None:
        self._store, self._seal, self._scope = store, seal, scope
        self._criterion = criterion
        self._conditions: dict[Criterion, ColumnElement[bool]] = {}
        self._gather(criterion)
        self._leaves = list(leaves(criterion))
        self._sets: dict[Criterion, set[str]] = {
            one: set(one.ids) for one in self._leaves if isinstance(one, c.MessageIds)
        }
        wanted = [one for one in self._leaves if one not in self._conditions]
        self._sets |= block_hits(store, seal, scope.mailbox_id, wanted)

    def run(self) -> list[Hit]:
        """Find the messages."""
        columns = [one.label(f"c{number}") for number, one in enumerate(self._conditions.values())]
        rows = self._candidates(columns, self._needed(self._criterion))
        found, left = self._decide(rows)
        if left:
            ids = list(dict.fromkeys(row[3] for row in left))
            self._sets |= body_hits(self._store, self._seal, ids, self._leaves)
            found += self._decide(left)[0]
            found.sort()
        return found

    def _decide(self, rows: Sequence[_Row]) -> tuple[list[Hit], list[_Row]]:
        """Messages that meet the criterion, and rows of those that bodies decide.

        Rows with the same facts share a decision: there are few among many messages.
        """
        sets = list(self._sets.values())
        by_uid = any(isinstance(one, c.Uids) for one in self._leaves)
        decisions: dict[object, bool | None] = {}
        found, left = [], []
        for row in rows:
            message_id = row[3]
            alike = (*row[4:], *[message_id in one for one in sets], by_uid and row[1])
            if alike not in decisions:
                decisions[alike] = self._decision(row)
            decided = decisions[alike]
            if decided:
                found.append(Hit(*row[:4]))
            elif decided is None:
                left.append(row)
        return found, left

    def _decision(self, row: _Row) -> bool | None:
        facts = dict(zip(self._conditions, map(bool, row[4:]), strict=True))

        def known(one: Criterion) -> bool | None:
            if one in facts:
                return facts[one]
            if one in self._sets:
                return row[3] in self._sets[one]
            if isinstance(one, c.Uids):
                return any(min(ends) <= row[1] <= max(ends) for ends in one.ranges)
            return None

        return decide(self._criterion, known)

    def _gather(self, criterion: Criterion) -> None:
        """Conditions of the largest parts of the tree that the database decides."""
        exact = condition(criterion, self._scope)
        if exact is not None:
            self._conditions[criterion] = exact
            return
        match criterion:
            case c.And(parts) | c.Or(parts):
                for part in parts:
                    self._gather(part)
            case c.Not(part):
                self._gather(part)
            case _:
                pass

    def _needed(self, criterion: Criterion) -> ColumnElement[bool] | None:
        """Condition that all messages found meet; None if there is none."""
        if criterion in self._conditions:
            return self._conditions[criterion]
        match criterion:
            case c.And(parts):
                some = [one for part in parts if (one := self._needed(part)) is not None]
                return and_(*some) if some else None
            case c.Or(parts):
                each = [self._needed(part) for part in parts]
                all_known = [one for one in each if one is not None]
                return or_(*all_known) if each and len(all_known) == len(each) else None
            case _:
                return None

    def _ids(self, criterion: Criterion) -> set[str] | None:
        """Ids that all messages found have; None if any may be found."""
        if criterion in self._sets:
            return self._sets[criterion]
        match criterion:
            case c.And(parts):
                some = [one for part in parts if (one := self._ids(part)) is not None]
                return set.intersection(*some) if some else None
            case c.Or(parts):
                each = [self._ids(part) for part in parts]
                all_known = [one for one in each if one is not None]
                if not each or len(all_known) < len(each):
                    return None
                return set().union(*all_known)
            case _:
                return None

    def _candidates(
        self, columns: Sequence[ColumnElement[bool]], needed: ColumnElement[bool] | None
    ) -> list[_Row]:
        ids = self._ids(self._criterion)
        where = [] if needed is None else [needed]
        if ids is None or len(ids) > FEW:
            return _rows(self._store, self._scope, columns, *where)
        return _rows(self._store, self._scope, columns, *where, ids=ids)


def _rows(
    store: Store,
    scope: Scope,
    columns: Sequence[ColumnElement[bool]],
    *where: ColumnElement[bool],
    ids: Collection[str] | None = None,
) -> list[_Row]:
    """Columns of `_HIT`, then `columns` as the driver has them; `ids`: of these messages."""
    within = [scope.within()] if ids is None else [scope.within(by_id=True), _LISTED]
    query = select(*_HIT, *columns).where(*within, *where).order_by(_HELD.folder_id, _HELD.uid)
    with store.database.read() as conn:
        # The driver's tuples: SQLAlchemy's rows take as long again as the reading.
        return cast("list[_Row]", conn.execute(query, {"ids": ids or ()}).cursor.fetchall())
