"""`mssante audit`, and the keys of the trail at start and upgrade."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mailstore.audit.event import AuditEvent
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.journal import open_journal
from mssante_operator.assembly.people.anchor_places import open_places
from mssante_operator.assembly.people.audit import open_trail
from mssante_operator.assembly.storage import open_store
from mssante_operator.assembly.trust import open_trust, open_trust_state
from mssante_operator.jobs.audit_anchors import AnchorJob
from mssante_operator.services.local_submission import make_submitter
from mssante_operator.settings.model import load
from tests.support.audit.trails import event
from tests.support.machines.daemon import Daemon, command, lay_out, sample, served
from tests.support.waiting import until_now

MARTIN = "claire.martin@a.mssante.fr"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("audit") / "a", "a")


@pytest.fixture
def operator_a(installed: Daemon) -> Daemon:
    """An operator whose trail is empty."""
    with installed.store() as store, store.database.write() as connection:
        for table in ("audit_rows", "audit_chains", "audit_state", "audit_anchors"):
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - the four above
    return installed


def append(daemon: Daemon, *events: AuditEvent) -> None:
    with daemon.store() as store, store.database.write() as connection:
        open_trail(load(daemon.config), store.database).append(connection, events)


def execute(daemon: Daemon, statement: str) -> None:
    with daemon.store() as store, store.database.write() as connection:
        assert connection.execute(text(statement)).rowcount


def lines(daemon: Daemon, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in daemon.run(*words).splitlines()]


def test_search_and_show(operator_a: Daemon) -> None:
    at = utc_now()
    closed = event("mailbox.closed", at=at, mailbox=MARTIN, facts={"reason": "départ\x1b[2J"})
    append(operator_a, event("mailbox.added", at=at - DAY, mailbox=MARTIN), closed)
    found = operator_a.run("audit", "search", "--mailbox", MARTIN.title())
    assert [line.split()[0] for line in found.splitlines()] == ["PLACE", "1.2", "1.1"]
    shown = operator_a.run("audit", "show", "1.2")
    assert "départ" in shown
    assert "\x1b" not in shown
    (row,) = json.loads(operator_a.run("audit", "search", "--event", "mailbox.added", "--json"))
    assert (row["place"], row["mailbox"]) == ("1.1", MARTIN)
    page = operator_a.run("audit", "search", "--limit", "1", "--until", at.isoformat())
    assert "more may follow: --after" in page
    cursor = page.split("--after ")[1].strip()
    assert operator_a.run("audit", "search", "--after", cursor, "--json").strip() == "[]"
    # Who read the trail is in it.
    (again,) = json.loads(operator_a.run("audit", "search", "--event", "audit.shown", "--json"))
    assert again["facts"] == {"place": "1.2"}
    assert again["unix_user"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show", "1"], 2, "CHAIN.NUMBER, as 1.17"),
        (["show", "1.99"], 1, "1.99: no such row"),
        (["search", "--since", "yesterday"], 2, "expected a date or time"),
        (["search", "--since", "2026-12-01", "--until", "2026-11-30"], 2, "not before --until"),
        (["search", "--after", "x"], 2, "no cursor of a page"),
        (["search", "--result", "maybe"], 2, "done"),
        (["verify", "--public-key", "ab"], 2, "64 hexadecimal digits"),
        (["key", "--add", "--use"], 2, "copy the file"),
        (["anchor"], 1, "the audit trail is empty"),
    ],
)
def test_what_cannot_be_done_is_refused(
    operator_a: Daemon, words: list[str], code: int, says: str
) -> None:
    assert says in operator_a.run("audit", *words, code=code)


def test_verify_finds_a_change_and_exits_with_1(operator_a: Daemon) -> None:
    append(operator_a, event(at=utc_now()), event(at=utc_now()))
    assert "1 chains, 2 rows, 0 anchors" in operator_a.run("audit", "verify")
    execute(operator_a, "UPDATE audit_rows SET account = 'dr.z' WHERE seq = 2")
    assert "chain 1 row 2: its digest is wrong" in operator_a.run("audit", "verify", code=1)
    (finding,) = map(json.loads, operator_a.run("audit", "verify", "--json", code=1).splitlines())
    assert finding["place"] == "chain 1 row 2"


def test_an_anchor_kept_elsewhere_proves_a_cut(operator_a: Daemon, tmp_path: Path) -> None:
    append(operator_a, event(at=utc_now()), event(at=utc_now()))
    kept = tmp_path / "anchors"
    kept.write_text(operator_a.run("audit", "anchor"))
    *_, key = json.loads(operator_a.run("audit", "key", "--json"))
    public = ["--public-key", key["public_key"]]
    verify = ["audit", "verify", "--anchors", str(kept), *public]
    assert "2 anchors: everything" in operator_a.run(*verify)
    append(operator_a, event(at=utc_now()))
    for table in ("audit_rows", "audit_chains", "audit_state", "audit_anchors"):
        execute(operator_a, f"DELETE FROM {table}")  # noqa: S608 - the four above
    assert "everything" in operator_a.run("audit", "verify")
    found = operator_a.run(*verify, code=1)
    assert "given anchor 1: it is not in the database: it was removed there" in found
    assert "chain 1 row 2: the chain was removed" in found
    other = ["--public-key", "ab" * 32]
    found = operator_a.run("audit", "verify", "--anchors", str(kept), *other, code=1)
    assert "given anchor 1: its signature is by none of the keys" in found
    kept.write_text(kept.read_text()[:-9])
    found = operator_a.run(*verify, code=1)
    assert "line 1 has no whole anchor: left out" in found
    assert "no anchor in it" in found


def test_export_has_every_row_and_is_private(operator_a: Daemon, tmp_path: Path) -> None:
    append(operator_a, event(at=utc_now(), facts={"reason": "é"}))
    path = tmp_path / "trail.jsonl"
    operator_a.run("audit", "export", "--output", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["kind"] for one in found] == ["totals", "chain", "row", "row"]
    assert [one["event"] for one in found[2:]] == ["mailbox.closed", "audit.exported"]
    assert lines(operator_a, "audit", "export")[2] == found[2]


def test_a_new_key_comes_into_use(operator_a: Daemon) -> None:
    before = json.loads(operator_a.run("audit", "key", "--json"))
    append(operator_a, event(at=utc_now()))
    assert "copy the file to every other machine" in operator_a.run("audit", "key", "--add")
    operator_a.run("audit", "anchor")
    assert "seals now" in operator_a.run("audit", "key", "--use")
    assert "in use already" in operator_a.run("audit", "key", "--use")
    operator_a.run("audit", "anchor")
    keys = json.loads(operator_a.run("audit", "key", "--json"))
    assert keys[:-1] == before
    assert "2 anchors: everything" in operator_a.run("audit", "verify")
    found = json.loads(operator_a.run("audit", "search", "--event", "audit", "--json"))
    names = [one["event"] for one in found]
    assert names == ["audit.key_changed", "audit.key_added"]
    assert found[0]["facts"] == {"key": keys[-1]["name"]}


def test_anchors_go_to_a_file_and_by_mail(operator_a: Daemon, tmp_path: Path) -> None:
    places = f'anchors_to = ["file:{tmp_path}/anchors", "mailto:{MARTIN}"]'
    configuration = operator_a.config.read_text()
    operator_a.config.write_text(f"{configuration}\n[audit]\n{places}\n")
    try:
        append(operator_a, event(at=utc_now()))
        settings = load(operator_a.config)
        store, journal = open_store(settings), open_journal(settings, "test")
        trust_state = open_trust_state(settings, open_trust(settings))
        trail = open_trail(settings, store.database)
        submitter = make_submitter(settings, store, journal, trust_state, trail)
        job = AnchorJob(
            store.database,
            trail.keys,
            open_places(settings, utc_now, submitter),
            timedelta(minutes=15),
            utc_now,
        )
        job.make()
        for place in job.places:
            job.send(place)
        assert (job.problem, job.unsent) == ("", {})
        journal.close()
        store.close()
        (entry,) = operator_a.entries(MARTIN)
        letter = tmp_path / "letter.eml"
        letter.write_bytes(operator_a.body(entry))
        for kept in (tmp_path / "anchors", letter):
            found = operator_a.run("audit", "verify", "--anchors", str(kept))
            assert "2 anchors: everything" in found
    finally:
        operator_a.config.write_text(configuration)


def test_the_daemon_makes_anchors_and_sends_them(operator_a: Daemon, tmp_path: Path) -> None:
    configuration, kept = operator_a.config.read_text(), tmp_path / "anchors"
    operator_a.config.write_text(f'{configuration}\n[audit]\nanchors_to = ["file:{kept}"]\n')
    append(operator_a, event(at=utc_now()))
    try:
        with served(operator_a):
            until_now(kept.exists)
            # A scrape may come before the job has noted the place.
            assert sample(operator_a, "mssante_audit_anchor_unsent_seconds") >= 0
        assert "2 anchors: everything" in operator_a.run("audit", "verify", "--anchors", str(kept))
    finally:
        operator_a.config.write_text(configuration)


def test_the_keys_are_never_made_anew_beside_a_trail(operator_a: Daemon) -> None:
    keys = operator_a.folder / "data" / "audit-keys"
    assert keys.stat().st_mode & 0o777 == 0o600
    away = keys.rename(keys.with_suffix(".away"))
    try:
        # The trail is empty: an upgrade makes them.
        assert "new key file" in operator_a.run("db", "upgrade")
        keys.unlink()  # before the first row
        for words in (["db", "upgrade"], ["audit", "search"], ["audit", "key"]):
            said = operator_a.run(*words, code=1)
            assert f"storage.audit_keys: {keys}: no such file" in said
            assert "copy it from another machine of this store" in said
        assert "storage.audit_keys" in operator_a.run("config", "check", code=1)
        assert not keys.exists()
        os.link(away, keys)  # of another trail
        assert "not the key file of this store's audit trail" in operator_a.run(
            "audit", "search", code=1
        )
        exported = operator_a.run("audit", "export")
        assert "this export is not in the trail" in exported
        assert '"kind": "totals"' in exported
        code, _, said = command("--config", str(operator_a.config), "serve")
        assert code == 1
        assert "not the key file of this store's audit trail" in said
    finally:
        keys.unlink(missing_ok=True)
        away.rename(keys)
