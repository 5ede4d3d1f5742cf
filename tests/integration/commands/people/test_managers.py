"""Administrators of a tenant or of one domain at work, on both databases."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailstore.audit_reading.search import AuditFilter, FoundRow, search
from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.rights.roles import list_roles
from mssante_operator.services.acts import log_in, open_act
from mssante_operator.services.permission import NotAllowed
from mssante_operator.settings.model import load
from tests.support.clock import NOW
from tests.support.machines.daemon import REASON, RESPONSIBLE, Daemon
from tests.support.people import administrators, house

BLOC = "urgences@bloc.mssante.fr"
ADMINISTRATORS = {
    "m.domaine": ("manager", "--domain", "bloc.mssante.fr"),
    "m.chu": ("manager", "--tenant", "operator"),
    "op.chu": ("operator", "--tenant", "operator"),
    "m.tout": ("manager",),
    "op.tout": ("operator",),
}
ORG = ("--type", "ORG", "--finess", house.FINESS.value, *RESPONSIBLE)


@dataclass(frozen=True)
class House:
    """The house with one more domain and its administrators."""

    daemon: Daemon
    database: Database

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command of the Unix user."""
        return self.daemon.run(*words, code=code)


@pytest.fixture
def chu(operator_q: Daemon, database: Database, monkeypatch: pytest.MonkeyPatch) -> House:
    administrators.hash_cheaply(monkeypatch)
    with database.write() as conn:
        house.build(conn)
        add_domain(conn, "bloc.mssante.fr", now=NOW)
        add_mailbox(conn, BLOC, MailboxType.ORG, house.FINESS, now=NOW)
        for login in ADMINISTRATORS:
            house.add_account(conn, login)
    administrators.seat(operator_q, *ADMINISTRATORS)
    for login, words in ADMINISTRATORS.items():
        operator_q.run("role", "give", login, *words)
    return House(operator_q, database)


def run(chu: House, login: str, *words: str, code: int = 0) -> str:
    return chu.run(*words, *administrators.both(chu.daemon, chu.database, login), code=code)


def listed(chu: House, login: str, *words: str) -> Any:
    return json.loads(run(chu, login, *words, "--json"))


def newest(chu: House) -> FoundRow:
    with chu.database.read() as conn:
        (row,) = search(conn, AuditFilter(), limit=1)
        return row


def refused(chu: House, login: str, *words: str) -> str:
    """Output of an act that is refused and audited; the row belongs to the account's tenant."""
    said = run(chu, login, *words, code=1)
    row = newest(chu)
    assert (row.event, row.account, row.tenant) == ("act.refused", login, 1), said
    return said


def test_a_manager_of_one_domain(chu: House) -> None:
    boss = "m.domaine"
    seen = [one["address"] for one in listed(chu, boss, "mailbox", "list")]
    assert seen == [BLOC]
    assert [one["name"] for one in listed(chu, boss, "domain", "list")] == ["bloc.mssante.fr"]
    assert [one["account"] for one in listed(chu, boss, "role", "list")] == [boss]
    assert listed(chu, boss, "account", "list") == []  # accounts belong to tenants
    new = "accueil@bloc.mssante.fr"
    run(chu, boss, "mailbox", "add", new, *ORG)
    row = newest(chu)
    assert (row.event, row.account, row.mailbox) == ("mailbox.added", boss, new)
    assert row.unix_user
    run(chu, boss, "mailbox", "set", new, "--description", "Accueil")
    run(chu, boss, "mailbox", "quota", new, "1G")
    run(chu, boss, "mailbox", "suspend", new, *REASON)
    run(chu, boss, "mailbox", "resume", new)
    run(chu, boss, "mailbox", "alias", "add", new, "porte@bloc.mssante.fr")
    run(chu, boss, "mailbox", "delete", new, *REASON, "--yes")
    run(chu, boss, "mailbox", "restore", new, *REASON)
    assert listed(chu, boss, "mailbox", "show", new)["description"] == "Accueil"
    assert "there is no mailbox x@bloc" in run(
        chu, boss, "mailbox", "show", "x@bloc.mssante.fr", code=1
    )
    assert newest(chu).event == "mailbox.restored"  # a mistyped address of the own domain
    # The other domains of the tenant are not the manager's.
    assert "may not administer" in refused(chu, boss, "mailbox", "add", "x@chu.mssante.fr", *ORG)
    refused(chu, boss, "mailbox", "close", house.ORG, *REASON, "--yes")
    refused(chu, boss, "mailbox", "alias", "add", new, "porte@chu.mssante.fr")
    refused(chu, boss, "mailbox", "list", "--domain", "chu.mssante.fr")
    refused(chu, boss, "domain", "add", "new.mssante.fr")
    refused(chu, boss, "account", "group", "add", "new")
    refused(chu, boss, "account", "suspend", "ide.petit", *REASON)


def test_an_import_within_the_domains_of_the_manager(chu: House, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    head = "address,type,finess,responsible\n"
    mine = "a@bloc.mssante.fr,ORG,2A0000154,Claire Martin\n"
    table.write_text(head + mine + f"{house.ORG},,,Jean Roux\n")
    for dry in ((), ("--dry-run",)):
        said = refused(chu, "m.domaine", "mailbox", "import", str(table), *dry)
        assert f"3     {house.ORG}" in said
        assert "the domain chu.mssante.fr is not hosted here" in said
        assert newest(chu).facts["why"] == "m.domaine has no role for the domains of the lines 3"
    assert "a@bloc.mssante.fr" not in chu.run("mailbox", "list")
    run(chu, "m.tout", "mailbox", "import", str(table), "--dry-run")
    table.write_text(head + "a@nowhere.mssante.fr,ORG,2A0000154,Claire Martin\n")
    run(chu, "m.tout", "mailbox", "import", str(table), code=1)
    assert newest(chu).account == "m.domaine"  # a slip of who may do all is no refusal
    table.write_text(head + mine + f"{BLOC},,,Jean Roux\n")
    run(chu, "m.domaine", "mailbox", "import", str(table))
    assert newest(chu).account == "m.domaine"
    assert listed(chu, "m.domaine", "mailbox", "show", BLOC)["responsible"] == "Jean Roux"


def test_a_manager_of_a_tenant_and_its_people(chu: House) -> None:
    boss = "m.chu"
    logins = {one["login"] for one in listed(chu, boss, "account", "list")}
    assert "ide.petit" in logins
    assert "abroad" not in logins
    found = ("account", "find", "--rpps", house.RPPS.value)
    assert listed(chu, boss, *found)["login"] == "dr.martin"
    run(chu, boss, "account", "suspend", "ide.petit", *REASON)
    run(chu, boss, "account", "resume", "ide.petit")
    run(chu, boss, "account", "group", "add", "nuit")
    run(chu, boss, "account", "group", "member", "add", "nuit", "ide.petit")
    assert newest(chu).event == "member.added"
    said = refused(chu, boss, "account", "group", "member", "add", "nuit", boss)
    assert "may not give itself access" in said
    assert "nuit" in run(chu, boss, "account", "group", "list")
    # Whoever has a role is suspended by whoever could end it.
    for login in ("op.tout", "m.tout", "op.chu", "m.domaine"):
        refused(chu, boss, "account", "suspend", login, *REASON)
    refused(chu, "op.chu", "account", "suspend", "op.tout", *REASON)
    run(chu, "op.chu", "account", "suspend", "m.domaine", *REASON)
    run(chu, "op.tout", "account", "suspend", "m.tout", *REASON)
    refused(chu, boss, "tenant", "rename", "operator", "--title", "x")
    assert "there is no tenant clinique" in refused(chu, boss, "tenant", "show", "clinique")


def test_accounts_of_another_tenant_look_unknown_where_they_are_named(chu: House) -> None:
    for words in (
        ("grant", "give", house.ORG, "--right", "read", "--account"),
        ("grant", "list", "--account"),
        ("account", "group", "member", "add", "bloc"),
        ("account", "group", "member", "remove", "bloc"),
    ):
        theirs = run(chu, "m.chu", *words, "abroad", code=1)
        assert theirs == "mssante: there is no account abroad\n", words
        assert theirs == run(chu, "m.chu", *words, "nobody", code=1).replace("nobody", "abroad")
    said = run(chu, "m.tout", "account", "group", "member", "add", "bloc", "abroad", code=1)
    assert "in the tenant of the group" in said


def test_a_manager_does_not_become_a_holder(chu: House, tmp_path: Path) -> None:
    """No role gives content, not by the own number either."""
    chu.run("account", "identifier", "add", "m.chu", "--rpps", "10000009133")
    number = ("mailbox", "set", house.CAB, "--holder", "10000009133")
    assert "may not give itself access" in refused(chu, "m.chu", *number)
    table = tmp_path / "holders.csv"
    table.write_text(f"address,holders\n{house.CAB},10000009133\n")
    refused(chu, "m.chu", "mailbox", "import", str(table))
    run(chu, "op.chu", *number)  # another person does it


def test_a_manager_of_the_whole_operator(chu: House) -> None:
    boss = "m.tout"
    run(chu, boss, "domain", "add", "new.mssante.fr", "--tenant", "clinique")
    run(chu, boss, "domain", "remove", "new.mssante.fr", "--yes")
    run(chu, boss, "tenant", "add", "ghu")
    take = ("tenant", "take", "ghu", "bloc.mssante.fr")
    assert "or administer it" in run(chu, boss, *take, code=1)
    given = listed(chu, boss, "role", "list")
    (role,) = (one["id"] for one in given if one["account"] == "m.domaine")
    chu.run("role", "end", str(role))
    run(chu, boss, *take)
    run(chu, boss, "tenant", "rename", "ghu", "--title", "GHU")
    assert len(listed(chu, boss, "mailbox", "list")) == 6
    assert {one["name"] for one in listed(chu, boss, "tenant", "list")} == {
        *("operator", "clinique", "ghu")
    }
    refused(chu, "m.domaine", "mailbox", "add", "x@bloc.mssante.fr", *ORG)


def test_a_role_needs_two_factors(chu: House) -> None:
    with chu.database.write() as conn:
        house.add_account(conn, "faible")
    administrators.seat(chu.daemon, "faible", totp=False)
    chu.run("role", "give", "faible", "operator")
    weak = administrators.alone(chu.daemon, "faible")
    for words in (
        ("mailbox", "list"),
        ("mailbox", "show", house.ABROAD),
        ("mailbox", "show", "x@nowhere.mssante.fr"),
        ("mailbox", "suspend", house.ORG, *REASON),
        ("account", "show", "ide.petit"),
        ("tenant", "add", "x"),
        ("role", "give", "faible", "auditor"),
        ("break-glass", "open", house.ORG, *REASON),
    ):
        assert "two factors" in chu.run(*words, *weak, code=1), words
        assert newest(chu).event == "act.refused"
    rows = json.loads(chu.run("report", "one-factor", "--json", code=1))
    assert rows == [{"account": "faible", "role": "operator", "scope": "operator (whole)"}]
    config = chu.daemon.config.read_text()
    chu.daemon.config.write_text(f"{config}\n[rights]\ntwo_factors_for_roles = false\n")
    try:
        assert house.ABROAD in chu.run("mailbox", "list", *weak)
    finally:
        chu.daemon.config.write_text(config)


def test_a_command_that_asks_nothing_is_refused(chu: House) -> None:
    """Whatever forgets to ask the rules gives nothing, even to an operator of the whole."""
    settings = load(chu.daemon.config)
    with open_act(settings) as act:
        code = administrators.both(chu.daemon, chu.database, "op.tout")[-1]
        own = log_in(act, settings, "op.tout", administrators.PASSWORD, code)
        for begin in (own.write, own.read):
            with pytest.raises(NotAllowed, match="Unix user of the daemon alone"), begin():
                pass
            assert newest(chu).event == "act.refused"


def test_the_unix_user_needs_no_role(chu: House) -> None:
    with chu.database.read() as conn:
        before = len(list_roles(conn))
    assert len(json.loads(chu.run("role", "list", "--json"))) == before
    assert "bloc" in chu.run("account", "group", "list")
    said = chu.run("mailbox", "show", "nobody@chu.mssante.fr", code=1)
    assert "there is no mailbox" in said
