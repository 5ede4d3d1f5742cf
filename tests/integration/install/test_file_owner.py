"""Commands that write to the storage folder run as its owner, or not at all."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mssante_operator.assembly.clock import make_id
from mssante_operator.assembly.file_owner import check_user
from mssante_operator.assembly.storage import storage_folder
from mssante_operator.cli.main import cli
from mssante_operator.settings.model import SettingsError, load
from tests.support.machines.daemon import REASON, Daemon, lay_out
from tests.support.rules import needs

_WHY = needs.root("a folder is given away")
AS_ROOT = pytest.mark.skipif(bool(_WHY), reason=_WHY)


@AS_ROOT
def test_root_is_told_to_be_the_daemons_user(tmp_path: Path) -> None:
    settings = load(lay_out(tmp_path, "a").config)
    folder = storage_folder(settings)
    check_user(settings)
    os.chown(folder, 12345, -1)
    with pytest.raises(SettingsError, match=r"sudo -u '#12345' mssante") as refused:
        check_user(settings)
    assert str(folder) in str(refused.value)


def test_the_owner_may(tmp_path: Path) -> None:
    settings = load(lay_out(tmp_path, "a").config)
    assert storage_folder(settings).stat().st_uid == os.geteuid()
    check_user(settings)


BOX = "claire.martin@a.mssante.fr"
WRITES: dict[str, tuple[str, ...]] = {
    "account add": ("x.y", "--family-name", "Y"),
    "account close": ("x", *REASON, "--yes"),
    "account export": ("x",),
    "account group add": ("g",),
    "account group member add": ("g", "x"),
    "account group member remove": ("g", "x"),
    "account group remove": ("g",),
    "account identifier add": ("x", "--rpps", "10000001916"),
    "account identifier end": ("x", "--rpps", "10000001916"),
    "account import": ("{folder}/accounts.csv",),
    "account rename": ("x", "--family-name", "Y"),
    "account resume": ("x",),
    "account suspend": ("x", *REASON),
    "audit anchor": (),
    "audit export": (),  # the row that tells of it
    "audit search": (),
    "audit show": ("1.1",),
    "audit verify": (),  # the event
    "break-glass agree": ("1",),
    "break-glass end": ("1",),
    "break-glass open": (BOX, *REASON),
    "credential add app-password": ("x", BOX, "--name", "n", "--protocol", "imap"),
    "credential add certificate": ("x", "CN=x", "--name", "n"),
    "credential add oidc": ("x", "https://a", "s", "--name", "n"),
    "credential add password": ("x",),
    "credential add recovery": ("x",),
    "credential add totp": ("x",),
    "credential revoke": ("x", "1"),
    "db upgrade": (),
    "domain add": ("chu.mssante.fr",),
    "domain quota": ("a.mssante.fr", "1T"),
    "domain remove": ("a.mssante.fr", "--yes"),
    "grant end": ("1",),
    "grant give": (BOX, "--account", "x", "--right", "read"),
    "keys rotate": (),
    "machine retire": ("0" * 32,),
    "mailbox add": ("x@a.mssante.fr", "--type", "PER", "--rpps", "10000001916"),
    "mailbox alias add": (BOX, "y@a.mssante.fr"),
    "mailbox alias end": (BOX, "y@a.mssante.fr"),
    "mailbox close": (BOX, *REASON, "--yes"),
    "mailbox delete": (BOX, *REASON, "--yes"),
    "mailbox folder add": (BOX, "Projets"),
    "mailbox folder remove": (BOX, "Projets", "--yes"),
    "mailbox folder rename": (BOX, "Projets", "Archives"),
    "mailbox import": ("{folder}/mailboxes.csv",),
    "mailbox keep": (BOX, "--until", "2099-01-01", *REASON),
    "mailbox quota": (BOX, "1G"),
    "mailbox restore": (BOX, *REASON),
    "mailbox resume": (BOX,),
    "mailbox set": (BOX, "--red-list"),
    "mailbox suspend": (BOX, *REASON),
    "message delete": ("0" * 32, "--mailbox", BOX),
    "message export": (BOX,),  # the event
    "message flag": ("0" * 32, "--mailbox", BOX, "--add", "seen"),
    "message move": ("0" * 32, "Archive", "--mailbox", BOX),
    "message restore": ("0" * 32, "--mailbox", BOX),
    "message send": ("/dev/null", "--from", BOX, "--to", BOX),
    "queue drop": ("--all", "--reason", "x", "--yes"),
    "queue hold": ("--all", "--reason", "x"),
    "queue pause": ("--reason", "x", "b.mssante.fr"),
    "queue release": ("--all",),
    "queue resume": ("b.mssante.fr",),
    "queue retry": ("--all",),
    "queue rules add": ("--all", "--reason", "x"),
    "queue rules remove": ("1",),
    "role end": ("1",),
    "role give": ("x", "helpdesk"),
    "serve": (),
    "store gc": (),
    "store rewrite": (),
    "team begin": (BOX, "{folder}/members"),
    "team end": (BOX,),
    "tenant add": ("t",),
    "tenant rename": ("operator", "--title", "x"),
    "tenant take": ("operator", "a.mssante.fr"),
    "whitelist refresh": (),
}
FILES = {
    "accounts.csv": "login,family_name\nx,Y\n",
    "mailboxes.csv": "address,type,rpps\nneu@a.mssante.fr,PER,10000001916\n",
    "members": "x\n",
}
MESSAGE = make_id()  # of nothing
READS: dict[str, tuple[str, ...]] = {
    "account find": ("--rpps", "10000001916"),
    "account group list": (),
    "account group member list": ("g",),
    "account list": (),
    "account show": ("x",),
    "audit key": (),
    "break-glass list": (),
    "config check": (),
    "config reference": (),
    "credential list": ("x",),
    "db current": (),
    "domain list": (),
    "grant list": (),
    "keys list": (),
    "machine list": (),
    "mailbox alias list": (BOX,),
    "mailbox folder list": (BOX,),
    "mailbox list": (),
    "mailbox sent": (),
    "mailbox show": (BOX,),
    "message list": (BOX,),
    "message show": (MESSAGE,),
    "queue list": (),
    "queue rules list": (),
    "queue show": ("1",),
    "queue summary": (),
    "report departure": ("x",),
    "report one-factor": (),
    "report unreadable": (),
    "report unused": (),
    "role list": (),
    "search": (),
    "store check": (),
    "team absent": (BOX,),
    "tenant list": (),
    "tenant show": ("operator",),
    "trace": (MESSAGE,),
    "whitelist diff": (),
    "whitelist explain peer": ("--certificate", "pki/server.pem", "--from", BOX),
    "whitelist explain server": ("--connect", "127.0.0.1:1", "--domain", "b.mssante.fr"),
    "whitelist history": (),
    "whitelist status": (),
    "whitelist verify": ("whitelist/listeblanchemssante.xml",),
}
# Commands that fail here: their account, list, message, machine or server is missing, or a check or
# report says NO.
REFUSED = {
    "account find",
    "account group member list",
    "account show",
    "credential list",
    "report departure",
    "report unreadable",
    "team absent",
    "config check",
    "machine list",
    "message show",
    "queue show",
    "trace",
    "whitelist diff",
    "whitelist explain server",
}
ELSEWHERE = {"demo", "init"}  # each makes its own folder


def _commands(command: click.Command, name: str = "") -> Iterator[str]:
    """Full name of each command."""
    if not isinstance(command, click.Group):
        yield name
        return
    context = click.Context(command)
    for one in command.list_commands(context):
        found = command.get_command(context, one)
        assert found is not None
        yield from _commands(found, f"{name} {one}".strip())


def test_each_command_is_looked_at_here() -> None:
    assert sorted(_commands(cli)) == sorted([*WRITES, *READS, *ELSEWHERE])


@pytest.fixture(scope="module")
def of_another(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """Operator whose storage folder, with all files, belongs to another user."""
    daemon = lay_out(tmp_path_factory.mktemp("of-another"), "a")
    for path in (daemon.folder / "data", *(daemon.folder / "data").rglob("*")):
        os.chown(path, 12345, 12345)
    shutil.rmtree(daemon.folder / "data" / "trace", ignore_errors=True)
    for name, content in FILES.items():
        (daemon.folder / name).write_text(content)
    return daemon


def _of_root(daemon: Daemon) -> list[Path]:
    return [one for one in (daemon.folder / "data").rglob("*") if one.stat().st_uid == 0]


@AS_ROOT
@pytest.mark.parametrize("name", WRITES)
def test_root_writes_nothing_in_the_store_of_another(of_another: Daemon, name: str) -> None:
    words = [word.format(folder=of_another.folder) for word in WRITES[name]]
    said = of_another.run(*name.split(), *words, code=1)
    assert "sudo -u '#12345' mssante" in said
    assert _of_root(of_another) == []


@AS_ROOT
@pytest.mark.parametrize("name", READS)
def test_root_may_read_and_leaves_nothing(
    of_another: Daemon, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(of_another.folder)
    code = int(name in REFUSED)
    of_another.run(*name.split(), *READS[name], code=code)
    assert _of_root(of_another) == []
