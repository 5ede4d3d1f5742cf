"""`mssante queue …` on both databases: effects and output."""

import io
import json
import os
import pty
import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.db.database import Database
from mssante_operator.assembly.clock import utc_now
from mssante_operator.services.acts import login_name
from tests.support.delivery.queue_commands import ACTS, HOUR, WHY, events, messages, queue
from tests.support.delivery.queued import PATIENT, Letter, destination, know, rows
from tests.support.machines.daemon import MSSANTE, Daemon, command, lay_out
from tests.support.rules import needs
from tools.generate import ROOT

_NOT_ROOT = needs.root("nobody else can do this harm")


@pytest.fixture(autouse=True)
def _without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)


class TestActs:
    def test_retry(self, operator_q: Daemon, database: Database) -> None:
        waits, failed = queue(Letter(), Letter(state="failed"), database=database)
        know(database, "b.mssante.fr", failures=5, dead_until=utc_now() + HOUR)
        said = operator_q.run("queue", "retry", "--domain", "b.mssante.fr")
        assert said == "1 delivery due now\n"
        assert rows(database)[waits].due <= utc_now()
        assert rows(database)[failed].state == "failed"
        assert destination(database, "b.mssante.fr").dead_until is None
        said = operator_q.run("queue", "retry", "--state", "failed", *WHY)
        assert said == "1 delivery due now\n"
        assert rows(database)[failed].state == "waiting"

    def test_retry_of_all_that_failed(self, operator_q: Daemon, database: Database) -> None:
        queue(Letter(), Letter(state="failed"), database=database)
        assert operator_q.run("queue", "retry", "--all", "--failed") == "2 deliveries due now\n"

    def test_retry_says_what_is_paused(self, operator_q: Daemon, database: Database) -> None:
        queue(Letter(), database=database)
        operator_q.run("queue", "pause", "b.mssante.fr", "--reason", "they asked")
        operator_q.run("queue", "pause", "c.mssante.fr", "--reason", "no matter")
        said = operator_q.run("queue", "retry", "--all")
        assert said == "1 delivery due now\nbut b.mssante.fr is paused: they asked\n"
        operator_q.run("queue", "pause", "*", "--reason", "maintenance")
        assert "but everything is paused: maintenance\n" in operator_q.run(
            "queue", "retry", "--all"
        )

    def test_hold_and_release(self, operator_q: Daemon, database: Database) -> None:
        (key,) = queue(Letter(), database=database)
        assert operator_q.run("queue", "hold", "--all", *WHY) == "1 delivery held\n"
        assert rows(database)[key].held == "CHU asked, ticket 4711"
        assert operator_q.run("queue", "release", "--id", str(key)) == "1 delivery released\n"
        assert rows(database)[key].held is None

    def test_drop_of_one_does_not_ask(self, operator_q: Daemon, database: Database) -> None:
        gone, kept = queue(Letter(), Letter(), database=database)
        said = operator_q.run("queue", "drop", "--id", str(gone), *WHY, "--no-report")
        assert said == "1 delivery dropped, no reports to senders\n"
        assert list(rows(database)) == [kept]

    def test_drop_tells_a_sender_of_another_operator_by_the_queue(
        self, operator_q: Daemon, database: Database
    ) -> None:
        _, kept = queue(Letter(), Letter(domain="c.mssante.fr"), database=database)
        said = operator_q.run("queue", "drop", "--domain", "b*", *WHY)
        assert said == "1 delivery dropped, 1 report to senders\n"
        left, report = rows(database).values()
        assert left.id == kept
        assert (report.domain, report.sender) == ("a.mssante.fr", "")
        assert operator_q.run("queue", "list", "--sender", "<>").count("claire@a.mssante.fr") == 1

    def test_drop_of_more_asks(
        self, operator_q: Daemon, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue(Letter(), Letter(), database=database)
        monkeypatch.setattr(
            "sys.stdin", io.StringIO("y\n")
        )  # standard input of a script: no question is asked
        said = operator_q.run("queue", "drop", "--all", *WHY, code=1)
        assert said == (
            "mssante: 2 deliveries to drop: check them with queue list, then add --yes\n"
        )
        assert len(rows(database)) == 2
        said = operator_q.run("queue", "drop", "--all", "--yes", "--no-report", *WHY)
        assert said == "2 deliveries dropped, no reports to senders\n"
        assert rows(database) == {}

    @pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 2), (b"y\n", 0, 0)])
    def test_drop_asks_on_a_terminal(
        self, operator_q: Daemon, database: Database, answer: bytes, code: int, left: int
    ) -> None:
        queue(Letter(), Letter(), database=database)
        ours, theirs = pty.openpty()
        words = ("--config", str(operator_q.config), "queue", "drop", "--all", "--no-report", *WHY)
        process = subprocess.Popen(
            [*MSSANTE, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        os.close(theirs)
        os.write(ours, answer)
        said, _ = process.communicate(timeout=60)
        os.close(ours)
        assert b"Drop 2 deliveries for good, without reports to senders? [y/N]: " in said
        assert process.returncode == code
        assert len(rows(database)) == left

    @pytest.mark.parametrize("verb", sorted(ACTS))
    def test_what_is_in_flight_is_left_alone(
        self, operator_q: Daemon, database: Database, verb: str
    ) -> None:
        letter, words = ACTS[verb]
        flying = Letter(held=letter.held, lease=HOUR)
        (key,) = queue(flying, database=database)
        said = operator_q.run("queue", verb, "--all", *words, code=1)
        assert "1 delivery in flight not changed; try again later\n" in said
        assert rows(database)[key].lease_owner == "node:1"
        queue(letter, database=database)
        yes = ("--yes",) if verb == "drop" else ()
        said = operator_q.run("queue", verb, "--all", *words, *yes)
        assert said.startswith("1 delivery ")
        assert said.endswith("; 1 delivery in flight not changed; try again later\n")

    def test_nothing_matches(self, operator_q: Daemon, database: Database) -> None:
        queue(Letter(held="why"), Letter(state="failed"), database=database)
        for words, said in (
            (("retry", "--domain", "z*"), "nothing due now: no match"),
            (
                ("retry", "--all"),
                "nothing due now: wrong state of matching deliveries: 1 held, 1 failed",
            ),
            (
                ("hold", "--id", "1", *WHY),
                "nothing held: wrong state of matching deliveries: 1 held",
            ),
            (("drop", "--sender", "nobody*", *WHY), "nothing dropped: no match"),
        ):
            assert operator_q.run("queue", *words, code=1) == f"mssante: {said}\n"
        assert len(rows(database)) == 2


class TestFilters:
    @pytest.mark.parametrize("verb", sorted(ACTS))
    @pytest.mark.parametrize(
        "words",
        [
            ("--domain", "C.*"),
            ("--sender", "labo?@*"),
            ("--recipient", "zo@*"),
            ("--type", "APP"),
            ("--older", "30m"),
            ("--younger", "3h", "--domain", "*c*"),
            ("--id", "2"),
            ("--domain", "?.mssante.fr", "--older", "1h", "--type", "APP"),
        ],
        ids=" ".join,
    )
    def test_each_on_every_act(
        self, operator_q: Daemon, database: Database, verb: str, words: tuple[str, ...]
    ) -> None:
        letter, more = ACTS[verb]
        fits = Letter(
            domain="c.mssante.fr",
            sender="labo1@a.mssante.fr",
            to=("zo@c.mssante.fr",),
            mailbox_type="APP",
            age=2 * HOUR,
            held=letter.held,
        )
        queue(Letter(held=letter.held), fits, database=database)
        before = rows(database)
        assert operator_q.run("queue", verb, *words, *more).startswith("1 delivery ")
        after = rows(database)
        assert after[1] == before[1]
        assert after.get(2) != before[2]

    @pytest.mark.parametrize("verb", sorted(ACTS))
    def test_a_message_by_its_id(self, operator_q: Daemon, database: Database, verb: str) -> None:
        letter, more = ACTS[verb]
        queue(letter, letter, database=database)
        pasted = f"[{messages(database)[2].upper()}]"
        before = rows(database)
        operator_q.run("queue", verb, "--id", pasted, *more)
        after = rows(database)
        assert after[1] == before[1]
        assert after.get(2) != before[2]

    @pytest.mark.parametrize("verb", sorted(ACTS))
    @pytest.mark.parametrize("state", ["waiting", "held", "failed"])
    def test_a_state(self, operator_q: Daemon, database: Database, verb: str, state: str) -> None:
        queue(Letter(), Letter(held="why"), Letter(state="failed"), database=database)
        states = ["waiting", "held", "failed"]
        suits = {
            "retry": {"waiting", "failed"}, "hold": {"waiting"}, "release": {"held"},
            "drop": set(states),
        }[verb]  # fmt: skip
        before = rows(database)
        fits = state in suits
        words = ("--state", state, *ACTS[verb][1])
        operator_q.run("queue", verb, *words, code=0 if fits else 1)
        after = rows(database)
        changed = [name for one, name in enumerate(states, 1) if after.get(one) != before[one]]
        assert changed == ([state] if fits else [])

    @pytest.mark.parametrize("verb", ["summary", "list"])
    def test_on_listings(self, operator_q: Daemon, database: Database, verb: str) -> None:
        queue(Letter(), Letter(domain="c.mssante.fr", age=HOUR), database=database)
        for words, domains in (
            (("--older", "30m"), ["c.mssante.fr"]),
            (("--domain", "b*"), ["b.mssante.fr"]),
            (("--all",), ["c.mssante.fr", "b.mssante.fr"]),
            ((), ["c.mssante.fr", "b.mssante.fr"]),
        ):
            found = json.loads(operator_q.run("queue", verb, "--json", *words))
            assert [row["domain"] for row in found] == domains


class TestUsage:
    """Usage errors come before any look at the queue."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("retry",), "selection missing; add a filter such as --domain, or --all"),
            (("release",), "selection missing"),
            (("hold", *WHY), "selection missing"),
            (("drop", "--yes", *WHY), "selection missing"),
            (("rules", "add", *WHY), "selection missing"),
            (("drop", "--all", "--id", "1", *WHY), "--all with a filter"),
            (("rules", "add", "--all", "--domain", "x", *WHY), "--all with a filter"),
            (("hold", "--all"), "Missing option '--reason'"),
            (("drop", "--all"), "Missing option '--reason'"),
            (("pause", "--all"), "Missing option '--reason'"),
            (("rules", "add", "--all"), "Missing option '--reason'"),
            (("hold", "--all", "--reason", " "), "empty value"),
            (("retry", "--sender", ""), "empty value"),
            (("retry", "--older", "2"), "is not an age"),
            (("retry", "--id", "x"), "is not a delivery number and not a message ID"),
            (("retry", "--type", "MED"), "'MED' is not one of"),
            (("retry", "--state", "dead"), "'dead' is not one of"),
            (("pause", *WHY), "destination missing; add a domain, or --all"),
            (("pause", "b.fr", "--all", *WHY), "destination missing; add a domain, or --all"),
            (("resume", "not a domain"), "is not a domain"),
            (("show", "x"), "is not a delivery number"),
        ],
        ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
    )
    def test_wrong(self, queue_installed: Daemon, words: tuple[str, ...], says: str) -> None:
        code, out, err = command("--config", str(queue_installed.config), "queue", *words)
        assert (code, out) == (2, "")
        assert says in err

    @pytest.mark.skipif(bool(_NOT_ROOT), reason=_NOT_ROOT)
    def test_root_would_leave_files_of_its_own(self, tmp_path: Path) -> None:
        daemon = lay_out(tmp_path / "x", "a")
        os.chown(daemon.folder / "data", 12345, -1)
        sending = ("message", "send", os.devnull, "--from", "x@a.mssante.fr", "--to", "x@b.fr")
        for words in (("queue", "retry", "--all"), sending):
            said = daemon.run(*words, code=1)
            assert "run the command as the daemon's user: sudo -u '#12345' mssante" in said


class TestDestinations:
    def test_pause_and_resume_one(self, operator_q: Daemon, database: Database) -> None:
        queue(Letter(), Letter(held="why"), database=database)
        said = operator_q.run("queue", "pause", "B.mssante.fr", "--reason", "they asked")
        assert said == "b.mssante.fr is paused: 1 delivery waiting\n"
        assert destination(database, "b.mssante.fr").paused == "they asked"
        assert "paused: they asked" in operator_q.run("queue", "summary")
        assert operator_q.run("queue", "resume", "b.mssante.fr") == "b.mssante.fr is resumed\n"
        assert destination(database, "b.mssante.fr").paused is None
        said = operator_q.run("queue", "resume", "b.mssante.fr", code=1)
        assert said == "mssante: b.mssante.fr is not paused\n"

    def test_pause_and_resume_everything(self, operator_q: Daemon, database: Database) -> None:
        said = operator_q.run("queue", "pause", "--all", "--reason", "maintenance")
        assert said == "everything is paused: 0 deliveries waiting\n"
        assert destination(database, "*").paused == "maintenance"
        operator_q.run("queue", "pause", "b.mssante.fr", "--reason", "they asked")
        operator_q.run("queue", "pause", "c.mssante.fr", "--reason", "they asked")
        said = operator_q.run("queue", "resume", "b.mssante.fr")
        assert said == "b.mssante.fr is resumed\nbut everything is paused: maintenance\n"
        said = operator_q.run("queue", "resume", "--all")
        assert said == "everything is resumed\nstill paused: c.mssante.fr\n"


class TestRules:
    def test_add_list_remove(self, operator_q: Daemon) -> None:
        said = operator_q.run("queue", "rules", "add", "--sender", "labo*", "--type", "APP", *WHY)
        assert said == "rule 1 holds new mail: sender=labo* type=APP\n"
        operator_q.run("queue", "rules", "add", "--recipient", PATIENT, *WHY)
        first, second = json.loads(operator_q.run("queue", "rules", "list", "--json"))
        assert (first["id"], first["author"], first["reason"]) == (1, login_name(), WHY[1])
        assert first["covers"] == ["sender=labo*", "type=APP"]
        assert second["covers"] == ["recipient=***@patient.mssante.fr"]
        assert "sender=labo*, type=APP" in operator_q.run("queue", "rules", "list")
        assert "rule 1 removed" in operator_q.run("queue", "rules", "remove", "1")
        assert "there is no rule 1" in operator_q.run("queue", "rules", "remove", "1", code=1)
        assert [one["event"] for one in events(operator_q)] == [
            "queue.rule_added",
            "queue.rule_added",
            "queue.rule_removed",
        ]

    def test_one_for_everything(self, operator_q: Daemon) -> None:
        said = operator_q.run("queue", "rules", "add", "--all", *WHY)
        assert said == "rule 1 holds new mail: all\n"


class TestListings:
    def test_summary(self, operator_q: Daemon, database: Database) -> None:
        queue(
            Letter(age=2 * HOUR, last_error="450 later"),
            Letter(domain="c.mssante.fr", age=timedelta(days=3, hours=4)),
            Letter(domain="d.mssante.fr", age=timedelta(minutes=3)),
            database=database,
        )
        know(database, "c.mssante.fr", dead_until=utc_now() + timedelta(minutes=30.5))
        header, c, b, d = operator_q.run("queue", "summary").splitlines()
        assert header == header.upper()
        assert header.split()[:5] == ["DOMAIN", "STATE", "WAITING", "IN", "FLIGHT"]
        assert c.startswith("c.mssante.fr  dead for 30m")
        assert " 3d4h " in c
        assert b.startswith("b.mssante.fr  active ")
        assert " 2h0m " in b
        assert b.endswith("  450 later")
        assert " 3m" in d
        (_, row, _) = json.loads(operator_q.run("queue", "summary", "--json"))
        assert (row["domain"], row["state"], row["waiting"]) == ("b.mssante.fr", "active", 1)
        assert 7200 <= row["age"] < 7260

    def test_list(self, operator_q: Daemon, database: Database) -> None:
        (key,) = queue(Letter(held="why"), database=database)
        (row,) = json.loads(operator_q.run("queue", "list", "--json"))
        assert (row["id"], row["state"], row["held"]) == (key, "held", "why")
        assert row["recipients"] == ["dr@b.mssante.fr"]
        assert f"\n{key}   b.mssante.fr  held " in operator_q.run("queue", "list")
        assert operator_q.run("queue", "list", "--state", "failed", "--json") == "[]\n"

    def test_show(self, operator_q: Daemon, database: Database) -> None:
        queue(Letter(held="why"), Letter(), database=database)
        message = messages(database)[1]
        (row,) = json.loads(operator_q.run("queue", "show", message, "--json"))
        assert (row["id"], row["message_id"], row["held"]) == (1, message, "why")
        assert row["recipients"][0]["address"] == "dr@b.mssante.fr"
        said = operator_q.run("queue", "show", "1")
        assert f"message id    {message}\n" in said
        assert "\nADDRESS          STATE    REPLY  NOTIFY  ORCPT\n" in said
        assert "\ndr@b.mssante.fr  waiting  -      -       -\n" in said
        said = operator_q.run("queue", "show", "99", code=1)
        assert said.startswith("mssante: 99 is not in the queue")


def test_the_commands_of_the_documentation_exist() -> None:
    text = (ROOT / "docs" / "queue.md").read_text(encoding="utf-8")
    found = re.findall(r"mssante (queue [^`\n]+)", text)
    assert len(found) > 20
    for line in found:
        # With --help, click has checked the names of all options before.
        code, _, err = command(*shlex.split(line), "--help")
        assert (code, err) == (0, ""), line
