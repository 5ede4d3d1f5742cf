"""The queue by accounts that prove themselves: roles, tenants, audit trail (DOMAIN §9.59)."""

import json

import pytest

from mailstore.db.database import Database
from mailstore.mailboxes.mailboxes import add_domain
from mssante_operator.services.acts import login_name
from tests.support.clock import NOW
from tests.support.delivery.queue_commands import ACTS, WHY, events, messages, queue
from tests.support.delivery.queued import Letter, destination, know, rows
from tests.support.machines.daemon import Daemon
from tests.support.people.actors import Actors, make_log_in_cheap

OURS = Letter()  # of claire@a.mssante.fr
THEIRS = Letter(sender="x@c.mssante.fr", last_error="550 <secret@b.mssante.fr> unknown")


@pytest.fixture
def actors(operator_q: Daemon, database: Database, monkeypatch: pytest.MonkeyPatch) -> Actors:
    """Two customers, each with a domain that sends mail, and the people of their desks."""
    make_log_in_cheap(monkeypatch)
    made = Actors(operator_q, database)
    with database.write() as connection:
        for name in ("a.mssante.fr", "a2.mssante.fr", "c.mssante.fr"):
            add_domain(connection, name, now=NOW)
    chu = made.tenant("chu", "a.mssante.fr", "a2.mssante.fr")
    clinic = made.tenant("clinique", "c.mssante.fr")
    made.add("chef", "operator")
    made.add("gerant", "manager")
    made.add("nobody")
    made.add("desk", "helpdesk", home=chu, tenant=chu)
    made.add("desk-a2", "helpdesk", home=chu, domain="a2.mssante.fr")
    made.add("abroad", "operator", home=clinic, tenant=clinic)
    return made


def facts(row: dict[str, object]) -> dict[str, object]:
    return dict(json.loads(str(row["facts"])))


@pytest.mark.parametrize("verb", sorted(ACTS))
def test_an_act_needs_a_role_for_the_whole_operator(
    actors: Actors, database: Database, verb: str
) -> None:
    letter, words = ACTS[verb]
    queue(letter, letter, database=database)
    before = rows(database)
    yes = ("--yes",) if verb == "drop" else ()
    for login in ("nobody", "abroad", "desk", "gerant"):
        said = actors.run(login, "queue", verb, "--all", *words, *yes, code=1)
        assert f"{login} has no role" in said
        last = actors.audit()[-1]
        assert (last["event"], last["account"], last["result"]) == ("act.refused", login, "refused")
        assert last["unix_user"] == login_name()
    assert rows(database) == before
    assert f"queue.{verb}" not in {one["event"] for one in actors.audit()}
    actors.run("chef", "queue", verb, "--all", *words, *yes)
    assert rows(database) != before
    last = actors.audit()[-1]
    assert (last["account"], last["unix_user"]) == ("chef", login_name())


def test_without_a_role_nothing_is_counted(actors: Actors, database: Database) -> None:
    queue(OURS, OURS, database=database)
    for words in (("drop", "--all", *WHY), ("hold", "--domain", "z.fr", *WHY)):
        said = actors.run("nobody", "queue", *words, code=1)
        assert "has no role" in said
        assert "deliveries" not in said


def test_each_message_has_its_row_in_the_audit_trail(actors: Actors, database: Database) -> None:
    queue(OURS, OURS, database=database)
    known = messages(database)
    actors.daemon.run("queue", "hold", "--all", *WHY)
    actors.run("chef", "queue", "drop", "--all", "--yes", "--no-report", *WHY)
    held, dropped = actors.audit("queue.held"), actors.audit("queue.dropped")
    assert [one["message"] for one in held] == list(known.values())
    assert [one["message"] for one in dropped] == list(known.values())
    assert {(one["account"], one["unix_user"]) for one in held} == {(None, login_name())}
    assert {(one["account"], one["unix_user"]) for one in dropped} == {("chef", login_name())}
    assert facts(dropped[0]) == {
        "delivery": 1,
        "domain": "b.mssante.fr",
        "report": None,
        "why": WHY[1],
    }
    found = json.loads(actors.daemon.run("audit", "search", "--message", known[1], "--json"))
    assert [one["event"] for one in found] == ["queue.dropped", "queue.held"]


def test_a_retry_has_a_row_for_each_transaction(actors: Actors, database: Database) -> None:
    # A retry of a million deliveries is an everyday act; failed ones that live again are few.
    queue(OURS, OURS, Letter(state="failed"), database=database)
    actors.run("chef", "queue", "retry", "--all", *WHY)
    (row,) = actors.audit("queue.retried")
    assert facts(row) == {"deliveries": 2, "filters": "all", "why": WHY[1]}
    actors.run("chef", "queue", "retry", "--state", "failed")
    row = actors.audit("queue.retried")[-1]
    assert (row["message"], facts(row)["delivery"]) == (messages(database)[3], 3)


def test_destinations_and_rules(actors: Actors, database: Database) -> None:
    for words in (
        ("pause", "b.mssante.fr", *WHY),
        ("rules", "add", "--sender", "x@*", *WHY),
        ("rules", "list"),
    ):
        for login in ("nobody", "abroad", "desk"):
            assert "has no role" in actors.run(login, "queue", *words, code=1)
    assert destination(database, "b.mssante.fr") is None
    actors.run("chef", "queue", "pause", "b.mssante.fr", *WHY)
    actors.run("chef", "queue", "resume", "b.mssante.fr")
    assert "is not paused" in actors.run("chef", "queue", "resume", "b.mssante.fr", code=1)
    actors.run("chef", "queue", "rules", "add", "--sender", "x@*", *WHY)
    (rule,) = json.loads(actors.run("chef", "queue", "rules", "list", "--json"))
    assert rule["author"] == "chef"
    actors.run("chef", "queue", "rules", "remove", "1")
    done = [one["event"] for one in actors.audit() if one["result"] == "done"]
    assert done == [
        "destination.paused",
        "destination.resumed",
        "queue.rule_added",
        "queue.read",
        "queue.rule_removed",
    ]
    (added,) = actors.audit("queue.rule_added")
    assert facts(added) == {"rule": 1, "filters": "sender=x@*", "why": WHY[1]}
    who = {(one["who"], one["account"]) for one in events(actors.daemon) if "who" in one}
    assert ("chef", login_name()) in who


def test_a_wrong_password_changes_nothing(actors: Actors, database: Database) -> None:
    queue(OURS, database=database)
    wrong = actors.daemon.folder / "wrong"
    wrong.write_text("not the password 1")
    said = actors.daemon.run(
        *("queue", "drop", "--all", *WHY, "--as", "chef", "--password-file", str(wrong)), code=1
    )
    assert "log-in refused" in said
    assert len(rows(database)) == 1
    assert actors.audit()[-1]["event"] == "account.login_refused"


def test_a_view_has_the_mail_of_covered_domains_alone(actors: Actors, database: Database) -> None:
    queue(
        OURS,
        THEIRS,
        Letter(held="the clinic asked"),
        Letter(sender='"x@c.mssante.fr"@A2.mssante.fr'),
        Letter(sender=""),
        database=database,
    )
    know(database, "b.mssante.fr", last_error="550 <secret@b.mssante.fr> unknown", failures=1)
    actors.daemon.run("queue", "pause", "--all", "--reason", "the clinic asked")
    seen = {
        login: [one["id"] for one in json.loads(actors.run(login, "queue", "list", "--json"))]
        for login in ("chef", "desk", "desk-a2", "abroad")
    }
    assert seen == {"chef": [1, 2, 3, 4, 5], "desk": [1, 3, 4], "desk-a2": [4], "abroad": [2]}
    said = [
        actors.run("desk", "queue", *words, *more)
        for words in (("list",), ("show", "3"), ("summary",))
        for more in ((), ("--json",))
    ]
    assert not [one for one in said if "secret" in one or "the clinic asked" in one]
    assert "paused: ***" in said[4]
    (line,) = json.loads(said[5])
    assert (line["waiting"], line["held"]) == (2, 1)
    assert "2 is not in the queue" in actors.run("desk", "queue", "show", "2", code=1)
    assert actors.run("desk", "queue", "list", "--sender", "x@*", "--json").strip() == "[]"
    read = actors.audit("queue.read")[-1]
    assert (read["account"], facts(read)) == ("desk", {"filters": "sender=x@*"})
    assert read["tenant_id"] not in {None, 1}


def test_a_view_needs_a_role(actors: Actors) -> None:
    for login, *words in (
        (login, *words)
        for login in ("nobody", "gerant")
        for words in (("list",), ("show", "1"), ("summary",))
    ):
        assert "has no role" in actors.run(login, "queue", *words, code=1)
        assert actors.audit()[-1]["event"] == "act.refused"


def test_a_view_of_the_unix_user_needs_no_trail(actors: Actors, database: Database) -> None:
    queue(OURS, database=database)
    keys = actors.daemon.folder / "data" / "audit-keys"
    away = keys.rename(keys.with_suffix(".away"))
    try:
        assert "claire@a.mssante.fr" in actors.daemon.run("queue", "list")
    finally:
        away.rename(keys)
