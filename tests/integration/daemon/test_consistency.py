"""Contradictions in [outbound] are refused by check, start and reload; doubts are reported."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, set_state
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.mailboxes.states import MailboxState
from mssante_operator.settings.consistency import (
    check_outbound,
    contradictions,
    doubts,
    doubts_of_list,
    doubts_of_store,
)
from mssante_operator.settings.model import Settings, SettingsError, load
from tests.support.clock import NOW
from tests.support.machines.configuration import GOOD, write
from tests.support.machines.daemon import Daemon, free_endpoint, lay_out, served
from tests.support.sessions.attempts import white_list
from tests.support.waiting import until_now

PAIRS = [
    ("delay_warning_hours = 6\nlife_hours = 6", "delay_warning_hours: 6 is not below"),
    ("delay_warning_hours = 7\nlife_hours = 6", "delay_warning_hours: 7 is not below"),
    ("retry_first_seconds = 9\nretry_longest_seconds = 8", "retry_first_seconds: 9 is above"),
    ("probe_first_seconds = 9\nprobe_longest_seconds = 8", "probe_first_seconds: 9 is above"),
    (
        "destination_concurrency_first = 9\ndestination_concurrency = 8",
        "destination_concurrency_first: 9 is above",
    ),
    ("destination_concurrency = 9\nconcurrency = 8", "destination_concurrency: 9 is above"),
]
DEFAULTS = [
    ("life_hours = 3", "delay_warning_hours: 4 is not below"),
    ("retry_longest_seconds = 30", "retry_first_seconds: 60 is above"),
    ("probe_longest_seconds = 30", "probe_first_seconds: 60 is above"),
    ("destination_concurrency = 3", "destination_concurrency_first: 5 is above"),
    ("concurrency = 10", "destination_concurrency: 20 is above"),
    ("stuck_seconds = 599", "stuck_seconds: 599 is below 600"),
    ("retry_longest_seconds = 36001\nlife_hours = 10", "retry_longest_seconds: above"),
]


def settings(folder: Path, outbound: str = "", head: str = GOOD) -> Settings:
    return load(write(folder, f"{head}[outbound]\n{outbound}\n"))


def without_place(lines: list[str], origin: Path, prefix: str = "outbound.") -> list[str]:
    """The lines without their beginning, which must be file and table."""
    assert all(line.startswith(f"{origin}: {prefix}") for line in lines), lines
    return [line.removeprefix(f"{origin}: {prefix}") for line in lines]


def test_the_defaults_are_beyond_doubt(tmp_path: Path) -> None:
    found = settings(tmp_path)
    check_outbound(found)
    assert doubts(found) == []


@pytest.mark.parametrize(("text", "says"), PAIRS)
def test_two_keys_that_contradict_each_other_are_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    found = settings(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        check_outbound(found)
    (line,) = without_place(contradictions(found), found.origin)
    assert str(refused.value).endswith(line)
    assert line.startswith(says)
    assert "lower it, or raise outbound." in line
    assert doubts(found) == []


@pytest.mark.parametrize(("text", "says"), DEFAULTS)
def test_a_key_that_contradicts_a_default_is_told_of(tmp_path: Path, text: str, says: str) -> None:
    found = settings(tmp_path, text)
    check_outbound(found)
    (line,) = without_place(doubts(found), found.origin)
    assert line.startswith(says)


def test_equal_bounds_are_no_contradiction(tmp_path: Path) -> None:
    text = "destination_concurrency = 8\nconcurrency = 8\ndestination_concurrency_first = 8\n"
    found = settings(tmp_path, f"{text}retry_first_seconds = 9\nretry_longest_seconds = 9")
    check_outbound(found)
    assert doubts(found) == []


@pytest.mark.parametrize("table", ["routes", "operator_routes"])
def test_a_route_to_ourselves_is_refused(tmp_path: Path, table: str) -> None:
    text = f'[outbound.{table}]\n"x.fr" = ["x.fr:25", "127.0.0.1:2525"]'
    with pytest.raises(SettingsError, match=rf"outbound\.{table}\.x\.fr: 127\.0\.0\.1:2525 is in"):
        check_outbound(settings(tmp_path, text))


def test_routes_that_the_white_list_does_not_know(tmp_path: Path) -> None:
    text = (
        '[outbound.routes]\n"B.mssante.fr" = "x:1"\n"gone.mssante.fr" = "x:1"\n'
        '[outbound.operator_routes]\n"SMTP.b1.mssante.fr" = "x:1"\n'
        '"smtp.b3.mssante.fr" = "x:1"\n"else.where" = "x:1"'
    )
    found = settings(tmp_path, text)
    gone, near, far = without_place(doubts_of_list(found, white_list()), found.origin)
    assert gone.startswith("routes.gone.mssante.fr: domain not on the white list")
    assert near.startswith("operator_routes.smtp.b3.mssante.fr: CN not on the white list")
    assert "did you mean smtp.b" in near
    assert far.endswith("correct or remove it")


def test_what_the_store_knows_better(tmp_path: Path, database: Database) -> None:
    head = GOOD.replace("[storage]", 'postmaster = "courrier@a.mssante.fr"\n[storage]')
    text = '[outbound.routes]\n"A.mssante.fr" = "x:1"\n"b.mssante.fr" = "x:1"'
    found = settings(tmp_path, text, head)
    with database.write() as connection:
        add_domain(connection, "a.mssante.fr", now=NOW)
        route, postmaster = doubts_of_store(found, connection)
        rpps = Identifier(IdentifierKind.RPPS, "10000001916")
        add_mailbox(connection, "courrier@a.mssante.fr", MailboxType.PER, rpps, now=NOW)
        assert doubts_of_store(found, connection) == [route]
    assert route.startswith(f"{found.origin}: outbound.routes.A.mssante.fr: domain hosted here")
    assert postmaster.startswith(f"{found.origin}: operator.postmaster: courrier@a.mssante.fr is")


SAYS = "outbound.delay_warning_hours: 2 is not below"


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a", {"b.mssante.fr": free_endpoint()}, workers=1)


def test_check_start_and_reload_refuse_alike(daemon: Daemon) -> None:
    with served(daemon):
        daemon.outbound(life_hours=1, delay_warning_hours=2)
        daemon.hang_up()
        until_now(lambda: SAYS in daemon.log())
        until_now(lambda: "reload.refused" in daemon.log())
    assert SAYS in daemon.run("serve", code=1)
    rows = json.loads(daemon.run("config", "check", "--json", code=1))
    assert [row["check"] for row in rows if row["ok"] == "NO"] == ["outbound"]


def test_doubts_are_shown_and_logged_and_stop_nothing(daemon: Daemon) -> None:
    daemon.outbound(life_hours=1, stuck_seconds=20)
    rows = json.loads(daemon.run("config", "check", "--json"))
    told = [row["detail"] for row in rows if row["ok"] == "DOUBT"]
    assert len(told) == 2
    with served(daemon):
        logged = daemon.log()
    assert [detail for detail in told if detail not in logged] == []
    assert logged.count("config.doubt") == 2


@pytest.mark.parametrize("status", ["suspended", "closed", "deleted"])
def test_a_postmaster_that_reads_nothing(tmp_path: Path, database: Database, status: str) -> None:
    head = GOOD.replace("[storage]", 'postmaster = "courrier@a.mssante.fr"\n[storage]')
    found = settings(tmp_path, "", head)
    address = "courrier@a.mssante.fr"
    with database.write() as connection:
        add_domain(connection, "a.mssante.fr", now=NOW)
        rpps = Identifier(IdentifierKind.RPPS, "10000001916")
        add_mailbox(connection, address, MailboxType.PER, rpps, now=NOW)
        if status == "deleted":
            delete_mailbox(connection, address, reason="x", grace=timedelta(days=9), now=NOW)
        else:
            set_state(connection, address, MailboxState(status), now=NOW)
        (doubt,) = doubts_of_store(found, connection)
    assert f"operator.postmaster: {address} is {status}: undeliverable DSNs" in doubt
    remedy = {"suspended": "mailbox resume", "deleted": "mailbox restore"}.get(status, "; set ano")
    assert remedy in doubt


def test_anchors_that_stay_here(tmp_path: Path, database: Database) -> None:
    text = '[audit]\nanchors_to = ["mailto:a@A.mssante.fr", "mailto:a@b.mssante.fr"]'
    found = settings(tmp_path, text)
    with database.write() as connection:
        add_domain(connection, "a.mssante.fr", now=NOW)
        (doubt,) = doubts_of_store(found, connection)
    assert "audit.anchors_to: a@A.mssante.fr is hosted here" in doubt
