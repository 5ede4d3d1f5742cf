"""Every command that has --as, by an actor of another tenant and by one without a role.

Issue: no list, search, grant, group, quota, rule or report crosses tenants unless an operator-wide
role asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import Table, select

from mailstore.audit_reading.search import AuditFilter, search
from mailstore.db import folder_schema, people_schema, schema
from mailstore.db.database import Database
from mailstore.mailboxes.aliases import add_alias
from mailstore.mailboxes.sent_counts import count_sent
from mailstore.rights import break_glass, grants, roles, team_moves
from mailstore.rights.break_glass import Asker
from mailstore.rights.grants import Grantee
from mailstore.rights.model import Period, Right, Role, RoleName
from tests.support.clock import NOW
from tests.support.machines.daemon import Daemon
from tests.support.people import administrators, house
from tests.support.people.acting_rows import ROWS, WITHOUT, Row
from tests.support.people.command_walk import walk

READ = frozenset({Right.READ})
VICTIMS = ("chu.mssante.fr", "ide.petit", "dr.martin", "bloc")
# Logging in changes credentials and the last log-in; all that acts change is in these.
WATCHED: tuple[Table, ...] = (
    schema.domains,
    schema.mailboxes,
    schema.aliases,
    schema.mailbox_holders,
    people_schema.tenants,
    people_schema.account_groups,
    people_schema.group_members,
    people_schema.grants,
    people_schema.roles,
    people_schema.break_glass,
    people_schema.team_moves,
    folder_schema.folders,
    folder_schema.folder_messages,
)
# Names of nothing, each as long as the one in use.
UNKNOWN = {
    "box": "cardio@abc.mssante.fr",
    "domain": "abc.mssante.fr",
    "tenant": "nowheres",
    "login": "ide.nobod",
    "grant": "9",
    "role": "9",
    "access": "9",
}
AUDITED = ("box", "domain", "tenant", "login", "csv")  # unknown numbers concern nothing


@pytest.fixture
def tenants(
    operator_q: Daemon, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, str]:
    """Names of the operator's tenant; `abroad` is operator of the other, `sec.durand` nothing."""
    administrators.hash_cheaply(monkeypatch)
    with database.write() as conn:
        home = house.build(conn)
        box, martin = home.mailboxes[house.ORG], home.accounts["dr.martin"]
        nurse = Grantee(home.accounts["ide.petit"], "ide.petit", 1)
        grant = grants.give(conn, box, 1, nurse, READ, Period(NOW), given_by="root")
        auditor = Role(RoleName.AUDITOR, Period(NOW), tenant_id=1)
        role = roles.give_role(conn, martin, auditor, given_by="root")
        operator = Role(RoleName.OPERATOR, Period(NOW), tenant_id=home.tenants["clinique"])
        roles.give_role(conn, home.accounts["abroad"], operator, given_by="root")
        asker, later = Asker(martin, "dr.martin", "root"), NOW + timedelta(hours=4)
        access = break_glass.ask(conn, box, asker, "why", NOW, later, needs_second=True)
        team_moves.begin_move(conn, box, NOW, NOW + timedelta(days=30))
        add_alias(conn, house.ORG, "coeur@chu.mssante.fr", ends_at=None, now=NOW)
        count_sent(conn, home.mailboxes[house.PER], NOW, 3)
    administrators.seat(operator_q, "abroad", "sec.durand")
    letter = operator_q.folder / "letter.eml"
    letter.write_bytes(f"From: <{house.PER}>\r\nSubject: x\r\n\r\ntext\r\n".encode())
    sent = operator_q.run("message", "send", str(letter), "--from", house.PER, "--to", house.ORG)
    (operator_q.folder / "members").write_text("ide.petit\n")
    return {
        "box": house.ORG,
        "domain": "chu.mssante.fr",
        "tenant": "operator",
        "login": "ide.petit",
        "grant": str(grant),
        "role": str(role),
        "access": str(access.id),
        "message": sent.split()[2].rstrip(":"),
        "members": str(operator_q.folder / "members"),
        "csv": csv(operator_q, "chu.mssante.fr"),
    }


def csv(daemon: Daemon, domain: str) -> str:
    path = daemon.folder / f"{domain}.csv"
    path.write_text(f"address,type,rpps\nneu@{domain},PER,10000001916\n")
    return str(path)


def contents(database: Database) -> list[object]:
    """All rows that an act may change, and the states of accounts."""
    with database.read() as conn:
        accounts = people_schema.accounts.c
        queries = [select(table) for table in WATCHED]
        queries.append(select(accounts.login, accounts.state, accounts.state_since))
        return [sorted(map(repr, conn.execute(query).all())) for query in queries]


@dataclass(frozen=True)
class Actor:
    """An account that tries commands with both factors."""

    daemon: Daemon
    database: Database
    login: str

    def tries(self, name: str, row: Row, names: Mapping[str, str], code: int = 1) -> str:
        """Output of a command."""
        words = row.words.format_map({**names, "own": self.login}).split()
        proof = administrators.both(self.daemon, self.database, self.login)
        return self.daemon.run(*name.split(), *words, *proof, code=code)

    def is_refused(self, name: str, row: Row, names: Mapping[str, str]) -> str:
        """Output of a command whose refusal is the newest audit row."""
        said = self.tries(name, row, names)
        with self.database.read() as conn:
            (newest,) = search(conn, AuditFilter(), limit=1)
        assert (newest.event, newest.account) == ("act.refused", self.login), (name, said)
        return said


def test_each_command_has_a_row_or_a_reason() -> None:
    found = dict(walk())
    assert sorted(name for name, acting in found.items() if acting) == sorted(ROWS)
    assert sorted(name for name, acting in found.items() if not acting) == sorted(WITHOUT)


def test_nobody_reaches_another_tenant(
    operator_q: Daemon, database: Database, tenants: Mapping[str, str]
) -> None:
    abroad, before = Actor(operator_q, database, "abroad"), contents(database)
    for name, row in ROWS.items():
        if row.lists:
            said = abroad.tries(name, row, tenants, row.code)
            assert not any(victim in said for victim in VICTIMS), (name, said)
        else:
            abroad.is_refused(name, row, tenants)
    assert contents(database) == before


# The same rules decide on both databases; the walk above tries each statement on both.
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_without_a_role_nothing_is_done_or_seen(
    operator_q: Daemon, database: Database, tenants: Mapping[str, str]
) -> None:
    nobody, before = Actor(operator_q, database, "sec.durand"), contents(database)
    for name, row in ROWS.items():
        nobody.is_refused(name, row, tenants)
    assert contents(database) == before


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_things_of_another_tenant_look_like_unknown_ones(
    operator_q: Daemon, database: Database, tenants: Mapping[str, str]
) -> None:
    abroad = Actor(operator_q, database, "abroad")
    unknown = {**tenants, **UNKNOWN, "message": "0" * len(tenants["message"])}
    unknown["csv"] = csv(operator_q, UNKNOWN["domain"])
    for name, row in ROWS.items():
        named = [key for key in unknown if f"{{{key}}}" in row.words]
        if row.lists or not named:
            continue
        theirs = abroad.is_refused(name, row, tenants)
        if set(named) & set(AUDITED):
            nothing = abroad.is_refused(name, row, unknown)
        else:
            nothing = abroad.tries(name, row, unknown)
        for key in ("domain", *named):
            nothing = nothing.replace(unknown[key], tenants[key])
        assert theirs == nothing, name
