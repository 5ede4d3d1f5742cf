"""Each action on the queue leaves an event with actor and reason, on both databases."""

import getpass

import pytest

from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.messages.messages import list_entries
from mssante_operator.services.actor import account_name
from tests.support.clock import NOW
from tests.support.delivery.delivery_store import CLAIRE, RPPS
from tests.support.delivery.queue_commands import (
    ACTS,
    HOUR,
    WHY,
    events,
    journal_files,
    messages,
    queue,
)
from tests.support.delivery.queued import INS, PATIENT, Letter
from tests.support.machines.daemon import Daemon
from tests.support.people.actors import Actors, make_log_in_cheap


@pytest.fixture(autouse=True)
def _without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    make_log_in_cheap(monkeypatch)


class TestAudit:
    @pytest.mark.parametrize(
        ("verb", "event"),
        [
            ("retry", "queue.retried"),
            ("hold", "queue.held"),
            ("release", "queue.released"),
            ("drop", "queue.dropped"),
        ],
    )
    def test_one_for_each_and_one_for_all(
        self, operator_q: Daemon, database: Database, verb: str, event: str
    ) -> None:
        letter, _ = ACTS[verb]
        queue(letter, letter, Letter(held=letter.held, lease=HOUR), database=database)
        known = messages(database)
        yes = ("--yes", "--no-report") if verb == "drop" else ()
        reports = {"reports": 0} if verb == "drop" else {}
        actors = Actors(operator_q, database)
        actors.add("anne", "operator")
        actors.run("anne", "queue", verb, "--domain", "b*", *WHY, *yes)
        who = {"event": event, "who": "anne", "account": getpass.getuser(), "why": WHY[1]}
        assert events(operator_q) == [
            {**who, "message": known[1], "delivery": 1, "domain": "b.mssante.fr"},
            {**who, "message": known[2], "delivery": 2, "domain": "b.mssante.fr"},
            {**who, "filters": ["domain=b*"], "deliveries": 2, "in_flight": 1, **reports},
        ]

    def test_of_reports_to_those_whose_mail_was_dropped(
        self, operator_q: Daemon, database: Database
    ) -> None:
        with database.write() as connection:
            add_domain(connection, "a.mssante.fr", now=NOW)
            add_mailbox(connection, CLAIRE, MailboxType.PER, RPPS, now=NOW)
        queue(Letter(sender=CLAIRE), Letter(sender=""), database=database)
        known = messages(database)
        said = operator_q.run("queue", "drop", "--all", "--yes", *WHY)
        assert said == "2 deliveries dropped, 1 report to senders\n"
        with database.read() as connection:
            (report,) = list_entries(connection, get_mailbox(connection, CLAIRE).id)
        first, second, whole = events(operator_q)
        assert (first["message"], first["report"]) == (known[1], report.message.id)
        assert second["message"] == known[2]
        assert "report" not in second
        assert (whole["deliveries"], whole["reports"]) == (2, 1)
        assert f"report={report.message.id}" in operator_q.run("trace", known[1])

    def test_of_destinations(self, operator_q: Daemon) -> None:
        operator_q.run("queue", "pause", "b.mssante.fr", *WHY)
        operator_q.run("queue", "resume", "b.mssante.fr", "--reason", "they are back")
        who = {"who": getpass.getuser(), "domain": "b.mssante.fr"}
        assert events(operator_q) == [
            {**who, "event": "destination.paused", "why": WHY[1]},
            {**who, "event": "destination.resumed", "why": "they are back"},
        ]

    def test_of_rules(self, operator_q: Daemon) -> None:
        operator_q.run("queue", "rules", "add", "--domain", "b*", *WHY)
        operator_q.run("queue", "rules", "remove", "1")
        who = {"who": getpass.getuser(), "filters": ["domain=b*"], "rule": 1}
        assert events(operator_q) == [
            {**who, "event": "queue.rule_added", "why": WHY[1]},
            {**who, "event": "queue.rule_removed"},
        ]

    def test_trace_shows_what_became_of_a_message(
        self, operator_q: Daemon, database: Database
    ) -> None:
        queue(Letter(), database=database)
        message = messages(database)[1]
        operator_q.run("queue", "hold", "--all", "--reason", "wait for list")
        actors = Actors(operator_q, database)
        actors.add("anne", "operator")
        actors.run("anne", "queue", "drop", "--all", "--reason", "sent twice")
        said = operator_q.run("trace", message)
        assert f"queue.held delivery=1 domain=b.mssante.fr who={getpass.getuser()} " in said
        assert "queue.dropped delivery=1 domain=b.mssante.fr report=" in said
        assert " who=anne" in said
        assert 'why="sent twice"' in said

    def test_nothing_is_said_of_a_patient(self, operator_q: Daemon, database: Database) -> None:
        letter = Letter(
            domain="patient.mssante.fr",
            sender=PATIENT,
            to=(PATIENT,),
            last_error=f"550 <{PATIENT}> unknown",
            recipient_columns={"orcpt": f"rfc822;{PATIENT}", "reply": f"550 <{PATIENT}> unknown"},
        )
        queue(letter, database=database)
        reason = ("--reason", f"asked by {PATIENT}")
        said = [
            operator_q.run("queue", *words)
            for words in (
                ("hold", "--recipient", PATIENT, *reason),
                ("rules", "add", "--sender", f"{INS[:6]}*", *reason),
                ("pause", "patient.mssante.fr", *reason),
                ("summary",),
                ("list",),
                ("show", "1"),
                ("rules", "list"),
                ("summary", "--json"),
                ("list", "--json"),
                ("show", "1", "--json"),
                ("rules", "list", "--json"),
                ("release", "--recipient", f"{INS[:9]}*"),
                ("retry", "--recipient", f"*{INS[6:]}@*"),
                ("drop", "--sender", PATIENT, *reason),
                ("list",),
            )
        ]
        everything = "".join([*said, *(path.read_text() for path in journal_files(operator_q))])
        assert "***@patient.mssante.fr" in everything
        assert INS[:6] not in everything
        assert INS[8:] not in everything


class TestWho:
    @pytest.mark.parametrize(
        ("environment", "uid", "name"),
        [
            ({"SUDO_USER": "anne"}, 0, "anne"),
            ({"SUDO_USER": ""}, 0, "root"),
            ({"LOGNAME": "somebody"}, 0, "root"),
            ({}, 3_999_999, "uid:3999999"),
        ],
    )
    def test_the_login_name(self, environment: dict[str, str], uid: int, name: str) -> None:
        assert account_name(environment, uid) == name

    def test_of_whoever_ran_sudo(self, operator_q: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SUDO_USER", "anne")
        operator_q.run("queue", "pause", "b.mssante.fr", *WHY)
        (event,) = events(operator_q)
        assert event["who"] == "anne"
