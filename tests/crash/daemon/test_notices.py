"""The daemon tells holders of administrators' accesses: once, also after kill -9 at each step."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from foundation.failpoints import NOTICE_STEPS, VARIABLE
from mailstore.db.schema import mailboxes
from mailstore.mailboxes.mailboxes import get_mailbox
from tests.support.clock import system_clock
from tests.support.machines.daemon import RESPONSIBLE, Daemon, get, lay_out, sample, served
from tests.support.waiting import until_now

pytestmark = pytest.mark.timeout(300)

ORG, OLD = "bloc@a.mssante.fr", "vieux@a.mssante.fr"


@pytest.fixture
def operator_a(tmp_path: Path, empty_database_url: str) -> Daemon:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    config = daemon.config.read_text()
    daemon.config.write_text(
        config.replace("[tls]", f"database = {json.dumps(empty_database_url)}\n\n[tls]")
    )
    daemon.run("db", "upgrade")
    daemon.run("domain", "add", "a.mssante.fr")
    daemon.run("mailbox", "add", ORG, "--type", "ORG", "--finess", "2A0000154", *RESPONSIBLE)
    return daemon


def rounds_done(daemon: Daemon) -> float:
    return sample(daemon, 'mssante_job_rounds_total{job="holder-notices",outcome="done"}')


def told(daemon: Daemon) -> list[bytes]:
    """Messages in the mailbox; each has a row in the audit trail and the mark of its access."""
    bodies = [daemon.body(entry) for entry in daemon.entries(ORG)]
    found = json.loads(
        daemon.run("audit", "search", "--event", "break_glass.holder_told", "--json")
    )
    assert len(found) == len(bodies)
    accesses = json.loads(daemon.run("break-glass", "list", "--json"))
    assert sum(one["holder_told_at"] is not None for one in accesses) == len(bodies)
    return bodies


def watch_unused(daemon: Daemon) -> None:
    """Let the daemon warn unused mailboxes; one has been unused for years."""
    daemon.run("mailbox", "add", OLD, "--type", "ORG", "--finess", "2A0000154", *RESPONSIBLE)
    long_ago = system_clock() - timedelta(days=4000)
    with daemon.store() as store, store.database.write() as connection:
        mailbox = get_mailbox(connection, OLD)
        changed = update(mailboxes).where(mailboxes.c.id == mailbox.id)
        connection.execute(changed.values(created_at=long_ago))
    with daemon.config.open("a") as config:
        config.write("\n[inactivity]\nact = true\n")


def wait_for_deaths(daemon: Daemon, number: int) -> None:
    until_now(lambda: daemon.log().count("process.died") >= number)


def test_a_holder_is_told_once_whatever_is_killed(
    operator_a: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DOMAIN U1.2: administrators have no way to content of which its holder knows nothing."""
    operator_a.run("break-glass", "open", ORG, "--reason", "Réquisition 12")
    found = list[int]()
    for step in NOTICE_STEPS[1:]:  # within the transaction, and after its commit
        with monkeypatch.context() as patch:
            patch.setenv(VARIABLE, step)
            deaths = operator_a.log().count("process.died") if found else 0
            operator_a.start()
            try:
                wait_for_deaths(operator_a, deaths + 1)
            finally:
                operator_a.kill()
        found.append(len(told(operator_a)))
    assert found == [0, 1]
    watch_unused(operator_a)
    with served(operator_a) as daemon:
        until_now(lambda: rounds_done(daemon) >= 1)
        (octets,) = told(daemon)
        assert b"Reason: R=C3=A9quisition 12" in octets
        assert get(daemon, "/healthz") == (200, "ok\n")
        until_now(lambda: bool(daemon.entries(OLD)))  # the other job that writes notices
