"""Many accounts at once: each line is checked, all are added or none."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from mailstore.accounts.accounts import get_account, list_accounts
from mailstore.accounts.bulk import (
    COLUMNS,
    REQUIRED,
    AccountLine,
    add_lines,
    check_lines,
    read_lines,
)
from mailstore.accounts.closing import close_account
from mailstore.accounts.groups import add_group, groups_of
from mailstore.accounts.identifiers import add_identifier, live_identifiers
from mailstore.accounts.kinds import AccountKind
from mailstore.accounts.tenants import add_tenant
from mailstore.db.database import Database
from mailstore.errors import Conflict
from mailstore.mailbox_import.csv_form import CsvLine, read_csv
from tests.support.clock import NOW
from tests.support.people.accounts import OTHER_RPPS, PSI, RPPS, person


def lines_of(text: str) -> list[AccountLine]:
    return read_lines(read_csv(text.encode(), COLUMNS, REQUIRED), "operator")


def faults(conn: Connection, text: str) -> list[str | None]:
    return [one.fault for one in check_lines(conn, lines_of(text))]


def test_a_table_of_people_and_programs(database: Database) -> None:
    with database.write() as conn:
        chu = add_tenant(conn, "chu", now=NOW)
        for name in ("bloc", "accueil"):
            add_group(conn, chu.id, name, now=NOW)
        lines = lines_of(
            "login;family_name;given_name;tenant;kind;rpps;psi;groups\n"
            f"Claire;Martin;Claire;CHU;;{RPPS.value};{PSI.value};bloc|accueil|bloc\n"
            "pfi;PFI du CHU;;chu;software;;;\n"
            "paul;Paul;;;person;;;\n"
        )
        checked = check_lines(conn, lines)
        assert [one.fault for one in checked] == [None] * 3
        add_lines(conn, checked, NOW)
        claire, pfi, paul = (get_account(conn, login) for login in ("claire", "pfi", "paul"))
        assert (claire.name, claire.tenant, claire.created_at) == ("Claire Martin", "chu", NOW)
        assert live_identifiers(conn, claire.id) == {RPPS, PSI}
        assert groups_of(conn, claire.id) == ["accueil", "bloc"]
        assert (pfi.kind, paul.tenant) == (AccountKind.SOFTWARE, "operator")


def test_each_line_by_itself() -> None:
    rows = read_csv(
        (
            "login,family_name,kind,rpps,adeli\n"
            "Éric,x,,,\n"
            "a,,,,\n"
            "a,x,robot,,\n"
            "a,x,software,10000001916,\n"
            "a,x,,10000001917,\n"
            "a,x\n"
            "b,x,,10000001916,\n"
            "B,x,,,\n"
            "c,x,,10000001916,\n"
        ).encode(),
        COLUMNS,
        REQUIRED,
    )
    found = [(one.line, one.fault) for one in read_lines(rows, "operator")]
    for (line, fault), says in zip(
        found,
        [
            "not a log-in name",
            "family name is empty",
            "no kind: person or software",
            "a program has no national identifier",
            "check digit",
            "2 cells, and the header names 5",
            None,
            "line 8 has b too",
            "line 8 has RPPS 10000001916 too",
        ],
        strict=True,
    ):
        assert (fault is None) == (says is None), line
        assert says is None or says in str(fault), line


def test_each_line_against_what_is_there(database: Database) -> None:
    with database.write() as conn:
        chu = add_tenant(conn, "chu", now=NOW)
        add_group(conn, chu.id, "bloc", now=NOW)
        person(conn, "claire")
        add_identifier(conn, "claire", RPPS, now=NOW)
        person(conn, "gone")
        add_identifier(conn, "gone", OTHER_RPPS, now=NOW)
        close_account(conn, "gone", "départ", now=NOW)
        head = "login,family_name,tenant,rpps,groups\n"
        assert faults(conn, head + "claire,x,chu,,\nGONE,x,,,\n") == [
            "the log-in name claire is taken",
            "the log-in name gone is taken",
        ]
        assert faults(conn, head + f"b,x,,{RPPS.value},\nc,x,chu,{RPPS.value},\n") == [
            "RPPS 10000001916 belongs to the account claire",
            None,
        ]
        assert faults(conn, head + f"b,x,,{OTHER_RPPS.value},\nc,x,y,,\n") == [
            None,
            "there is no tenant y",
        ]
        assert faults(conn, head + "b,x,,,bloc\nc,x,chu,,bloc\n") == [
            "there is no group bloc in the tenant operator",
            None,
        ]


def test_who_was_faster_wins(database: Database) -> None:
    with database.write() as conn:
        checked = check_lines(conn, lines_of("login,family_name\nclaire,x\npaul,x\n"))
    with database.write() as conn:
        person(conn, "paul")
    with pytest.raises(Conflict, match="meanwhile"), database.write() as conn:
        add_lines(conn, checked, NOW)
    with database.read() as conn:
        assert [one.login for one in list_accounts(conn)] == ["paul"]


def test_more_than_a_query_takes(database: Database) -> None:
    rows = [CsvLine(2, {"login": f"a{number:04}", "family_name": "x"}) for number in range(1_200)]
    rows = [replace(row, number=number) for number, row in enumerate(rows, 2)]
    with database.write() as conn:
        person(conn, "a1100")
        checked = check_lines(conn, read_lines(rows, "operator"))
        assert [one.line for one in checked if one.fault] == [1_102]
        add_lines(conn, [one for one in checked if not one.fault], NOW)
        add_lines(conn, [], NOW)
        assert len(list_accounts(conn, after="a0999", limit=1_000)) == 200
