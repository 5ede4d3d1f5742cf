"""Verification of anchors: each against the one before it, its signature, and the chains."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select, type_coerce
from sqlalchemy.types import NullType

from mailstore.audit.chain import ChainEnds
from mailstore.audit.keys import is_signed
from mailstore.audit.statement import (
    Heads,
    MalformedAnchor,
    SignedStatement,
    Statement,
    first_before,
    parse_statement,
    text_digest,
)
from mailstore.audit.tables import ends_of, sealed_ends
from mailstore.audit_reading.findings import Checked, Finding, anchor_place
from mailstore.audit_reading.reading import snapshot
from mailstore.db.audit_schema import audit_anchors, audit_chains, audit_rows
from mailstore.db.database import Database

_PAGE = 200  # anchors in memory at once
_KEPT: Any = select(
    *(type_coerce(one, NullType()).label(one.name) for one in audit_anchors.c)
).order_by(audit_anchors.c.number)


@dataclass(slots=True)
class AnchorCheck:
    """Check of all anchors, in the order of their numbers. Raises StoreUnavailable.

    `public_keys`: of the signers, the oldest first, 32 octets each. `kept_since`: time in
    microseconds since 1970 from which on no row may have been removed; None: any may.
    """

    database: Database
    public_keys: Sequence[bytes]
    checked: Checked
    kept_since: int | None = None
    last: int = 0  # number of the last one that `kept` has seen
    _before: bytes | None = field(default_factory=first_before)
    _previous: Statement | None = None
    _age: int = 0

    def kept(self) -> Iterator[Finding]:
        """Check the anchors in the database, and their number."""
        after: Any = None
        while True:
            query = _KEPT if after is None else _KEPT.where(audit_anchors.c.number > after)
            with self.database.read() as connection:
                rows = connection.execute(query.limit(_PAGE)).all()
            for row in rows:
                self.checked.anchors += 1
                yield from self._row(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1].number

    def missing(self, anchors: int) -> Iterator[Finding]:
        """After `kept`: check that there are as many as the totals say."""
        if self.last < anchors:
            problem = f"anchors {self.last + 1} to {anchors} are missing at the end"
            yield Finding("anchors", problem)

    def given(self, anchors: Iterable[SignedStatement]) -> Iterator[Finding]:
        """Check anchors that were kept elsewhere."""
        self._previous = None
        statements = [(parse_statement(one.statement), one) for one in anchors]
        for statement, one in sorted(statements, key=lambda pair: pair[0].number):
            self.checked.anchors += 1
            place = f"given {anchor_place(statement.number)}"
            if self._signer(one.statement, one.signature) is None:
                yield Finding(place, "its signature is by none of the keys")
                continue
            with self.database.read() as connection:
                kept = connection.scalar(
                    select(audit_anchors.c.statement).where(
                        audit_anchors.c.number == statement.number
                    )
                )
            if kept is None:
                yield Finding(place, "it is not in the database: it was removed there")
            elif kept != one.statement:
                yield Finding(place, "the one in the database is another: it was changed there")
            yield from self._against_chains(place, statement)

    def _row(self, row: Row[Any]) -> Iterator[Finding]:
        place = anchor_place(row.number)
        if type(row.number) is not int or row.number < 1:
            yield Finding(place, "its number is malformed: it was inserted")
            return
        if row.number > self.last + 1:
            yield Finding(place, "anchors before it are missing")
            self._before = None
        self.last = row.number
        try:
            statement = parse_statement(row.statement)
        except MalformedAnchor as error:
            yield Finding(place, f"it was changed: {error}")
            self._before = None
            return
        age = self._signer(row.statement, row.signature)
        if age is None:
            yield Finding(place, "its signature is by none of the keys")
        elif age < self._age:
            yield Finding(place, "its signature is by an older key than that of one before it")
        self._age = max(age or 0, self._age)
        if (statement.number, statement.at) != (row.number, row.at):
            yield Finding(place, "its number or time is not that of its statement")
        if self._before is not None and statement.before != self._before:
            yield Finding(place, "the anchor before it is not the one that it names")
        self._before = text_digest(row.statement)
        yield from self._against_chains(place, statement)

    def _signer(self, statement: str, signature: object) -> int | None:
        if isinstance(signature, bytes):
            for age in reversed(range(len(self.public_keys))):
                if is_signed(self.public_keys[age], statement.encode(), signature):
                    return age
        return None

    def _against_chains(self, place: str, statement: Statement) -> Iterator[Finding]:
        """Check the heads against the chains as they are, and against the anchor before."""
        heads, previous = statement.heads, self._previous
        before = previous.heads if previous is not None else {}
        for chain, (seq, _) in before.items():
            if heads.get(chain, (0, b""))[0] < seq:
                yield Finding(place, f"chain {chain} is shorter in it than in an anchor before it")
        with snapshot(self.database) as connection:
            found = connection.execute(
                select(*sealed_ends).where(audit_chains.c.id.in_(heads))
            ).all()
            ends = {one.id: ends_of(one) for one in found}
            digests = _digests(connection, heads)
        for chain, (seq, digest) in sorted(heads.items()):
            problem = _head_problem(ends.get(chain), seq, digest, digests.get((chain, seq)))
            # A row that came since the anchor before is younger than that anchor.
            came = previous is not None and seq > before.get(chain, (0, b""))[0]
            if not problem and came and previous is not None and self._is_kept(previous.at):
                problem = _removal_problem(ends[chain], seq)
            if problem:
                yield Finding(place, f"chain {chain} row {seq}: {problem}")
        self._previous = statement

    def _is_kept(self, at: int) -> bool:
        return self.kept_since is not None and at >= self.kept_since


def _digests(connection: Connection, heads: Heads) -> dict[tuple[int, int], object]:
    query = select(
        audit_rows.c.chain,
        audit_rows.c.seq,
        type_coerce(audit_rows.c.digest, NullType()).label("digest"),
    )
    wanted = [
        and_(audit_rows.c.chain == chain, audit_rows.c.seq == seq)
        for chain, (seq, _) in heads.items()
    ]
    if not wanted:
        return {}
    found = connection.execute(query.where(or_(*wanted)))
    return {(one.chain, one.seq): one.digest for one in found}


def _head_problem(ends: ChainEnds | None, seq: int, digest: bytes, there: object) -> str:
    """Reason why a chain cannot have had this head; empty if it may have."""
    if ends is None or type(ends.floor_seq) is not int or type(ends.head_seq) is not int:
        return "the chain was removed"
    if seq < ends.floor_seq:
        return ""  # removed at the end of its retention
    if seq == ends.floor_seq:
        return "" if digest == ends.floor_digest else "the floor of the chain is another row"
    if seq > ends.head_seq:
        return f"the chain ends at row {ends.head_seq}: it was cut off at the end"
    if there is None:
        return "the row was removed"
    return "" if there == digest else "the row is another one than when the anchor was made"


def _removal_problem(ends: ChainEnds, seq: int) -> str:
    """Reason why a row must still be there; empty if it is."""
    return "it was removed before the end of its retention" if seq <= ends.floor_seq else ""
