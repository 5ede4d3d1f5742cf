"""A commit that may exist only on the primary is never acknowledged; seen from outside."""

import json
import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.support.db.databases import PostgresServer
from tests.support.db.standby import cancel_waiting, nobody_follows
from tests.support.machines.daemon import Daemon, client, lay_out, served
from tests.support.waiting import until_now

MARTIN = "claire.martin@a.mssante.fr"
TEXT = b"From: <dr@b.mssante.fr>\r\nSubject: [FIN]\r\n\r\nBonjour\r\n"


@pytest.fixture
def operator_a(
    tmp_path: Path, postgres_server: PostgresServer, postgres_template: str
) -> Iterator[tuple[Daemon, str]]:
    name = postgres_server.create(postgres_template)
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    url = json.dumps(postgres_server.url(name))
    config = daemon.config.read_text()
    daemon.config.write_text(config.replace("[tls]", f"database = {url}\n\n[tls]"))
    daemon.run("domain", "add", "a.mssante.fr")
    daemon.run("mailbox", "add", MARTIN, "--type", "PER", "--rpps", "10000001916")
    yield daemon, str(make_url(postgres_server.url(name)).database)
    postgres_server.drop(name)


def send(daemon: Daemon) -> int:
    """Send one message; returns the code of the last reply."""
    with client(daemon, "b") as smtp:
        try:
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
        except smtplib.SMTPResponseException as refused:
            return refused.smtp_code
    return 250


def test_a_commit_whose_wait_for_the_standby_is_cancelled_is_451(
    operator_a: tuple[Daemon, str], postgres_server: PostgresServer
) -> None:
    daemon, database = operator_a
    with served(daemon), ThreadPoolExecutor(1) as pool:
        assert send(daemon) == 250
        with nobody_follows(postgres_server):
            sending = pool.submit(send, daemon)
            # Other processes commit too: the first commit that waits need not be the message's.
            cancel_waiting(postgres_server, database, until=sending.done)
            assert sending.result() == 451
        assert "the outcome is unknown" in daemon.log()
        assert "synchronous_standby_names" in daemon.log()
        # After the administrator's action mail is accepted again; the message is there twice.
        until_now(lambda: send(daemon) == 250)
        assert len(daemon.entries(MARTIN)) >= 3
