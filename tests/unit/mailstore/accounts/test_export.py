"""All that is kept about a person, and no secret (RGPD, article 15)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from mailstore.accounts.accounts import Account, get_account
from mailstore.accounts.closing import close_account
from mailstore.accounts.export import export_account
from mailstore.accounts.groups import add_group, add_member
from mailstore.accounts.identifiers import add_identifier, end_identifier
from mailstore.accounts.person_identifiers import PersonIdentifier, PersonIdentifierKind
from mailstore.credentials.passwords import set_password
from mailstore.db.audit_schema import audit_rows
from mailstore.db.database import Database
from mailstore.db.folder_schema import seen_by_person
from mailstore.db.people_schema import accounts, break_glass, roles
from mailstore.db.schema import mailbox_holders, mailboxes, metadata, sent_counts
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.aliases import add_alias
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights.inactivity import keep_mailbox
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.answers import link_answer
from mailstore.teams.assignments import take
from mailstore.teams.notes import add_note
from tests.support.clock import NOW
from tests.support.people.accounts import OTHER_RPPS, RPPS, box, customer, grant, person
from tests.support.people.teams import ADDRESS, deliver, make_team, message_id

EXPORTED = {
    "accounts": "account",
    "account_identifiers": "identifiers",
    "group_members": "groups",
    "credentials": "credentials",
    "grants": "grants",
    "roles": "roles",
    "break_glass": "break_glass",
}
# Tables that hang on a mailbox: exported for the mailboxes of the person, or why not.
OF_MAILBOXES = {
    "mailbox_holders": "holder_of",
    "aliases": "aliases",
    "sent_counts": "sent",
    "inactivity": "unused_mailboxes",
    "credentials": "credentials",
    "grants": "grants",
    "break_glass": "break_glass",
    "entries": None,  # mail: exported from the mailbox
    "team_moves": None,  # of ORG mailboxes, which are nobody's
    "message_assignments": "assignments",
    "message_notes": "notes",
    "message_work": "work",
    "message_answers": "answers",
    # State of the mail: exported with it.
    "folders": None,
    "mailbox_state": None,
    "message_threads": None,
    "search_blocks": None,
    "thread_keys": None,
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
        agreed = {**access, "mailbox_id": team.id, "account_id": paul.id, "second": "claire"}
        conn.execute(insert(break_glass), [agreed])
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
    assert len(found["break_glass"]) == 3
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


def test_each_table_that_refers_to_mailboxes_is_exported(database: Database) -> None:
    referring = {
        table.name
        for table in metadata.sorted_tables
        if any(key.column.table is mailboxes for column in table.c for key in column.foreign_keys)
    }
    assert referring == {*OF_MAILBOXES}
    with database.write() as conn:
        sections = exported(conn, person(conn, "claire"))
    assert {one for one in OF_MAILBOXES.values() if one} <= {*sections}


def test_a_number_that_was_another_persons_shows_nothing_of_that_person(
    database: Database,
) -> None:
    """An identifier that was mistyped or replaced, and a PSI that looks like an RPPS."""
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        claire = person(conn, "claire", chu.id)
        box(conn, "paul@chu.mssante.fr")  # of RPPS
        add_identifier(conn, "claire", RPPS, now=NOW)
        end_identifier(conn, "claire", RPPS, now=NOW)
        like = PersonIdentifier(PersonIdentifierKind.PSI, RPPS.value)
        add_identifier(conn, "claire", like, now=NOW)
        conn.execute(
            insert(audit_rows), [audit_row(1, account="paul", mailbox="paul@chu.mssante.fr")]
        )
        found = exported(conn, claire)
        assert (found["mailboxes"], found["audit"]) == ([], [])
        later = NOW + timedelta(days=1)
        close_account(conn, "claire", "départ", now=later)
        found = exported(conn, get_account(conn, "claire"))
        assert (found["mailboxes"], found["audit"]) == ([], [])


def test_a_closed_account_has_still_what_it_held(database: Database) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        person(conn, "claire", chu.id)
        add_identifier(conn, "claire", RPPS, now=NOW)
        own, shared = box(conn, "a@chu.mssante.fr"), box(conn, "b@chu.mssante.fr", MailboxType.CAB)
        conn.execute(
            insert(mailbox_holders).values(mailbox_id=shared.id, rpps=RPPS.value, since=NOW)
        )
        add_alias(conn, own.address, "c@chu.mssante.fr", ends_at=None, now=NOW)
        counted = {"hour": NOW, "messages": 1, "recipients": 2}
        conn.execute(
            insert(sent_counts), [{**counted, "mailbox_id": one.id} for one in (own, shared)]
        )
        colleague = [
            audit_row(1, account="paul", mailbox=shared.address),
            audit_row(2, account="paul", mailbox=own.address),
        ]
        conn.execute(insert(audit_rows), colleague)
        close_account(conn, "claire", "départ", now=NOW)
        found = exported(conn, get_account(conn, "claire"))
    assert [row["address"] for row in found["mailboxes"]] == [own.address, shared.address]
    assert [row["mailbox"] for row in found["holder_of"]] == [shared.address]
    assert [row["address"] for row in found["aliases"]] == ["c@chu.mssante.fr"]
    assert [row["mailbox"] for row in found["sent"]] == [own.address]
    # Acts of others on a mailbox that they share are theirs.
    assert [row["seq"] for row in found["audit"]] == [2]


def test_the_names_of_sections_are_in_the_page_for_people() -> None:
    page = Path(__file__).parents[4].joinpath("docs", "people.md").read_text()
    of_mailboxes = [one for one in OF_MAILBOXES.values() if one]
    for section in (*EXPORTED.values(), *of_mailboxes, "mailboxes", "audit"):
        assert f"`{section}`" in page


def test_work_on_the_messages_of_a_team_is_its_persons_and_without_texts(
    database: Database,
) -> None:
    with database.write() as conn:
        team = make_team(conn)
        one, two = deliver(conn, team.mailbox, 1, 2, folder=team.inbox)
        lock = lock_mailbox(conn, team.mailbox)
        for message, account in ((one, team.claire), (two, team.paul)):
            take(lock, message, account, now=NOW, until=NOW + timedelta(hours=1))
            add_note(lock, RowSeal(None), message, account, "Rappeler", now=NOW)
            link_answer(lock, message, message_id(9), account, now=NOW)
            conn.execute(
                insert(seen_by_person).values(
                    entry_id=1, account_id=account, mailbox_id=team.mailbox, seen=True, modseq=1
                )
            )
        found = exported(conn, get_account(conn, "claire"))
    for name in ("assignments", "notes", "work", "answers"):
        assert [(row["mailbox"], row["message_id"]) for row in found[name]] == [(ADDRESS, one)]
    assert [(row["mailbox"], row["seen"]) for row in found["seen"]] == [(ADDRESS, True)]
    assert "Rappeler" not in str(found)
