"""Migrations make exactly the schema of the code, one run at a time."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from mailstore.db import dialect
from mailstore.db.database import Database
from mailstore.db.schema import metadata
from mailstore.errors import InvalidDatabaseUrl, MailstoreError, StoreUnavailable
from mailstore.mailboxes.mailboxes import add_domain, list_domains, list_mailboxes
from mssante_operator.assembly.database import migrations
from mssante_operator.assembly.database.schema_revision import REVISION
from tests.support.clock import NOW


def table_names(url: str) -> set[str]:
    database = Database(url)
    with database.read() as conn:
        names = set(inspect(conn).get_table_names())
    database.close()
    return names


def test_migrations_make_exactly_the_metadata(database: Database) -> None:
    with database.read() as conn:
        context = MigrationContext.configure(conn)
        assert compare_metadata(context, metadata) == []


def test_check_constraints_say_the_same_as_the_metadata(
    database: Database, empty_database_url: str
) -> None:
    # Alembic does not compare these.
    made = Database(empty_database_url)
    with made.write() as conn:
        metadata.create_all(conn)
    with made.read() as one, database.read() as other:
        for table in metadata.tables:
            checks, others = (inspect(conn).get_check_constraints(table) for conn in (one, other))
            assert {c["name"]: c["sqltext"] for c in checks} == {
                c["name"]: c["sqltext"] for c in others
            }, table
    made.close()


def test_upgrade_from_nothing_and_again(empty_database_url: str) -> None:
    assert migrations.current(empty_database_url) is None
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == REVISION
    assert table_names(empty_database_url) == {*metadata.tables, "alembic_version"}
    database = Database(empty_database_url)
    with database.write() as conn:
        domain = add_domain(conn, "chu.mssante.fr", now=NOW)
    migrations.upgrade(empty_database_url)
    with database.read() as conn:
        assert list_domains(conn) == [domain]
    assert database.schema_revision() == REVISION
    database.close()


def test_down_to_nothing_and_up_again(database_url: str) -> None:
    migrations.downgrade(database_url, "base")
    assert migrations.current(database_url) is None
    assert table_names(database_url) == {"alembic_version"}
    migrations.upgrade(database_url)
    database = Database(database_url)
    test_migrations_make_exactly_the_metadata(database)
    database.close()


def test_mailboxes_keep_what_they_have_as_the_quota_comes_and_goes(database_url: str) -> None:
    migrations.downgrade(database_url, "0002")
    database = Database(database_url)
    with database.write() as conn:
        conn.execute(text("INSERT INTO domains (name, created_at) VALUES ('a.mssante.fr', 0)"))
        conn.execute(
            text(
                "INSERT INTO mailboxes (domain_id, local_part, address, type, state,"
                " identifier_kind, identifier_value, created_at)"
                " SELECT id, 'a', 'a@a.mssante.fr', 'PER', 'active', 'RPPS', '10000001916', 0"
                " FROM domains"
            )
        )
    for revision in (REVISION, "0002", REVISION):
        migrations.upgrade(database_url)
        migrations.downgrade(database_url, revision)
        # DOMAIN §9.33: on SQLite a rebuilt table loses its trigger.
        with pytest.raises(IntegrityError, match="never change"), database.write() as conn:
            conn.execute(text("UPDATE mailboxes SET type = 'ORG'"))
    with database.read() as conn:
        (found,) = list_mailboxes(conn)
    assert (found.address, found.quota) == ("a@a.mssante.fr", None)
    database.close()


def test_a_failed_migration_leaves_nothing_behind(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with database.write() as conn:
        # A table of this name blocks the last step of the first migration.
        conn.execute(text("CREATE TABLE entries (id INTEGER)"))
    with pytest.raises(DBAPIError, match="entries"):
        migrations.upgrade(empty_database_url)
    assert table_names(empty_database_url) - {"alembic_version"} == {"entries"}
    with database.write() as conn:
        conn.execute(text("DROP TABLE entries"))
    database.close()
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == REVISION


def test_a_schema_of_a_newer_version_is_left_alone(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(MailstoreError, match=r"9999.*newer version of this software"):
        migrations.upgrade(database_url)
    assert database.schema_revision() == "9999"
    database.close()


def test_several_machines_may_upgrade_at_once(empty_database_url: str, tmp_path: Path) -> None:
    module = "mssante_operator.assembly.database.migrations"
    program = f"import sys; from {module} import upgrade; upgrade(sys.argv[1])"
    # From another folder: nothing may depend on the current folder.
    runs = [
        subprocess.Popen([sys.executable, "-c", program, empty_database_url], cwd=tmp_path)
        for _ in range(2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert migrations.current(empty_database_url) == REVISION


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_run_waits_for_the_lock_of_another(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    waiting = text(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    run = threading.Thread(target=migrations.upgrade, args=[empty_database_url])
    with database.connect() as conn, dialect.exclusive_migration(conn):
        run.start()
        while not conn.scalar(waiting):
            assert run.is_alive()
        assert not inspect(conn).has_table("messages")
    run.join(30)
    assert database.schema_revision() == REVISION
    database.close()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_busy_table_holds_up_a_migration_for_seconds_only(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "MIGRATION_LOCK_TIMEOUT", 0.05)
    database = Database(database_url)
    with database.write() as conn:
        conn.execute(text("LOCK TABLE row_sealing"))
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            migrations.downgrade(database_url, "base")
    # The first revision to be taken back needs the table.
    assert database.schema_revision() == REVISION
    assert "row_sealing" in table_names(database_url)
    database.close()


def test_bad_urls_are_told() -> None:
    for use in (migrations.upgrade, migrations.current):
        with pytest.raises(InvalidDatabaseUrl):
            use("mysql://db/mssante")


def test_the_queue_keeps_its_rows_and_numbers_as_its_columns_come_and_go(database_url: str) -> None:
    queue_one = text(
        "INSERT INTO deliveries"
        " (message_id, domain, state, smtputf8, attempts, due, created_at, last_error)"
        " SELECT id, 'b.mssante.fr', 'waiting', false, 0, 0, 0, '' FROM messages"
    )
    migrations.downgrade(database_url, "0004")
    database = Database(database_url)
    with database.write() as conn:
        conn.execute(
            text(
                "INSERT INTO messages (id, sender, blob, size, trace, peer, session, received_at)"
                " VALUES (:id, 'dr@a.mssante.fr', :blob, 1, '', 'local', 's', 0)"
            ),
            {"id": "0" * 32, "blob": "0" * 64},
        )
        conn.execute(queue_one)
        conn.execute(
            text(
                "INSERT INTO delivery_recipients (delivery_id, address, state, reply)"
                " SELECT id, 'x@b.mssante.fr', 'waiting', '' FROM deliveries"
            )
        )
        number = conn.scalar(text("SELECT id FROM deliveries"))
    migrations.upgrade(database_url)
    with database.read() as conn:
        row = conn.execute(text("SELECT sender, traffic, held, delay_told FROM deliveries")).one()
        notify = conn.scalar(text("SELECT notify FROM delivery_recipients"))
    assert (*row, notify) == ("dr@a.mssante.fr", "person", None, False, "")
    migrations.downgrade(database_url, "0004")
    migrations.upgrade(database_url)
    with database.write() as conn:
        conn.execute(text("DELETE FROM delivery_recipients"))
        conn.execute(text("DELETE FROM deliveries"))
        conn.execute(queue_one)
        # A number is never reused.
        assert conn.scalar(text("SELECT id FROM deliveries")) > number
    database.close()
