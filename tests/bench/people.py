"""What rights and lists of people cost: `python -m tests.bench.people [NUMBER]`.

`may` in microseconds, with the facts in memory and with their reading; a page of a hundred of so
many (100 000) accounts and grants at the start, in the middle and at the end of the list. On SQLite
and on PostgreSQL. Fails if a page reads or sorts the whole list, by the database's own plan.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select, text

from mailstore.accounts.accounts import list_accounts
from mailstore.accounts.groups import add_group
from mailstore.accounts.kinds import AccountState
from mailstore.credentials.proof import Method
from mailstore.db.database import Database
from mailstore.db.people_schema import accounts, grants, group_members
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.rights.facts import load_actor, load_mailbox
from mailstore.rights.grants import list_grants
from mailstore.rights.may import may
from mailstore.rights.model import Action
from mailstore.scope.model import Scope
from mssante_operator.assembly.database import migrations
from tests.bench.sides import postgresql
from tests.support.clock import NOW
from tests.support.db.plans import explained
from tests.support.people.proofs import shown

NUMBER: Final = 100_000
BOXES: Final = 200
PAGE: Final = 100
_AT_ONCE: Final = 5_000
_ROUNDS: Final = 21
_WHOLE: Final = ("SCAN accounts", "SCAN grants", "Seq Scan on accounts", "Seq Scan on grants")
_BOX: Final = "service{:03}@chu.mssante.fr"


def fill(conn: Connection, number: int) -> None:
    """So many accounts with a grant each on one of the mailboxes, and the first in fifty groups."""
    add_domain(conn, "chu.mssante.fr", now=NOW)
    identifier = Identifier(IdentifierKind.FINESS, "2A0000154")
    boxes = [
        add_mailbox(conn, _BOX.format(n), MailboxType.ORG, identifier, now=NOW).id
        for n in range(BOXES)
    ]
    for start in range(0, number, _AT_ONCE):
        rows = [_account(n) for n in range(start, min(start + _AT_ONCE, number))]
        conn.execute(insert(accounts), rows)
    ids = conn.scalars(select(accounts.c.id).order_by(accounts.c.id)).all()
    for start in range(0, number, _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        conn.execute(insert(grants), [_grant(one, boxes[one % BOXES]) for one in part])
    for n in range(50):
        group = add_group(conn, 1, f"group {n}", now=NOW)
        conn.execute(insert(group_members).values(group_id=group.id, account_id=ids[0], since=NOW))


def _account(number: int) -> dict[str, object]:
    return {
        "tenant_id": 1,
        "login": f"person{number:06}",
        "kind": "person",
        "family_name": "Martin",
        "given_name": "Claire",
        "state": "active",
        "state_since": NOW,
        "created_at": NOW,
    }


def _grant(account: int, mailbox: int) -> dict[str, object]:
    return {
        "mailbox_id": mailbox,
        "account_id": account,
        "may_read": True,
        "may_act": True,
        "may_send": False,
        "may_manage": False,
        "begins_at": NOW,
        "given_by": "root",
    }


def milliseconds(what: Callable[[], object]) -> float:
    """The best of some calls: the machine is shared."""
    taken = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        what()
        taken.append(time.perf_counter() - began)
    return min(taken) * 1000


def repeat(what: Callable[[], object], times: int) -> None:
    """Call it so often."""
    for _ in range(times):
        what()


def pages(conn: Connection, number: int) -> Iterator[tuple[str, float, str]]:
    """Kind of a list, milliseconds of a page at a place of it, and the place."""
    first = conn.scalar(select(grants.c.id).order_by(grants.c.id).limit(1)) or 0
    soon = NOW + timedelta(days=1)
    for place, offset in (("start", 0), ("middle", number // 2), ("end", number - PAGE)):
        login, grant = f"person{offset:06}", first + offset - 1
        lists: dict[str, Callable[[], Sequence[object]]] = {
            "accounts": partial(list_accounts, conn, after=login, limit=PAGE),
            "accounts of a tenant": partial(
                list_accounts, conn, tenant_id=1, after=login, limit=PAGE
            ),
            "grants": partial(list_grants, conn, after=grant, limit=PAGE),
            "grants in force": partial(list_grants, conn, at=soon, after=grant, limit=PAGE),
            "grants on a mailbox": partial(
                list_grants, conn, mailbox_id=1, after=grant, limit=PAGE
            ),
        }
        for name, read in lists.items():
            with explained(conn) as plans:
                found = len(read())
            whole = [one for plan in plans for one in _WHOLE if one in plan]
            assert not whole, plans
            assert found or place == "end", name
            yield name, milliseconds(read), place


def rare(conn: Connection) -> Iterator[tuple[str, float]]:
    """Milliseconds of lists that find nothing: the whole table is looked through."""
    none = partial(list_accounts, conn, state=AccountState.CLOSED, limit=PAGE)
    yield "closed accounts, where none is", milliseconds(none)
    yield (
        "grants of a tenant that has none",
        milliseconds(partial(list_grants, conn, scope=Scope(home=2, entire=True), limit=PAGE)),
    )


def rights(conn: Connection) -> Iterator[tuple[str, float]]:
    """Microseconds of `may`, and of reading the facts that it needs."""
    account = conn.scalar(select(accounts.c.id).order_by(accounts.c.id).limit(1)) or 0
    strong = shown(Method.OIDC, 2)
    mailbox = load_mailbox(conn, _BOX.format(account % BOXES))
    facts = load_actor(conn, account, strong, mailbox.id)
    assert may(facts, Action.READ, mailbox, NOW).allowed
    times = 1_000
    for action in (Action.READ, Action.SEND):
        allowed = "allowed" if may(facts, action, mailbox, NOW).allowed else "refused"
        asked = partial(may, facts, action, mailbox, NOW)
        yield f"may, {allowed}", milliseconds(partial(repeat, asked, times)) * 1000 / times

    def whole() -> None:
        box = load_mailbox(conn, mailbox_address)
        may(load_actor(conn, account, strong, box.id), Action.READ, box, NOW)

    mailbox_address = _BOX.format(account % BOXES)
    yield "facts read from the database, then may", milliseconds(whole) * 1000


def main() -> None:
    """Measure both databases."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else NUMBER
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="mssante-people-")))
        for name, url in (
            ("sqlite", f"sqlite:///{folder / 'people.db'}"),
            ("postgresql", opened.enter_context(postgresql())),
        ):
            migrations.upgrade(url)
            with closing(Database(url)) as database:
                with database.write() as conn:
                    fill(conn, number)
                if database.several:  # as its autovacuum does; nothing does so on SQLite
                    with database.write() as conn:
                        conn.execute(text("ANALYZE"))
                with database.read() as conn:
                    for what, micro in rights(conn):
                        sys.stdout.write(f"{name}: {what}: {micro:.1f} µs\n")
                    for what, milli, place in pages(conn, number):
                        sys.stdout.write(f"{name}: {what}, {place}: {milli:.2f} ms\n")
                    for what, milli in rare(conn):
                        sys.stdout.write(f"{name}: {what}: {milli:.1f} ms\n")


if __name__ == "__main__":
    main()
