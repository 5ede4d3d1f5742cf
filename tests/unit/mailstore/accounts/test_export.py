"""All that is kept about a person, and no secret (RGPD, article 15)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from mailstore.accounts.accounts import Account
from mailstore.accounts.export import export_account
from mailstore.accounts.groups import add_group, add_member
from mailstore.accounts.identifiers import add_identifier, end_identifier
from mailstore.credentials.passwords import set_password
from mailstore.db.audit_schema import audit_rows
from mailstore.db.database import Database
from mailstore.db.people_schema import accounts, break_glass, roles
from mailstore.db.schema import metadata
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights.inactivity import keep_mailbox
from tests.support.clock import NOW
from tests.support.people.accounts import OTHER_RPPS, RPPS, box, customer, grant, person

EXPORTED = {
    "accounts": "account",
    "account_identifiers": "identifiers",
    "group_members": "groups",
    "credentials": "credentials",
    "grants": "grants",
    "roles": "roles",
    "break_glass": "break_glass",
}


def exported(conn: Connection, account: Account) -> dict[str, list[dict[str, Any]]]:
    return {name: list(rows) for name, rows in export_account(conn, account)}


def audit_row(seq: int, **columns: object) -> dict[str, object]:
    return {
        "chain": 1,
        "seq": seq,
        "at": NOW + timedelta(seconds=seq),
        "event": "x.y",
        "result": "done",
        "account": None,
        "subject": None,
        "mailbox": None,
        "door": "command",
        "facts": "{}",
        "digest": b"",
        "seal": b"",
        **columns,
    }


def test_everything_of_a_person_and_nothing_of_others(database: Database) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        claire, paul = person(conn, "claire", chu.id), person(conn, "paul", chu.id)
        add_identifier(conn, "claire", OTHER_RPPS, now=NOW)
        end_identifier(conn, "claire", OTHER_RPPS, now=NOW)
        add_identifier(conn, "claire", RPPS, now=NOW)
        team = box(conn, "bloc@chu.mssante.fr", MailboxType.ORG)
        own = box(conn, "claire@chu.mssante.fr")
        add_member(conn, add_group(conn, chu.id, "bloc", now=NOW), "claire", now=NOW)
        for one in (claire, paul):
            set_password(conn, one, f"$argon2id$secret of {one.login}", now=NOW)
            grant(conn, team, one.id)
        for mailbox in (own, team):
            keep_mailbox(conn, mailbox.id, NOW + timedelta(days=9), "congé", now=NOW)
        role = {"role": "helpdesk", "begins_at": NOW, "given_by": "x"}
        conn.execute(insert(roles), [{**role, "account_id": claire.id}])
        access = {
            "unix_user": "root",
            "reason": "x",
            "asked_at": NOW,
            "ends_at": NOW,
            "needs_second": False,
            "tell_holder": True,
        }
        conn.execute(
            insert(break_glass),
            [
                {**access, "mailbox_id": team.id, "account_id": claire.id},
                {**access, "mailbox_id": own.id, "account_id": paul.id},
                {**access, "mailbox_id": team.id, "account_id": paul.id},
            ],
        )
        conn.execute(
            insert(audit_rows),
            [
                audit_row(1, account="paul", subject="claire"),
                audit_row(2, account="claire", mailbox="bloc@chu.mssante.fr"),
                audit_row(3, account="paul", mailbox="claire@chu.mssante.fr"),
                audit_row(4, account="paul", mailbox="bloc@chu.mssante.fr"),
            ],
        )
        found = exported(conn, claire)
    assert found["account"][0]["login"] == "claire"
    assert found["account"][0]["tenant"] == "chu"
    assert [row["ended_at"] for row in found["identifiers"]] == [NOW, None]
    assert [row["name"] for row in found["groups"]] == ["bloc"]
    assert [row["kind"] for row in found["credentials"]] == ["password"]
    assert [row["mailbox"] for row in found["grants"]] == ["bloc@chu.mssante.fr"]
    assert [row["role"] for row in found["roles"]] == ["helpdesk"]
    assert len(found["break_glass"]) == 2
    assert [row["address"] for row in found["mailboxes"]] == ["claire@chu.mssante.fr"]
    assert [(row["mailbox"], row["kept_reason"]) for row in found["unused_mailboxes"]] == [
        ("claire@chu.mssante.fr", "congé")
    ]
    assert [row["seq"] for row in found["audit"]] == [1, 2, 3]
    assert "secret of" not in str(found)


def test_each_table_that_refers_to_accounts_is_exported(database: Database) -> None:
    referring = {
        table.name
        for table in metadata.sorted_tables
        if any(key.column.table is accounts for column in table.c for key in column.foreign_keys)
    }
    assert referring | {"accounts"} == {*EXPORTED}
    with database.write() as conn:
        assert {*EXPORTED.values()} <= {*exported(conn, person(conn, "claire"))}


def test_the_names_of_sections_are_in_the_page_for_people() -> None:
    page = Path(__file__).parents[4].joinpath("docs", "people.md").read_text()
    for section in (*EXPORTED.values(), "mailboxes", "unused_mailboxes", "audit"):
        assert f"`{section}`" in page
