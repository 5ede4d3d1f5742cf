"""Files of daemon and commands are readable by their user only; `config check` reports others."""

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.daemon import MSSANTE, Daemon, client, command, lay_out, served

MARTIN = "claire.martin@a.mssante.fr"
TEXT = b"From: <dr@b.mssante.fr>\r\nSubject: [FIN]\r\n\r\n" + b"Bonjour\r\n" * 30_000


def open_to_others(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & 0o077 and not path.is_symlink()
    }


@pytest.fixture
def careless() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("careless")
def test_a_new_operator_is_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    done = subprocess.run([*MSSANTE, "init", str(folder)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert open_to_others(folder) == {}
    assert os.umask(0) == 0  # our umask is unchanged
    assert command("--config", str(folder / "mssante.toml"), "domain", "list")[0] == 0
    assert os.umask(0) == 0


@pytest.mark.usefixtures("careless")
def test_so_is_what_the_daemon_writes(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    for path in (daemon.folder, *daemon.folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o077)
    with served(daemon):
        with client(daemon, "b") as smtp:
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
        daemon.run("whitelist", "refresh")
        assert open_to_others(daemon.folder / "data") == {}
        assert daemon.stop() == 0
    assert open_to_others(daemon.folder / "data") == {}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("a b"), "a")


@pytest.mark.usefixtures("careless")
def test_an_export_is_for_its_owner_alone(installed: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "mail.mbox"
    file.write_text("an older export that all could read\n")
    file.chmod(0o644)
    for name in (file, tmp_path / "new.mbox"):
        said = installed.run("message", "export", "--reason", "test", MARTIN, "--output", str(name))
        assert said == "0 messages exported\n"
        assert stat.S_IMODE(name.stat().st_mode) == 0o600
        assert name.read_bytes() == b""
    assert installed.run("message", "export", "--reason", "test", MARTIN) == "0 messages exported\n"
    said = installed.run(
        "message", "export", "--reason", "test", MARTIN, "--output", str(tmp_path), code=2
    )
    assert "Is a directory" in said
    assert installed.run("message", "export", "--reason", "test", MARTIN, "--output", "/dev/null")


def test_an_export_that_is_refused_leaves_the_earlier_one(
    installed: Daemon, tmp_path: Path
) -> None:
    file = tmp_path / "mail.mbox"
    for words, code in (
        (("nobody@a.mssante.fr", "--output", str(file)), 1),
        (("--output", str(file)), 2),  # the address is missing
        (("--output", str(file), MARTIN, "--no-such-option"), 2),
    ):
        file.write_text("an earlier export\n")
        installed.run("message", "export", "--reason", "test", *words, code=code)
        assert file.read_text() == "an earlier export\n"
    (installed.folder / "data" / "mssante.db").rename(tmp_path / "db")
    installed.run("message", "export", "--reason", "test", MARTIN, "--output", str(file), code=1)
    (tmp_path / "db").rename(installed.folder / "data" / "mssante.db")
    assert file.read_text() == "an earlier export\n"


def test_config_check_names_what_others_can_read(installed: Daemon) -> None:
    def doubted() -> list[str]:
        lines = installed.run("config", "check").splitlines()
        return [line for line in lines if line.split()[:2] == ["modes", "DOUBT"]]

    key, data = installed.folder / "pki" / "server.key", installed.folder / "data"
    assert doubted() == []
    key.chmod(0o640)
    assert doubted() == []  # a group may read it
    key.chmod(0o644)
    data.chmod(0o750)
    said = doubted()
    assert len(said) == 2
    assert f"{key}: our private key readable by all users" in said[0]
    assert f"{data}: mail folder open to other users" in said[1]
    for line in said:  # the printed command works
        subprocess.run(shlex.split(line.partition("run: ")[2]), check=True)
    assert doubted() == []


def test_a_password_of_the_database_is_a_secret(installed: Daemon) -> None:
    text = installed.config.read_text()
    installed.config.chmod(0o644)
    try:
        assert "password" not in installed.run("config", "check")
        for url in ("postgresql://x:hush@127.0.0.1:1/none", "postgresql://x@/n?password=hush"):
            line = f'database = "{url}"\n\n[tls]'
            installed.config.write_text(text.replace("[tls]", line, 1))
            said = installed.run("config", "check")  # an unreachable database is a doubt
            assert "the database's password readable by all users" in said
            assert "hush" not in said
    finally:
        installed.config.write_text(text)
        installed.config.chmod(0o600)
