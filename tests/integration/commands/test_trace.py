"""`mssante trace`: from an identifier in a peer's ticket to all records (DOMAIN §9.59)."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from foundation.ids import new_id
from foundation.journal import search as journal_search
from foundation.journal.files import NAME
from foundation.journal.writer import Journal
from mailstore.db.database import Database
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mssante_operator.assembly.clock import make_id, utc_now
from mssante_operator.assembly.journal import open_journal
from mssante_operator.settings.model import load
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from tests.support.machines.daemon import Daemon, client, command, lay_out, served
from tests.support.waiting import until_now

BOX = "claire.martin@a.mssante.fr"
INS = "279037512345678"
SECOND = timedelta(seconds=1)
ROOT = Path(__file__).parents[3]


@dataclass
class Site:
    """Operator with a journal and a clock that tests set."""

    daemon: Daemon
    database_url: str
    now: datetime

    @classmethod
    def make(cls, folder: Path, database_url: str) -> "Site":
        daemon = lay_out(folder / "a", "a")
        config = daemon.config.read_text()
        line = f"[storage]\ndatabase = {json.dumps(database_url)}\n"
        daemon.config.write_text(config.replace("[storage]\n", line))
        hour = utc_now().replace(minute=5, second=0, microsecond=0) - timedelta(hours=3)
        return cls(daemon, database_url, hour)

    def key(self, number: int = 0) -> str:
        return new_id(self.now, number.to_bytes(10, "big"))

    def record(self, *events: tuple[str, dict[str, Any]]) -> None:
        """Record events, one second apart."""
        journal = Journal(self.daemon.folder / "data" / NAME, lambda: self.now, process="worker:7")
        for name, facts in events:
            self.now += SECOND
            journal.record(name, **facts)
        journal.close()

    def refused_session(self) -> str:
        """Record the events of a refused session; returns its id."""
        session, start = self.key(), self.now
        self.record(
            ("session.opened", {"session": session, "address": "192.0.2.1"}),
            ("tls.started", {"session": session, "version": "TLSv1.3", "peer": "CN=smtp.x,C=FR"}),
            ("transcript", {"session": session, "lines": ["C: EHLO x\x9b2J", "S: 250 SIZE"]}),
            (
                "refused",
                {"session": session, "command": "MAIL", "reply": f"554 no [session {session}]"},
            ),
            ("session.closed", {"session": session, "messages": 0}),
        )
        self.now = start
        return session

    def store(self, message: Message, *recipients: str) -> None:
        """Store a message in a mailbox and in the queue, like the relay."""
        database = Database(self.database_url)
        with database.write() as connection:
            box = get_mailbox(connection, BOX)
            store_messages(
                connection, [NewMessage(message, (LocalDelivery(box.id, BOX),))], now=self.now
            )
            enqueue(
                connection,
                [QueueItem(message.id, "b.mssante.fr", recipients, False, self.now)],
            )
        database.close()

    def message(self, key: str, session: str, sender: str = "dr@b.mssante.fr") -> Message:
        return Message(key, sender, "0" * 64, 1234, "", "CN=smtp.b", session, self.now)

    def trace(self, *words: str, code: int = 0) -> str:
        return self.daemon.run("trace", *words, code=code)

    def stamp(self, seconds: int) -> str:
        return (self.now + seconds * SECOND).isoformat(timespec="milliseconds")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path, f"sqlite:///{tmp_path / 'a' / 'data' / 'mssante.db'}")


@pytest.fixture
def any_site(tmp_path: Path, database_url: str) -> Site:
    """Operator with a mailbox, on each kind of database."""
    made = Site.make(tmp_path, database_url)
    made.daemon.run("domain", "add", "a.mssante.fr")
    made.daemon.run("mailbox", "add", BOX, "--type", "PER", "--rpps", "10000001916")
    return made


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert text.startswith("mssante: ")
    return text


def test_a_session_event_by_event(site: Site) -> None:
    session = site.refused_session()
    assert site.trace(session).splitlines() == [
        f"{site.stamp(1)} worker:7 session.opened address=192.0.2.1",
        f'{site.stamp(2)} worker:7 tls.started version=TLSv1.3 peer="CN=smtp.x,C=FR"',
        f"{site.stamp(3)} worker:7 transcript",
        "    C: EHLO x\\x9b2J",  # control characters are escaped
        "    S: 250 SIZE",
        f'{site.stamp(4)} worker:7 refused command=MAIL reply="554 no [session {session}]"',
        f"{site.stamp(5)} worker:7 session.closed messages=0",
    ]


def test_the_id_as_it_was_pasted(site: Site) -> None:
    session = site.refused_session()
    expected = site.trace(session)
    dashed = "-".join(session[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
    for text in (session.upper(), dashed, f"[session {session}]", f"<{session}>"):
        assert site.trace(text) == expected


def test_json_has_it_all(site: Site) -> None:
    session = site.refused_session()
    found = json.loads(site.trace(session, "--json"))
    assert found["id"] == session
    assert found["made_at"] == site.stamp(0)
    assert [event["event"] for event in found["events"]] == [
        "session.opened",
        "tls.started",
        "transcript",
        "refused",
        "session.closed",
    ]
    assert found["events"][2]["lines"] == ["C: EHLO x\x9b2J", "S: 250 SIZE"]
    assert found["events"][0] == {
        "at": site.stamp(1),
        "event": "session.opened",
        "process": "worker:7",
        "session": session,
        "address": "192.0.2.1",
    }
    assert (found["message"], found["mailboxes"], found["deliveries"]) == (None, [], [])


def test_a_message_with_mailboxes_and_queue(any_site: Site) -> None:
    session, message = any_site.key(), any_site.key(1)
    any_site.store(any_site.message(message, session), "x@b.mssante.fr", "y@b.mssante.fr")
    start = any_site.now
    any_site.record(
        ("session.opened", {"session": session}),
        ("accepted", {"session": session, "message": message, "size": 1234}),
        ("accepted", {"session": session, "message": any_site.key(2)}),
        ("session.closed", {"session": session}),
        ("delivery.attempted", {"message": message, "delivery": 1, "error": "450 4.2.1 later"}),
    )
    any_site.now = start
    received, rest = any_site.stamp(0), f"session={session}"
    times = f"created_at={received} due={received}"
    assert any_site.trace(message).splitlines() == [
        f"{any_site.stamp(1)} worker:7 session.opened session={session}",
        f"{any_site.stamp(2)} worker:7 accepted session={session} size=1234",
        f"{any_site.stamp(4)} worker:7 session.closed session={session}",
        f'{any_site.stamp(5)} worker:7 delivery.attempted delivery=1 error="450 4.2.1 later"',
        f"stored: received_at={received} sender=dr@b.mssante.fr size=1234 peer=CN=smtp.b {rest}",
        f"held by: mailbox={BOX} recipient={BOX} delivered_at={received}",
        f"queued: id=1 domain=b.mssante.fr state=waiting attempts=0 {times}",
        "    address=x@b.mssante.fr state=waiting",
        "    address=y@b.mssante.fr state=waiting",
    ]
    found = json.loads(any_site.trace(message, "--json"))
    assert found["mailboxes"][0]["mailbox"] == BOX
    assert found["deliveries"][0]["recipients"][1]["address"] == "y@b.mssante.fr"


def test_a_message_that_only_the_database_knows(any_site: Site) -> None:
    message = any_site.key()
    any_site.store(any_site.message(message, any_site.key(1)), "x@b.mssante.fr")
    assert [line.partition(":")[0] for line in any_site.trace(message).splitlines()] == [
        "stored",
        "held by",
        "queued",
        "    address=x@b.mssante.fr state=waiting",
    ]


def test_no_identifier_of_a_patient_is_printed(any_site: Site) -> None:
    message, patient = any_site.key(), f"{INS}@patient.mssante.fr"
    any_site.store(any_site.message(message, any_site.key(1), patient), patient)
    any_site.record(("accepted", {"message": message, "sender": patient}))
    for words in ((message,), (message, "--json")):
        said = any_site.trace(*words)
        assert INS not in said
        assert said.count("***@patient.mssante.fr") == 3


def test_an_unknown_id_says_what_was_looked_at(site: Site) -> None:
    session = site.refused_session()
    unknown = new_id(site.now, b"\xff" * 10)
    said = one_line(site.trace(unknown, code=1))
    assert f"{unknown} not found" in said
    assert f"identifier of {site.now:%Y-%m-%d %H:%M} UTC" in said
    top = site.now.replace(minute=0)
    assert f"from {top:%Y-%m-%d %H:%M} UTC to {top + timedelta(hours=1):%Y-%m-%d %H:%M} UTC" in said
    assert "; not in the database; traces are kept for 200 days, now since 20" in said
    assert session not in said


def test_an_id_older_than_the_traces(site: Site) -> None:
    # DOMAIN §9.60: six months and more.
    site.refused_session()
    old = new_id(datetime(2019, 1, 1, tzinfo=UTC), bytes(10))
    said = one_line(site.trace(old, code=1))
    assert "traces of that time deleted, or on another machine; not in the traces from " in said


@pytest.mark.parametrize("text", ["", "x", "0" * 32, "a@b", "0199"])
def test_what_is_no_id_is_wrong_usage(site: Site, text: str) -> None:
    said = site.trace(text, code=2)
    assert "not an identifier of a session or message" in said
    assert "expected 32 hexadecimal digits" in said


def test_while_the_database_is_away_the_journal_answers(site: Site) -> None:
    session = site.refused_session()
    text = site.daemon.config.read_text()
    url = "postgresql://nobody:hush@127.0.0.1:1/none"
    site.daemon.config.write_text(re.sub(r"database = .*", f'database = "{url}"', text))
    *events, last = site.trace(session).splitlines()
    assert len(events) == 7
    assert last.startswith("database: ")
    assert "unavailable" in json.loads(site.trace(session, "--json"))["database_problem"]
    said = one_line(site.trace(new_id(site.now, b"\xff" * 10), code=1))
    assert "database not searched: " in said
    assert "hush" not in said


def test_a_journal_that_cannot_be_read_is_one_line(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(journal_search, "hours", unreadable)
    said = one_line(site.trace(site.key(), code=1))
    assert "trace journal unreadable: " in said
    assert "Permission denied" in said


def test_it_is_the_journal_that_processes_write(site: Site) -> None:
    journal = open_journal(load(site.daemon.config), "worker")
    session = make_id()
    journal.record("session.opened", session=session)
    journal.close()
    assert site.trace(session).endswith("session.opened\n")


def test_from_the_reply_of_a_running_daemon_to_its_reason(tmp_path: Path) -> None:
    with served(lay_out(tmp_path / "a", "a")) as daemon:
        with client(daemon, "intruder") as smtp:
            smtp.ehlo()
            refusal = smtp.mail("dr@b.mssante.fr")[1].decode()
        with client(daemon, "b") as smtp:
            smtp.ehlo()
            smtp.mail("dr@b.mssante.fr")
            smtp.rcpt(BOX)
            letter = b"Message-ID: <77@b.mssante.fr>\r\nSubject: hush\r\n\r\nBonjour\r\n"
            acceptance = smtp.data(letter)[1].decode()
        quoted, message = re.findall(r"\[session .*\]", refusal)[0], acceptance.split()[-1]
        until_now(lambda: "session.closed" in traced(daemon, quoted))
        until_now(lambda: "session.closed" in traced(daemon, message))
        said = {key: traced(daemon, key) for key in (quoted, message)}
        found = daemon.run("search", "--message-id", "<77@b.mssante.fr>", "--peer", "b.mssante.fr")
    refused = re.findall(r"worker:\d+ (\S+)", said[quoted])
    assert refused == ["session.opened", "tls.started", "refused", "session.closed"]
    assert "CN=smtp.intrus.example" in said[quoted]
    assert "rule=listed" in said[quoted]
    accepted = re.findall(r"worker:\d+ (\S+)", said[message])
    assert accepted[:2] == ["session.opened", "tls.started"]
    assert accepted[-2:] == ["accepted", "session.closed"]
    assert f"recipients={BOX}" in said[message]
    assert f"held by: mailbox={BOX}" in said[message]
    assert message.rstrip(".") in found
    assert not re.search("hush|Bonjour|77@", "".join([*said.values(), found]))


def traced(daemon: Daemon, key: str) -> str:
    """Output of `trace` for an id; empty as long as it is unknown."""
    _, out, _ = command("--config", str(daemon.config), "trace", key)
    return out


def test_every_event_is_explained() -> None:
    page = (ROOT / "docs" / "trace.md").read_text(encoding="utf-8")
    folders = ("foundation", "relay", "operator")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    # Acts in the audit trail are in the journal too; a word without a dot is no event.
    found = re.findall(r'(?:record|tell|audit)\(\s*(?:one, |change, )?"([a-z_.]+)"', sources)
    recorded = {name for name in found if "." in name or name in ("accepted", "refused")} | {
        *re.findall(r'event: ClassVar\[str\] = "([a-z_.]+)"', sources),
        *re.findall(r'event="([a-z_]+\.[a-z_.]+)"', sources),
        "journal.dropped",
    }
    assert {
        "session.opened",
        "refused",
        "delivery.expired",
        "destination.paused",
        "domain.added",
        "queue.dropped",
    } <= recorded
    first_cells = "".join(line.split("|")[1] for line in page.splitlines() if line[:1] == "|")
    explained = set(re.findall(r"`([a-z_.]+)`", first_cells))
    kinds = tuple(re.findall(r"`([a-z_]+\.)…`", first_cells))
    assert {name for name in recorded - explained if not name.startswith(kinds)} == set()
    # And the page has no outdated event: each name is in the sources.
    assert {name for name in explained if f'"{name}"' not in sources} == set()
