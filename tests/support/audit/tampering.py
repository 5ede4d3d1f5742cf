"""Kinds of tampering with the audit trail by SQL, each with a name.

Each is done by somebody who may write every table but has not the key in use. Those of STEALTHY
need what only anchors kept elsewhere show.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import (
    Connection,
    delete,
    insert,
    select,
    true,
    update,
)

from mailstore.audit.chain import ChainEnds, row_digest
from mailstore.audit.keys import AuditKey
from mailstore.audit.statement import parse_statement
from mailstore.audit.tables import ends_of, sealed_ends, sealed_rows, stored_row
from mailstore.db.audit_schema import audit_anchors, audit_chains, audit_rows, audit_state
from tests.support.audit.tampering_tools import (
    FLOOR,
    HEAD,
    LATER,
    NULLABLE,
    ODD,
    VALUES,
    Row,
    Tampering,
    alter,
    at_row,
    copy,
    exchange,
    get,
    remove,
    together,
)
from tests.support.audit.world import World, put_table
from tests.support.clock import NOW


def _rows() -> Iterator[tuple[str, Tampering]]:
    for place, seq in (("first", FLOOR + 1), ("middle", 7), ("last", HEAD)):
        where = at_row(1, seq)
        for column, value in VALUES.items():
            if place == "middle" or column in {"at", "event", "facts", "digest", "seal"}:
                yield f"{column} of the {place} row", alter(audit_rows, where, **{column: value})
        yield f"{place} row removed", remove(audit_rows, where)
    for column in NULLABLE:
        yield f"{column} of a row emptied", alter(audit_rows, at_row(2, 7), **{column: None})
    for column in ("account", "unix_user", "origin", "mailbox", "subject"):
        emptied = together(
            alter(audit_rows, at_row(2, 7), **{column: None}),
        )
        yield (
            f"{column} of a row without text",
            together(emptied, alter(audit_rows, at_row(2, 7), **{column: ""})),
        )
    yield "facts with a blank more", alter(audit_rows, at_row(1, 5), facts="{ }")
    yield (
        "text moved to the next column",
        alter(audit_rows, at_row(1, 5), account="dr.", unix_user="aroot"),
    )
    yield (
        "content of two rows exchanged",
        exchange(audit_rows, ("chain", "seq"), at_row(1, 5), at_row(1, 6)),
    )
    yield (
        "rows of two chains exchanged",
        exchange(audit_rows, ("chain", "seq"), at_row(1, 5), at_row(2, 7)),
    )
    yield (
        "digests and seals of two rows exchanged",
        exchange(
            audit_rows,
            tuple(one.name for one in audit_rows.c if one.name not in {"digest", "seal"}),
            at_row(1, 5),
            at_row(1, 6),
        ),
    )
    of_one = audit_rows.c.chain == 1
    yield "two rows removed", remove(audit_rows, of_one & audit_rows.c.seq.between(4, 5))
    yield "all rows of a chain removed", remove(audit_rows, of_one)
    yield "all rows removed", remove(audit_rows, true())
    yield "last row of each chain removed", remove(audit_rows, audit_rows.c.seq == HEAD)
    yield (
        "last row moved to another chain",
        alter(audit_rows, at_row(1, HEAD), chain=2, seq=HEAD + 1),
    )
    yield "a row renumbered", alter(audit_rows, at_row(1, HEAD), seq=HEAD + 5)
    yield "all rows renumbered", alter(audit_rows, of_one, seq=audit_rows.c.seq + 100)
    yield "all rows to another chain", alter(audit_rows, of_one, chain=9)
    for name, changed in (
        ("behind the head", {"seq": HEAD + 1}),
        ("far behind the head", {"seq": 10**15}),
        ("before the floor", {"seq": FLOOR}),
        ("with number 0", {"seq": 0}),
        ("with a number below 0", {"seq": -4}),
        ("in chain 0", {"chain": 0}),
        ("in a chain that is none", {"chain": 4}),
        ("in a chain below 0", {"chain": -1}),
    ):
        yield f"row inserted {name}", copy(audit_rows, at_row(1, 5), **changed)
    yield "row inserted with its digest computed", _insert_computed


def _insert_computed(connection: Connection, _world: World) -> None:
    last = connection.execute(select(*sealed_rows).where(at_row(1, HEAD))).one()
    new = replace(stored_row(last), seq=HEAD + 1, event="mailbox.opened")
    digest = row_digest(last.digest, new)
    changed = {"seq": new.seq, "event": new.event, "digest": digest}
    connection.execute(insert(audit_rows), [get(connection, audit_rows, at_row(1, HEAD)) | changed])
    values = {"head_seq": new.seq, "head_digest": digest}
    connection.execute(update(audit_chains).where(audit_chains.c.id == 1).values(values))


# ---- chains

FIRST_CHAIN: Final = audit_chains.c.id == 1
_LAST: Final = audit_chains.c.id == 3


def _chains() -> Iterator[tuple[str, Tampering]]:
    for column, value in {
        "begun_at": LATER,
        "floor_seq": FLOOR + 1,
        "floor_digest": ODD,
        "head_seq": HEAD + 1,
        "head_digest": ODD,
        "seal": ODD,
    }.items():
        yield f"{column} of a chain", alter(audit_chains, FIRST_CHAIN, **{column: value})
    yield "floor lowered", alter(audit_chains, FIRST_CHAIN, floor_seq=0, floor_digest=bytes(32))
    yield "head lowered", alter(audit_chains, FIRST_CHAIN, head_seq=HEAD - 1)
    yield (
        "seals of two chains exchanged",
        exchange(
            audit_chains,
            tuple(one.name for one in audit_chains.c if one.name != "seal"),
            FIRST_CHAIN,
            audit_chains.c.id == 2,
        ),
    )
    yield "two chains exchanged", exchange(audit_chains, ("id",), FIRST_CHAIN, _LAST)
    for number in (1, 2, 3):
        chain = remove(audit_chains, audit_chains.c.id == number)
        whole = together(chain, remove(audit_rows, audit_rows.c.chain == number))
        yield f"chain {number} removed", chain
        yield f"chain {number} and its rows removed", whole
        yield (
            f"chain {number} and its rows removed, number lowered",
            together(whole, alter(audit_state, true(), chains=2)),
        )
    yield "all chains removed", remove(audit_chains, true())
    yield "chain inserted", copy(audit_chains, FIRST_CHAIN, id=4)
    yield "chain 0 inserted", copy(audit_chains, FIRST_CHAIN, id=0)
    yield (
        "chain inserted, number raised",
        together(copy(audit_chains, FIRST_CHAIN, id=4), alter(audit_state, true(), chains=4)),
    )
    yield "chain and rows copied to another number", _copy_chain
    yield (
        "chain renumbered",
        together(
            alter(audit_chains, _LAST, id=7),
            alter(audit_rows, audit_rows.c.chain == 3, chain=7),
        ),
    )
    yield "chain cut, head computed anew", _cut(seal=False)
    yield "chain cut, head with its old seal", _cut(seal=True)
    yield "chain emptied to its floor", _empty_to_floor
    yield "floor raised as if rows were pruned", _raise_floor


def _copy_chain(connection: Connection, _world: World) -> None:
    copy(audit_chains, FIRST_CHAIN, id=4)(connection, _world)
    found = connection.execute(select(audit_rows).where(audit_rows.c.chain == 1)).mappings().all()
    connection.execute(insert(audit_rows), [dict(one) | {"chain": 4} for one in found])


def _cut(*, seal: bool) -> Tampering:
    """Remove the last row of chain 1 and set its head back."""

    def tamper(connection: Connection, world: World) -> None:
        connection.execute(delete(audit_rows).where(at_row(1, HEAD)))
        old = next(one for one in world.before_end["audit_chains"] if one["id"] == 1)
        assert old["head_seq"] == HEAD - 1
        values = {name: old[name] for name in ("head_seq", "head_digest", *(["seal"] * seal))}
        connection.execute(update(audit_chains).where(FIRST_CHAIN).values(values))

    return tamper


def _empty_to_floor(connection: Connection, _world: World) -> None:
    floor = get(connection, audit_chains, FIRST_CHAIN)
    connection.execute(delete(audit_rows).where(audit_rows.c.chain == 1))
    values = {"head_seq": floor["floor_seq"], "head_digest": floor["floor_digest"]}
    connection.execute(update(audit_chains).where(FIRST_CHAIN).values(values))


def _raise_floor(connection: Connection, _world: World) -> None:
    floor = get(connection, audit_rows, at_row(1, 5))
    connection.execute(delete(audit_rows).where(audit_rows.c.chain == 1, audit_rows.c.seq <= 5))
    values = {"floor_seq": 5, "floor_digest": floor["digest"]}
    connection.execute(update(audit_chains).where(FIRST_CHAIN).values(values))


# ---- totals


def _totals() -> Iterator[tuple[str, Tampering]]:
    for column, value in {"chains": 2, "anchors": 4, "seal": ODD}.items():
        yield f"{column} of the totals", alter(audit_state, true(), **{column: value})
    yield "totals raised", alter(audit_state, true(), chains=9, anchors=9)
    yield "totals below 0", alter(audit_state, true(), chains=-1)
    yield "totals removed", remove(audit_state, true())
    yield (
        "totals of the past",
        lambda connection, world: put_table(connection, audit_state, world.before_rotation),
    )
    yield (
        "totals of before the last anchor",
        lambda connection, world: put_table(connection, audit_state, world.before_end),
    )
    yield "last anchor removed, totals of before it", _last_anchor_and_totals


def _last_anchor_and_totals(connection: Connection, world: World) -> None:
    """Rows and chains as they are; anchors and totals of before rotation, with their seal."""
    put_table(connection, audit_state, world.before_rotation)
    put_table(connection, audit_anchors, world.before_rotation)


# ---- anchors

_THIRD: Final = audit_anchors.c.number == 3


def _anchors() -> Iterator[tuple[str, Tampering]]:
    yield "time of an anchor", alter(audit_anchors, _THIRD, at=LATER)
    yield "signature of an anchor", alter(audit_anchors, _THIRD, signature=bytes(64))
    yield "signature of an anchor cut", alter(audit_anchors, _THIRD, signature=b"")
    yield "statement of an anchor emptied", alter(audit_anchors, _THIRD, statement="")
    yield "statement of an anchor no JSON", alter(audit_anchors, _THIRD, statement="[" * 5_000)
    yield "statement of an anchor of another form", alter(audit_anchors, _THIRD, statement="[]")
    for name, place in (("first", 1), ("middle", 3), ("last", 5)):
        where = audit_anchors.c.number == place
        yield f"{name} anchor removed", remove(audit_anchors, where)
    yield "all anchors removed", remove(audit_anchors, true())
    yield (
        "last anchor removed, number lowered",
        together(
            remove(audit_anchors, audit_anchors.c.number == 5),
            alter(audit_state, true(), anchors=4),
        ),
    )
    yield "anchor inserted at the end", copy(audit_anchors, _THIRD, number=6)
    yield "anchor 0 inserted", copy(audit_anchors, _THIRD, number=0)
    yield "anchor renumbered", alter(audit_anchors, audit_anchors.c.number == 5, number=9)
    yield (
        "two anchors exchanged",
        exchange(audit_anchors, ("number",), _THIRD, audit_anchors.c.number == 4),
    )
    yield (
        "statements of two anchors exchanged",
        exchange(audit_anchors, ("number", "at"), _THIRD, audit_anchors.c.number == 4),
    )
    changes: dict[str, Row] = {
        "number": {"number": 7},
        "time": {"at": 0},
        "digest of the one before": {"before": ODD},
        "heads": {"heads": {1: (3, ODD)}},
        "no heads": {"heads": {}},
    }
    for name, change in changes.items():
        yield f"{name} of an anchor's statement", _restate(change, None)
        yield f"{name} of an anchor's statement, signed by the old key", _restate(change, 0)
    yield "anchor signed by another key", _sign_by_another
    yield "anchor signed by the key of before", _restate({}, 0)
    yield "anchor with a blank more", _blank


def _restate(change: Row, age: int | None) -> Tampering:
    """Change the statement of anchor 4, and sign it with a stolen key if `age` is given."""

    def tamper(connection: Connection, world: World) -> None:
        where = audit_anchors.c.number == 4
        row = get(connection, audit_anchors, where)
        changed = replace(parse_statement(row["statement"]), **change).text()
        values: Row = {"statement": changed}
        if age is not None:
            values["signature"] = world.keys.all[age].sign(changed.encode())
        connection.execute(update(audit_anchors).where(where).values(values))

    return tamper


def _sign_by_another(connection: Connection, _world: World) -> None:
    other = AuditKey(NOW, b"c" * 32, b"a" * 32)
    row = get(connection, audit_anchors, _THIRD)
    values = {"signature": other.sign(row["statement"].encode())}
    connection.execute(update(audit_anchors).where(_THIRD).values(values))


def _blank(connection: Connection, world: World) -> None:
    row = get(connection, audit_anchors, audit_anchors.c.number == 5)
    changed = row["statement"].replace(",", ", ", 1)
    values = {"statement": changed, "signature": world.keys.newest.sign(changed.encode())}
    connection.execute(update(audit_anchors).where(audit_anchors.c.number == 5).values(values))


# ---- rewritten from a row on, by somebody who can compute digests

PLAIN: Final = "mailbox.opened"


def _rewritten() -> Iterator[tuple[str, Tampering]]:
    yield "chain rewritten, old seals", _rewrite(None, from_seq=5)
    yield (
        "chain rewritten, seals that are digests",
        _rewrite(lambda digest: hashlib.sha256(digest).digest(), from_seq=5),
    )
    yield "chain rewritten, seals emptied", _rewrite(lambda _digest: b"", from_seq=5)
    yield "chain rewritten from its first row", _rewrite(None, from_seq=FLOOR + 1)
    yield "last row rewritten", _rewrite(None, from_seq=HEAD)
    yield "chain rewritten with the key of before", _rewrite_by_old_key(anew=False)
    yield "chain rewritten and sealed with the key of before", _rewrite_by_old_key(anew=True)
    yield "chain of before the new key", _chain_of_before


def _rewrite(seal: Callable[[bytes], bytes] | None, *, from_seq: int) -> Tampering:
    def tamper(connection: Connection, _world: World) -> None:
        rewrite(connection, from_seq, seal)

    return tamper


def rewrite(
    connection: Connection, from_seq: int, seal: Callable[[bytes], bytes] | None
) -> ChainEnds:
    """Change a row of chain 1, and compute all later digests and the head anew."""
    ends = ends_of(connection.execute(select(*sealed_ends).where(FIRST_CHAIN)).one())
    query = select(*sealed_rows).where(audit_rows.c.chain == 1).order_by(audit_rows.c.seq)
    digest = ends.floor_digest
    for found in connection.execute(query).all():
        row = stored_row(found)
        if row.seq == from_seq:
            row = replace(row, event=PLAIN)
        digest = row_digest(digest, row)
        values: Row = {"event": row.event, "digest": digest}
        if seal is not None and row.seq >= from_seq:
            values["seal"] = seal(digest)
        connection.execute(update(audit_rows).where(at_row(1, row.seq)).values(values))
    connection.execute(update(audit_chains).where(FIRST_CHAIN).values(head_digest=digest))
    return replace(ends, head_digest=digest)


def _rewrite_by_old_key(*, anew: bool) -> Tampering:
    def tamper(connection: Connection, world: World) -> None:
        stolen = world.keys.all[0]
        ends = rewrite(connection, FLOOR + 1, stolen.seal_row)
        if anew:
            values = {"seal": stolen.seal_chain(ends)}
            connection.execute(update(audit_chains).where(FIRST_CHAIN).values(values))

    return tamper


def _chain_of_before(connection: Connection, world: World) -> None:
    """Chain 1 with its rows and seal of before the new key."""
    for table, column in ((audit_chains, audit_chains.c.id), (audit_rows, audit_rows.c.chain)):
        connection.execute(delete(table).where(column == 1))
        old = [one for one in world.before_rotation[table.name] if one[column.name] == 1]
        connection.execute(insert(table), [dict(one) for one in old])


KINDS: Final[Mapping[str, Tampering]] = dict(
    [*_rows(), *_chains(), *_totals(), *_anchors(), *_rewritten()]
)


# ---- values that SQLite takes for any column
