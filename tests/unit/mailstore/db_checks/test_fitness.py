"""PostgreSQL in each state that a database administrator may leave: refused in one line."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable, UnfitDatabase
from mailstore.mailboxes.mailboxes import add_domain, list_domains
from mssante_operator.assembly.database import migrations
from mssante_operator.assembly.database.database_check import fit_revision
from mssante_operator.assembly.database.schema_revision import REVISION
from tests.support.clock import NOW
from tests.support.db.own_server import fresh, make_role, running
from tests.support.db.pgbouncer import missing, pooling
from tests.support.db.postgresql import Server


def url_of(server: Server, role: str, database: str) -> str:
    return f"postgresql://{role}@127.0.0.1:{server.port}/{database}"


def revision(url: str) -> str | None:
    with closing(Database(url)) as database:
        return fit_revision(database)


def refused(url: str) -> str:
    """The reason, a single line."""
    with pytest.raises((UnfitDatabase, StoreUnavailable)) as error:
        revision(url)
    said = str(error.value)
    assert "\n" not in said
    return said


def upgrade_refused(url: str) -> str:
    with pytest.raises((UnfitDatabase, StoreUnavailable)) as error:
        migrations.upgrade(url)
    return str(error.value)


@pytest.fixture
def role(own_server: Server, own_database: str) -> str:
    """A role with exactly the rights of docs/operate.md."""
    made = make_role(own_server)
    for statement in (
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {made}",
        f"GRANT USAGE ON SCHEMA public TO {made}",
    ):
        own_server.ask(statement, database=own_database)
    return made


@pytest.fixture
def encoded(own_server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    name = fresh("encoded")
    own_server.ask(
        f"CREATE DATABASE {name} ENCODING '{request.param}' LOCALE 'C' TEMPLATE template0"
    )
    yield name
    own_server.ask(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_role_with_its_rights_alone_does(
    own_server: Server, own_database: str, role: str
) -> None:
    url = url_of(own_server, role, own_database)
    assert revision(url) == REVISION
    migrations.upgrade(url)  # nothing to do, so no right is missing
    with closing(Database(url)) as database, database.write() as connection:
        name = add_domain(connection, "chu.mssante.fr", now=NOW).name  # numbered without a sequence
        assert [one.name for one in list_domains(connection)] == [name]


@pytest.mark.parametrize("encoded", ["LATIN1", "SQL_ASCII"], indirect=True)
def test_an_encoding_that_does_not_hold_every_address_is_refused(
    own_server: Server, encoded: str
) -> None:
    for told in (refused(own_server.url(encoded)), upgrade_refused(own_server.url(encoded))):
        assert "createdb --encoding=UTF8 --locale=C --template=template0" in told
    assert own_server.ask(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=encoded
    ) == [(0,)]


@pytest.mark.parametrize("right", ["SELECT", "INSERT", "UPDATE", "DELETE"])
def test_a_right_that_lacks_is_named(
    own_server: Server, own_database: str, role: str, right: str
) -> None:
    own_server.ask(f"REVOKE {right} ON entries FROM {role}", database=own_database)
    told = refused(url_of(own_server, role, own_database))
    assert f"{role} lacks rights: {right} on entries; run: GRANT" in told
    assert told.endswith(f"IN SCHEMA public TO {role}")
    own_server.ask(told.partition("run: ")[2], database=own_database)
    assert revision(url_of(own_server, role, own_database)) == REVISION


def test_a_role_that_may_not_make_tables_does_not_migrate(own_server: Server) -> None:
    name, made = fresh("empty"), make_role(own_server)
    own_server.ask(f"CREATE DATABASE {name}")
    own_server.ask("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=name)
    url = url_of(own_server, made, name)
    told = upgrade_refused(url)
    assert f"GRANT USAGE, CREATE ON SCHEMA public TO {made}" in told
    own_server.ask(told.rpartition(": ")[2], database=name)
    migrations.upgrade(url)
    assert revision(url) == REVISION
    own_server.ask(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_role_that_does_not_own_the_tables_does_not_migrate(
    own_server: Server, own_database: str, role: str
) -> None:
    migrations.downgrade(own_server.url(own_database), "0006")
    own_server.ask(f"GRANT CREATE ON SCHEMA public TO {role}", database=own_database)
    told = upgrade_refused(url_of(own_server, role, own_database))
    assert "does not own the table" in told
    assert f"run the command with the role postgres, or: GRANT postgres TO {role}" in told


CHANGES = {
    "DROP TABLE mailbox_changes": "the table mailbox_changes is missing",
    "ALTER TABLE entries DROP recipient": "the table entries lacks the column recipient",
    "ALTER TABLE messages ALTER sender TYPE varchar(40)":
        "messages.sender is character varying(40), and has to hold text",
    "ALTER TABLE domains ALTER name TYPE varchar(63)":
        "domains.name is character varying(63), and has to hold character varying(253)",
    "ALTER TABLE messages ALTER size TYPE integer":
        "messages.size is integer, and has to hold bigint",
    "ALTER TABLE entries ADD legal_hold boolean NOT NULL":
        "entries.legal_hold is not of this version, and demands a value",
    "ALTER TABLE bodies SET UNLOGGED": "a crash of PostgreSQL empties it",
    "ALTER TABLE bodies ENABLE ROW LEVEL SECURITY": "hides rows of bodies",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_schema_that_was_changed_is_refused(
    own_server: Server, own_database: str, role: str, change: str
) -> None:
    own_server.ask(change, database=own_database)
    url = url_of(own_server, role, own_database)
    told = refused(url)
    assert CHANGES[change] in told
    remedy = told.partition("run: ")[2]
    if remedy:
        own_server.ask(remedy, database=own_database)
        assert revision(url) == REVISION


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE entries ADD note text",
        "ALTER TABLE entries ADD kept boolean NOT NULL DEFAULT false",
        "ALTER TABLE domains ALTER name TYPE text",
        "CREATE TABLE others (id int)",
        "CREATE INDEX of_theirs ON entries (recipient)",
    ],
)
def test_a_change_that_does_no_harm_is_none(
    own_server: Server, own_database: str, role: str, change: str
) -> None:
    own_server.ask(change, database=own_database)
    assert revision(url_of(own_server, role, own_database)) == REVISION


def test_tables_that_the_search_path_hides_are_not_made_again(
    own_server: Server, own_database: str, role: str
) -> None:
    own_server.ask(f"ALTER ROLE {role} SET search_path = elsewhere")
    for statement in ("CREATE SCHEMA elsewhere", f"GRANT ALL ON SCHEMA elsewhere TO {role}"):
        own_server.ask(statement, database=own_database)
    url = url_of(own_server, role, own_database)
    for told in (refused(url), upgrade_refused(url)):
        assert "are in the schema public, which the search_path (elsewhere) hides" in told
    own_server.ask(told.partition("run: ")[2])
    assert revision(url) == REVISION


def test_a_schema_of_another_name_does(own_server: Server, own_database: str, role: str) -> None:
    own_server.ask("ALTER SCHEMA public RENAME TO courrier", database=own_database)
    url = url_of(own_server, role, own_database)
    own_server.ask(refused(url).partition("run: ")[2])
    assert revision(url) == REVISION


def test_a_schema_that_the_role_may_not_use_is_told(
    own_server: Server, own_database: str, role: str
) -> None:
    own_server.ask(f"REVOKE USAGE ON SCHEMA public FROM PUBLIC, {role}", database=own_database)
    told = refused(url_of(own_server, role, own_database))
    assert told.endswith(f"run: GRANT USAGE ON SCHEMA public TO {role}")


@pytest.mark.parametrize("whose", ["ROLE", "DATABASE"])
def test_a_database_that_takes_no_writes_is_unavailable(
    own_server: Server, own_database: str, role: str, whose: str
) -> None:
    name = role if whose == "ROLE" else own_database
    own_server.ask(f"ALTER {whose} {name} SET default_transaction_read_only = on")
    url = url_of(own_server, role, own_database)
    with closing(Database(url)) as database:
        with pytest.raises(StoreUnavailable, match="default_transaction_read_only"):
            fit_revision(database)
        # Otherwise mail would be accepted again after each message that could not be stored.
        with pytest.raises(StoreUnavailable, match="default_transaction_read_only"):
            database.probe()
    own_server.ask(f"ALTER {whose} {name} RESET default_transaction_read_only")
    assert revision(url) == REVISION


@pytest.mark.integration
def test_a_standby_is_unavailable() -> None:
    with running() as server:
        name = fresh("db")
        server.ask(f"CREATE DATABASE {name}")
        migrations.upgrade(server.url(name))
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        with closing(Database(server.url(name))) as database:
            with pytest.raises(StoreUnavailable, match="is a standby, which takes no writes"):
                fit_revision(database)
            with pytest.raises(StoreUnavailable, match="is a standby, which takes no writes"):
                database.probe()
            server.promote()
            assert fit_revision(database) == REVISION
            database.probe()


def test_a_right_that_is_taken_away_is_unavailability(
    own_server: Server, own_database: str, role: str
) -> None:
    with closing(Database(url_of(own_server, role, own_database))) as database:
        own_server.ask(f"REVOKE INSERT ON domains FROM {role}", database=own_database)
        with pytest.raises(StoreUnavailable, match="mssante config check"):  # noqa: SIM117
            with database.write() as connection:
                add_domain(connection, "chu.mssante.fr", now=NOW)


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize(("mode", "fit"), [("session", True), ("transaction", False)])
def test_a_pooler_that_shares_is_refused(
    own_server: Server, own_database: str, mode: str, *, fit: bool
) -> None:
    with pooling(own_server, mode) as port:
        url = f"postgresql://postgres@127.0.0.1:{port}/{own_database}"
        if fit:
            assert revision(url) == REVISION
        else:
            assert "set pool_mode = session" in refused(url)
            assert "set pool_mode = session" in upgrade_refused(url)


def test_roles_and_rights_as_documented_do(own_server: Server) -> None:
    page = (Path(__file__).parents[4] / "docs" / "operate.md").read_text()
    script = page.partition("```sql\n")[2].partition("```")[0]
    owner, daemon, name = fresh("owner"), fresh("daemon"), fresh("documented")
    for before, now in (("mssante_owner", owner), ("TO mssante;", f"TO {daemon};")):
        script = script.replace(before, now)
    script = script.replace("ROLE mssante ", f"ROLE {daemon} ")
    script = script.replace("DATABASE mssante ", f"DATABASE {name} ")
    in_postgres, _, in_ours = script.partition("\\connect mssante\n")
    for part, database in ((in_postgres, "postgres"), (in_ours, name)):
        for statement in filter(None, map(str.strip, part.split(";\n"))):
            own_server.ask(statement, database=database)
    migrations.upgrade(url_of(own_server, owner, name))
    assert revision(url_of(own_server, daemon, name)) == REVISION
    assert upgrade_refused_at("0006", own_server, owner, daemon, name)
    own_server.ask(f"DROP DATABASE {name} WITH (FORCE)")


def upgrade_refused_at(older: str, server: Server, owner: str, daemon: str, database: str) -> str:
    """Reason why the daemon's role cannot migrate an older schema."""
    migrations.downgrade(url_of(server, owner, database), older)
    return upgrade_refused(url_of(server, daemon, database))
