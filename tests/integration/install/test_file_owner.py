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
from tests.support.machines.daemon import Daemon, lay_out
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
    "audit anchor": (),
    "audit export": (),  # the row that tells of it
    "audit search": (),
    "audit show": ("1.1",),
    "audit verify": (),  # the event
    "db upgrade": (),
    "domain add": ("chu.mssante.fr",),
    "keys rotate": (),
    "machine retire": ("0" * 32,),
    "mailbox add": ("x@a.mssante.fr", "--type", "PER", "--rpps", "10000001916"),
    "mailbox close": (BOX, "--yes"),
    "mailbox quota": (BOX, "1G"),
    "mailbox resume": (BOX,),
    "mailbox suspend": (BOX,),
    "message export": (BOX,),  # the event
    "message send": ("/dev/null", "--from", BOX, "--to", BOX),
    "queue drop": ("--all", "--reason", "x", "--yes"),
    "queue hold": ("--all", "--reason", "x"),
    "queue pause": ("--reason", "x", "b.mssante.fr"),
    "queue release": ("--all",),
    "queue resume": ("b.mssante.fr",),
    "queue retry": ("--all",),
    "queue rules add": ("--all", "--reason", "x"),
    "queue rules remove": ("1",),
    "serve": (),
    "store gc": (),
    "store rewrite": (),
    "whitelist refresh": (),
}
MESSAGE = make_id()  # of nothing
READS: dict[str, tuple[str, ...]] = {
    "audit key": (),
    "config check": (),
    "config reference": (),
    "db current": (),
    "domain list": (),
    "keys list": (),
    "machine list": (),
    "mailbox list": (),
    "mailbox show": (BOX,),
    "message list": (BOX,),
    "message show": (MESSAGE,),
    "queue list": (),
    "queue rules list": (),
    "queue show": ("1",),
    "queue summary": (),
    "store check": (),
    "trace": (MESSAGE,),
    "whitelist diff": (),
    "whitelist explain peer": ("--certificate", "pki/server.pem", "--from", BOX),
    "whitelist explain server": ("--connect", "127.0.0.1:1", "--domain", "b.mssante.fr"),
    "whitelist history": (),
    "whitelist status": (),
    "whitelist verify": ("whitelist/listeblanchemssante.xml",),
}
# Commands that fail here: their list, message, machine or server is missing, or a check says NO.
REFUSED = {
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
    return daemon


def _of_root(daemon: Daemon) -> list[Path]:
    return [one for one in (daemon.folder / "data").rglob("*") if one.stat().st_uid == 0]


@AS_ROOT
@pytest.mark.parametrize("name", WRITES)
def test_root_writes_nothing_in_the_store_of_another(of_another: Daemon, name: str) -> None:
    said = of_another.run(*name.split(), *WRITES[name], code=1)
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
