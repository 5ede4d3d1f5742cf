"""Unfit PostgreSQL: `config check`, `serve` and `db upgrade` report it with the same words."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mssante_operator.assembly.clock import utc_now
from mssante_operator.setup.install import SAMPLES
from tests.support.db.own_server import make_role
from tests.support.db.pgbouncer import missing, pooling
from tests.support.db.postgresql import Server
from tests.support.machines.daemon import Daemon, lay_out

SECRET = "Pfirsich"


def on(url: str, folder: Path) -> Daemon:
    """Operator with the given database."""
    daemon = lay_out(folder / "a", "a")
    text = daemon.config.read_text()
    daemon.config.write_text(
        text.replace('directory = "data"', f'directory = "data"\ndatabase = {json.dumps(url)}')
    )
    daemon.config.chmod(0o600)
    return daemon


def with_mailboxes(daemon: Daemon) -> None:
    with daemon.store() as store, store.database.write() as connection:
        now = utc_now()
        add_domain(connection, "a.mssante.fr", now=now)
        for local, kind, identifier, _ in SAMPLES:
            add_mailbox(connection, f"{local}@a.mssante.fr", kind, identifier, now=now)


def findings(daemon: Daemon, code: int = 0) -> list[tuple[str, str, str]]:
    rows = json.loads(daemon.run("config", "check", "--json", code=code))
    return [(row["check"], row["ok"], row["detail"]) for row in rows]


def check_refused(daemon: Daemon, says: str) -> None:
    """Check: `config check` says NO and `serve` exits, with the same line."""
    (told,) = [detail for _, ok, detail in findings(daemon, 1) if ok == "NO"]
    assert says in told
    assert told.startswith(f"{daemon.config}: storage")
    served = daemon.run("serve", code=1)
    assert served == f"mssante: {told}\n"
    assert SECRET not in served


def latin(server: Server, name: str) -> None:
    server.ask(f"DROP DATABASE {name}")
    server.ask(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")


def ascii_only(server: Server, name: str) -> None:
    server.ask(f"DROP DATABASE {name}")
    server.ask(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")


def read_only(server: Server, name: str) -> None:
    server.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")


def column_dropped(server: Server, name: str) -> None:
    server.ask("ALTER TABLE entries DROP recipient", database=name)


def table_dropped(server: Server, name: str) -> None:
    server.ask("DROP TABLE mailbox_changes", database=name)


def hidden(server: Server, name: str) -> None:
    server.ask(f"ALTER DATABASE {name} SET search_path = elsewhere")


REFUSED: dict[Callable[[Server, str], None], str] = {
    latin: "has the encoding LATIN1",
    ascii_only: "has the encoding SQL_ASCII",
    column_dropped: "the table entries lacks the column recipient",
    table_dropped: "the table mailbox_changes is missing",
    hidden: "hides from the role postgres; run: ALTER ROLE",
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_no_is_what_serve_refuses(
    own_server: Server, own_database: str, tmp_path: Path, spoil: Callable[[Server, str], None]
) -> None:
    daemon = on(own_server.url(own_database), tmp_path)
    spoil(own_server, own_database)
    check_refused(daemon, REFUSED[spoil])
    if spoil in {latin, ascii_only, hidden}:
        assert REFUSED[spoil] in daemon.run("db", "upgrade", code=1)


def check_doubted(daemon: Daemon, says: str) -> None:
    """Check: `config check` says DOUBT; `serve` starts, and waits until the fault is mended."""
    (told,) = [line for _, ok, line in findings(daemon, 0) if ok == "DOUBT" and says in line]
    assert "the daemon can start, and waits for it" in told
    assert SECRET not in told


def test_a_database_that_is_read_only_may_be_written_again(
    own_server: Server, own_database: str, tmp_path: Path
) -> None:
    daemon = on(own_server.url(own_database), tmp_path)
    read_only(own_server, own_database)
    check_doubted(daemon, says := "takes no writes by default_transaction_read_only")
    assert says in daemon.run("db", "upgrade", code=1)


def test_rights_that_lack_are_named(own_server: Server, own_database: str, tmp_path: Path) -> None:
    role = make_role(own_server, SECRET)
    url = f"postgresql://{role}:{SECRET}@127.0.0.1:{own_server.port}/{own_database}"
    daemon = on(url, tmp_path)
    check_refused(daemon, f"the role {role} lacks rights: SELECT on")


def test_a_wrong_password_is_not_told(
    own_server: Server, own_database: str, tmp_path: Path
) -> None:
    role = make_role(own_server, "another")
    url = f"postgresql://{role}:{SECRET} x@127.0.0.1:{own_server.port}/{own_database}"
    daemon = on(url, tmp_path)
    check_doubted(daemon, f'password authentication failed for user "{role}"')


def test_a_password_with_an_at_is_not_told(tmp_path: Path) -> None:
    daemon = on(f"postgresql://mssante:x@{SECRET}@127.0.0.1:1/mssante", tmp_path)
    check_refused(daemon, "write @ as %40")


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_pooler_that_shares_is_refused(
    own_server: Server, own_database: str, tmp_path: Path
) -> None:
    with pooling(own_server, "transaction") as port:
        daemon = on(f"postgresql://postgres@127.0.0.1:{port}/{own_database}", tmp_path)
        check_refused(daemon, "set pool_mode = session for this database (PgBouncer)")


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_all_works_behind_a_pooler_of_sessions(
    own_server: Server, own_database: str, tmp_path: Path
) -> None:
    with pooling(own_server, "session", default_pool_size=60) as port:
        daemon = on(f"postgresql://postgres@127.0.0.1:{port}/{own_database}", tmp_path)
        with_mailboxes(daemon)
        daemon.start()
        try:
            letter = daemon.folder / "letter.eml"
            letter.write_text("From: claire.martin@a.mssante.fr\n\nx\n")
            daemon.run(
                "message", "send", str(letter),
                "--from", "claire.martin@a.mssante.fr", "--to", "cardiologie@a.mssante.fr",
            )  # fmt: skip
            assert len(daemon.entries("cardiologie@a.mssante.fr")) == 1
            assert "not_listening" not in daemon.log()
        finally:
            daemon.stop()


def test_what_a_site_has_not_is_said_at_start_and_by_config_check(
    own_server: Server, own_database: str, tmp_path: Path
) -> None:
    daemon = on(own_server.url(own_database), tmp_path)
    with_mailboxes(daemon)
    own_server.ask(f"ALTER DATABASE {own_database} SET lock_timeout = '1s'")
    told = {(check, ok): detail for check, ok, detail in findings(daemon) if check == "database"}
    assert told["database", "yes"].startswith("no standby: a lost database disk")
    doubts = [
        detail for check, ok, detail in findings(daemon) if (check, ok) == ("database", "DOUBT")
    ]
    assert len(doubts) == 2  # the server of the tests does not sync
    assert any("the server has fsync = off" in one for one in doubts)
    assert any("SET lock_timeout=1s has no effect" in one for one in doubts)
    daemon.start()
    try:
        assert "the server has fsync = off" in daemon.log()
        assert "SET lock_timeout=1s has no effect" in daemon.log()
    finally:
        daemon.stop()


def test_of_sqlite_nothing_is_said(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    assert not [one for one in findings(daemon) if one[0] == "database"]
