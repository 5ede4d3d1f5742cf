"""`mssante audit` by accounts with roles, on both databases (DOMAIN §9.59, §9.60)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from mailstore.db.database import Database
from mssante_operator.assembly.people.audit import open_trail
from mssante_operator.settings.model import load
from tests.support.audit.trails import event
from tests.support.clock import system_clock
from tests.support.machines.daemon import Daemon
from tests.support.people.actors import make_log_in_cheap
from tests.support.people.desks import OURS, THEIRS, Desks, desks

A2 = '"x@c.mssante.fr"@a2.mssante.fr'


@pytest.fixture
def house(operator_q: Daemon, database: Database, monkeypatch: pytest.MonkeyPatch) -> Desks:
    """Rows 1.1 of the whole operator, 1.2 and 1.3 of the one tenant, 1.4 of the other."""
    make_log_in_cheap(monkeypatch)
    made = desks(operator_q, database, "auditor")
    made.add("helper", "helpdesk")
    now = system_clock()
    rows = [
        event("domain.added", at=now, mailbox=None, tenant=None, facts={"domain": "secret.fr"}),
        event("mailbox.closed", at=now, mailbox=OURS, tenant=made.chu),
        event("mailbox.closed", at=now, mailbox=A2, tenant=made.chu),
        # An address of a domain that was another tenant's then.
        event("mailbox.closed", at=now, mailbox=THEIRS, tenant=made.clinic),
        event("mailbox.closed", at=now, mailbox=A2, tenant=made.clinic),
    ]
    with database.write() as conn:
        open_trail(load(operator_q.config), database).append(conn, rows)
    return made


@contextmanager
def keys_away(house: Desks) -> Iterator[None]:
    """The key file of the trail is lost."""
    keys = house.daemon.folder / "data" / "audit-keys"
    away = keys.rename(keys.with_suffix(".away"))
    try:
        yield
    finally:
        away.rename(keys)


def places(house: Desks, login: str, *words: str) -> list[str]:
    found = house.run(login, "audit", "search", "--event", "mailbox", *words, "--json")
    return sorted(one["place"] for one in json.loads(found))


def test_an_auditor_reads_the_rows_of_the_own_tenant(house: Desks) -> None:
    assert places(house, "desk") == ["1.2", "1.3"]
    assert places(house, "desk", "--mailbox", THEIRS) == []
    assert places(house, "desk-a2") == ["1.3"]
    assert places(house, "abroad") == ["1.4", "1.5"]
    assert places(house, "chef") == ["1.2", "1.3", "1.4", "1.5"]
    rows = json.loads(house.run("desk", "audit", "search", "--json"))
    assert {one["tenant"] for one in rows} == {house.chu}
    # That they read is a row of their tenant.
    assert {one["event"] for one in rows} == {"mailbox.closed", "audit.searched"}
    last = house.audit("audit.searched")[-1]
    assert (last["account"], last["tenant_id"]) == ("desk", house.chu)


def test_a_row_of_others_is_as_if_there_were_none(house: Desks) -> None:
    assert OURS in house.run("desk", "audit", "show", "1.2")
    assert "secret.fr" in house.run("chef", "audit", "show", "1.1")
    for login, place in (("desk", "1.1"), ("desk", "1.4"), ("desk-a2", "1.2"), ("abroad", "1.2"),
                         ("chef", "1.999")):  # fmt: skip
        said = house.run(login, "audit", "show", place, code=1)
        assert f"{place}: no such row" in said
    assert [one["account"] for one in house.audit("audit.shown")] == [
        *("desk", "chef", "desk", "desk", "desk-a2", "abroad", "chef")
    ]


def test_others_read_nothing(house: Desks) -> None:
    for login, *words in (
        (login, *words)
        for login in ("nobody", "gerant", "helper")
        for words in (("search",), ("show", "1.2"), ("verify",), ("export",))
    ):
        said = house.run(login, "audit", *words, code=1)
        assert f"{login} has no role" in said
        assert OURS not in said
        row = house.audit()[-1]
        assert (row["event"], row["account"], row["result"]) == ("act.refused", login, "refused")


def test_the_whole_trail_needs_a_role_for_the_whole(house: Desks) -> None:
    for command, done in (("verify", "audit.verified"), ("export", "audit.exported")):
        for login in ("desk", "desk-a2", "abroad"):
            assert "has no role" in house.run(login, "audit", command, code=1)
        assert "not in the trail" not in house.run("chef", "audit", command)
        row = house.audit()[-1]
        assert (row["event"], row["account"]) == (done, "chef")
    assert "everything is as it was written" in house.daemon.run("audit", "verify")


def test_a_trail_that_cannot_be_written_can_be_exported(house: Desks, tmp_path: Path) -> None:
    before = len(house.audit())
    with keys_away(house):
        assert "no such file" in house.run("chef", "audit", "search", code=1)
        said = house.run("chef", "audit", "export", "--output", str(tmp_path / "trail"))
        assert "this export is not in the trail" in said
        assert "has no role" in house.run("nobody", "audit", "export", code=1)
        assert "no such file" in house.run("chef", "audit", "verify", code=1)
    assert len((tmp_path / "trail").read_text().splitlines()) == before + 2
    assert len(house.audit()) == before
    told = "".join(
        path.read_text() for path in (house.daemon.folder / "data" / "trace").rglob("*.jsonl")
    )
    assert '"event":"audit.exported"' in told
    assert '"who":"chef"' in told


def test_a_trail_with_no_seal_left_can_be_verified(house: Desks) -> None:
    with house.database.write() as conn:
        conn.execute(text("DELETE FROM audit_chains"))
        conn.execute(text("DELETE FROM audit_state"))
        conn.execute(text("INSERT INTO audit_state VALUES (1, 1, 0, :seal)"), {"seal": bytes(32)})
    assert "not the key file" in house.run("chef", "audit", "search", code=1)
    said = house.run("chef", "audit", "verify", code=1)
    assert "this verification is not in the trail" in said
    assert "the chain was removed" in said
