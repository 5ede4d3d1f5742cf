"""A folder may have any name: its path is never put into a URL, nor read as a pattern."""

from pathlib import Path

import pytest

from tests.support.machines.daemon import client, command, lay_out, served

MARTIN = "claire.martin@a.mssante.fr"
TEXT = b"From: <dr@b.mssante.fr>\r\nSubject: [FIN]\r\n\r\nBonjour\r\n"
ODD = "a?b%41#c %s&é;[d]"


def test_the_daemon_and_the_commands_share_one_store(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    daemon = lay_out(folder, "a")
    assert sorted(one.name for one in tmp_path.iterdir()) == [ODD]
    with served(daemon):
        with client(daemon, "b") as smtp:
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], TEXT)
        assert "dr@b.mssante.fr" in daemon.run("message", "list", MARTIN)
        letter = folder / "x.eml"
        letter.write_bytes(TEXT.replace(b"dr@b", b"claire.martin@a"))
        daemon.run("message", "send", str(letter), "--from", MARTIN, "--to", "x@b.mssante.fr")
        assert "x@b.mssante.fr" in daemon.run("queue", "list")
        assert daemon.stop() == 0
    assert (folder / "data" / "mssante.db").is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == [ODD]
    assert "NO" not in [line.split()[1] for line in daemon.run("config", "check").splitlines()]


@pytest.mark.parametrize("name", ["a?b", "a%41", "a#b"])
def test_init(tmp_path: Path, name: str) -> None:
    code, _, err = command("init", str(tmp_path / name))
    assert (code, err) == (0, "")
    assert (tmp_path / name / "data" / "mssante.db").is_file()
    code, out, _ = command("--config", str(tmp_path / name / "mssante.toml"), "domain", "list")
    assert (code, "a.mssante.fr" in out) == (0, True)
    assert [one.name for one in tmp_path.iterdir()] == [name]
