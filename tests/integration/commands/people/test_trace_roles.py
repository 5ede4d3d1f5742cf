"""`mssante trace` and `mssante search` by accounts with roles, on both databases (DOMAIN §9.59)."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from foundation.ids import new_id
from foundation.journal.files import NAME
from foundation.journal.writer import Journal
from mailstore.db.database import Database
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from relay.smtp.message_id import message_id_digest
from tests.support.clock import system_clock
from tests.support.machines.daemon import Daemon
from tests.support.people.actors import make_log_in_cheap
from tests.support.people.desks import OURS, THEIRS, Desks, desks

PEER, DOCTOR = "CN=smtp.b.mssante.fr", "dr@b.mssante.fr"
INS = "185017512345678"
MINUTE = timedelta(minutes=1)
START = system_clock().replace(microsecond=0) - timedelta(hours=3)
HOLDS = {"in": (OURS, THEIRS), "out": (), "theirs": (THEIRS,), "old": (OURS,)}
AT = {"old": -100 * MINUTE, "in": 0 * MINUTE, "out": 10 * MINUTE, "theirs": 20 * MINUTE}
SESSION = new_id(START - MINUTE, b"\x01" * 10)


def key(name: str) -> str:
    return new_id(START + AT[name], name.encode().ljust(10, b"_"))


KEYS = {name: key(name) for name in AT}


def fill_journal(folder: Path) -> None:
    """A session of the peer brings two messages; ours sends one; one was long ago."""
    now = START
    journal = Journal(folder, lambda: now, process="worker:7")

    def record(name: str, **facts: object) -> None:
        journal.record(name, **facts)

    record("session.opened", session=SESSION, address="192.0.2.1")
    record("tls.started", session=SESSION, peer=PEER)
    record("refused", session=SESSION, command="RCPT", reply="550 <secret@c.mssante.fr> unknown")
    record(
        "accepted",
        session=SESSION,
        message=KEYS["in"],
        sender=DOCTOR,
        recipients=[OURS, THEIRS],
        message_id_digest=message_id_digest(b"<1@b.fr>"),
    )
    record(
        "submitted",
        message=KEYS["out"],
        sender=OURS,
        recipients=[DOCTOR, THEIRS, "***@patient.mssante.fr"],
        who="root",
    )
    record("queue.held", message=KEYS["out"], delivery=1, who="root", why="secret")
    record(
        "accepted",
        session=SESSION,
        message=KEYS["theirs"],
        sender="secret@b.mssante.fr",
        recipients=[THEIRS],
    )
    journal.close()


@pytest.fixture
def house(operator_q: Daemon, database: Database, monkeypatch: pytest.MonkeyPatch) -> Desks:
    make_log_in_cheap(monkeypatch)
    made = desks(operator_q, database, "helpdesk")
    with database.write() as conn:
        for name, boxes in HOLDS.items():
            sender = {"out": OURS, "theirs": "secret@b.mssante.fr"}.get(name, DOCTOR)
            peer = "local" if name == "out" else PEER
            at = START + AT[name]
            message = Message(KEYS[name], sender, "0" * 64, 10, "", peer, SESSION, at)
            local = tuple(LocalDelivery(get_mailbox(conn, one).id, one) for one in boxes)
            store_messages(conn, [NewMessage(message, local)], now=at)
        patient = f"{INS}@patient.mssante.fr"
        for domain, to in (("b.mssante.fr", DOCTOR), ("patient.mssante.fr", patient)):
            enqueue(conn, [QueueItem(KEYS["out"], domain, (to,), False, START)])
    fill_journal(operator_q.folder / "data" / NAME)
    return made


def ids(house: Desks, login: str, *words: str) -> list[str]:
    """Names of the messages that an account finds, in order."""
    run = house.daemon.run if not login else lambda *more: house.run(login, *more)
    found = json.loads(run("search", *words, "--json"))["messages"]
    names = {number: name for name, number in KEYS.items()}
    return [names[one["id"]] for one in found]


class TestTrace:
    def test_a_role_for_the_whole_sees_all(self, house: Desks) -> None:
        for name in KEYS.values():
            assert house.run("chef", "trace", name) == house.daemon.run("trace", name)
        assert "secret@c.mssante.fr" in house.run("chef", "trace", SESSION)
        traced = house.audit("message.traced")
        assert [one["message"] for one in traced] == [*KEYS.values(), SESSION]
        assert {one["account"] for one in traced} == {"chef"}

    def test_a_role_for_a_tenant_sees_its_messages_alone(self, house: Desks) -> None:
        said = house.run("desk", "trace", KEYS["in"])
        assert f"sender={DOCTOR}" in said
        assert f"held by: mailbox={OURS}" in said
        assert PEER in said
        sent = house.run("desk", "trace", KEYS["out"])
        assert "queued: id=1 domain=b.mssante.fr" in sent
        assert "queue.held" in sent
        for one in (said, sent, house.run("desk", "trace", KEYS["in"], "--json")):
            assert "secret" not in one
            assert THEIRS not in one
            assert INS not in one
        row = house.audit("message.traced")[-1]
        assert (row["tenant_id"], row["account"], row["result"]) == (house.chu, "desk", "done")

    def test_a_message_of_others_is_as_if_unknown(self, house: Desks) -> None:
        numbers = {**KEYS, "session": SESSION, "unknown": new_id(START, bytes(10))}
        for login, name in (
            ("desk", "theirs"),
            ("desk-a2", "in"),
            ("abroad", "old"),
            ("desk", "session"),
            ("desk", "unknown"),
        ):
            number = numbers[name]
            said = house.run(login, "trace", number, code=1)
            assert said == (
                f"mssante: {number} is no message from or to a domain that {login} may trace\n"
            )
            row = house.audit("message.traced")[-1]
            assert (row["account"], row["message"], row["result"]) == (login, number, "refused")

    def test_without_a_role_nothing_is_shown(self, house: Desks) -> None:
        for login, *words in (
            (login, *words)
            for login in ("nobody", "gerant")
            for words in (("trace", KEYS["in"]), ("search",))
        ):
            assert f"{login} has no role that allows it: trace" in house.run(login, *words, code=1)
            row = house.audit()[-1]
            assert (row["event"], row["account"]) == ("act.refused", login)

    def test_the_unix_user_needs_no_account(self, house: Desks) -> None:
        assert THEIRS in house.daemon.run("trace", KEYS["in"])
        assert house.audit() == []


class TestSearch:
    def test_the_newest_first(self, house: Desks) -> None:
        for words, found in (
            ((), ["theirs", "out", "in", "old"]),
            (("--address", OURS.upper()), ["out", "in", "old"]),
            (("--address", DOCTOR), ["out", "in", "old"]),
            (("--address", f"{INS}@patient.mssante.fr"), ["out"]),
            (("--address", "nobody@b.mssante.fr"), []),
            (("--message-id", "<1@b.fr>"), ["in"]),
            (("--message-id", "1@b.fr", "--address", THEIRS), ["in"]),
            (("--message-id", "2@b.fr"), []),
            (("--peer", "b.mssante.fr"), ["theirs", "out", "in", "old"]),
            (("--peer", PEER.lower(), "--address", THEIRS), ["theirs", "in"]),
            (("--peer", "CN=smtp.z"), []),
            (("--since", START.isoformat()), ["theirs", "out", "in"]),
            (("--until", (START + MINUTE).isoformat()), ["in", "old"]),
            (("--before", KEYS["in"]), ["old"]),
        ):
            assert ids(house, "", *words) == found, words

    def test_journal_or_database_may_be_the_only_record(
        self, house: Desks, database_url: str
    ) -> None:
        config = house.daemon.config.read_text()
        away = "postgresql://nobody@127.0.0.1:1/none"
        house.daemon.config.write_text(config.replace(database_url, away))
        try:
            assert ids(house, "", "--address", DOCTOR) == ["out", "in"]
            said = house.daemon.run("search", "--peer", "smtp.b")
            assert "database: " in said
            assert KEYS["theirs"] in said
        finally:
            house.daemon.config.write_text(config)
        for path in (house.daemon.folder / "data" / NAME).rglob("*.jsonl"):
            path.unlink()
        assert ids(house, "", "--address", DOCTOR) == ["out", "in", "old"]
        assert "the trace journal of this machine is empty" in house.daemon.run("search")

    def test_pages_say_how_far_they_reach(self, house: Desks) -> None:
        page = house.daemon.run("search", "--limit", "2")
        assert f"more may follow: --before {KEYS['out']}" in page
        assert f"searched from {START + AT['out']:%Y-%m-%d %H:%M} UTC to " in page
        rest = house.daemon.run("search", "--before", KEYS["out"])
        assert [line.split()[0] for line in rest.splitlines()[:3]] == [
            "ID",
            *map(key, ("in", "old")),
        ]
        assert "more may follow" not in rest
        assert "before, the database alone" in rest

    def test_nothing_names_a_patient(self, house: Desks) -> None:
        words = ("search", "--address", f"{INS}@patient.mssante.fr")
        said = [house.daemon.run(*words), house.run("chef", *words, "--json")]
        assert "***@patient.mssante.fr" in said[0]
        said += [str(house.audit())]
        said += [one.read_text() for one in (house.daemon.folder / "data").rglob("*.jsonl")]
        assert not [one for one in said if INS in one]
        assert "***@patient.mssante.fr" in house.audit("message.searched")[-1]["facts"]

    def test_by_role(self, house: Desks) -> None:
        assert ids(house, "chef") == ["theirs", "out", "in", "old"]
        assert ids(house, "desk") == ["out", "in", "old"]
        assert ids(house, "desk-a2") == []
        assert ids(house, "abroad") == ["theirs", "out", "in"]
        # A search by a recipient that is not shown would tell of it.
        assert ids(house, "desk", "--address", THEIRS) == []
        assert ids(house, "desk", "--address", f"{INS}@patient.mssante.fr") == ["out"]
        assert ids(house, "desk", "--peer", "b.mssante.fr") == ["out", "in", "old"]
        assert ids(house, "abroad", "--peer", "b.mssante.fr") == ["theirs", "in"]
        said = house.run("desk", "search", "--json")
        assert THEIRS not in said
        assert DOCTOR in said
        theirs = json.loads(house.run("abroad", "search", "--json"))["messages"]
        assert {tuple(one["recipients"]) for one in theirs} == {(THEIRS,)}
        row = house.audit("message.searched")[-1]
        assert (row["account"], row["tenant_id"]) == ("abroad", house.clinic)

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--before", "x"), "--before: not an identifier"),
            (("--address", " "), "empty value"),
            (("--since", "soon"), "expected a date or time"),
            (("--since", "2026-12-01", "--until", "2026-11-30"), "not before --until"),
            (("--limit", "0"), "--limit"),
        ],
    )
    def test_wrong_usage(self, operator_q: Daemon, words: tuple[str, ...], says: str) -> None:
        assert says in operator_q.run("search", *words, code=2)
