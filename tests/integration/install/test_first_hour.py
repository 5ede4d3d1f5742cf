"""Mistakes of a new user: one line says what is wrong, never a traceback."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from tests.support.machines.daemon import MSSANTE, Daemon, command, free_endpoint, lay_out, served

ROOT = Path(__file__).parents[3]
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


@pytest.fixture(scope="module")
def operator_a(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("a"), "a")


def one_line(code: int, out: str, err: str) -> str:
    """Check a refusal in one line; returns that line."""
    assert code in {1, 2}, out
    assert "Traceback" not in err
    if code == 1:
        assert err.count("\n") == 1, err
    return err


def init(folder: Path | str, *words: str) -> str:
    return one_line(*command("init", str(folder), *words))


class TestInit:
    def test_a_domain_with_an_accent(self, tmp_path: Path) -> None:
        said = init(tmp_path / "x", "--domain", "hôpital.fr")
        assert "'hôpital.fr' is not a domain: expected a DNS name" in said
        assert not (tmp_path / "x").exists()

    def test_where_nothing_can_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "cannot be created: File exists; choose another folder" in init(tmp_path / "file")
        assert "cannot be created: Not a directory" in init(tmp_path / "file" / "x")
        assert "cannot be created" in init("/proc/x")

    def test_a_path_in_latin_1(self, tmp_path: Path) -> None:
        folder = tmp_path / os.fsdecode(b"h\xf4pital")
        assert "path name not in UTF-8; choose another folder" in init(folder)
        assert not folder.exists()

    def test_a_path_with_accents_and_blanks_works_when_pasted(self, tmp_path: Path) -> None:
        endpoint, admin = free_endpoint(), free_endpoint()
        with chdir(tmp_path):
            code, out, err = command("init", "à l'hôpital", "--listen", endpoint, "--admin", admin)
            assert (code, err) == (0, "")
            daemon = Daemon(tmp_path / "à l'hôpital" / "mssante.toml", endpoint, admin)
            with served(daemon):
                for step in ("send as a peer:", "send from here:", "read a mailbox:"):
                    lines = out.partition(step)[2].splitlines()
                    end = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
                    line = "\n".join(lines[: end + 1]).strip()
                    if "testbed.peer" not in line:  # the program's name may be pytest's
                        line = shlex.join(MSSANTE) + line[line.index(" --config") :]
                    done = subprocess.run(
                        ["sh", "-c", line], capture_output=True, text=True, check=False
                    )
                    assert done.returncode == 0, done.stdout + done.stderr
            assert len(daemon.entries("claire.martin@a.mssante.fr")) == 1
            assert len(daemon.entries("cardiologie@a.mssante.fr")) == 1

    def test_what_to_do_next_holds_in_any_folder(self, tmp_path: Path) -> None:
        with chdir(tmp_path):
            code, out, _ = command("init", "x")
        assert code == 0
        assert out.strip() == (tmp_path / "x" / "NEXT.txt").read_text().strip()
        words = [word for line in out.splitlines() for word in line.split() if "/" in word]
        paths = [word for word in words if not word.startswith("http")]
        assert len(paths) > 5
        assert [word for word in paths if not word.startswith("/")] == []
        assert str(tmp_path / "x" / "mssante.toml") in paths


@needs_root
class TestAnotherUser:
    """User who is neither root nor the owner of the files."""

    def run(self, *words: str | Path, cwd: Path) -> str:
        done = subprocess.run(
            [*MSSANTE, *words],
            user=NOBODY,
            group=NOBODY,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        return one_line(done.returncode, done.stdout, done.stderr)

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        """Folder that everybody may enter, with an operator that belongs to root."""
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(0o755)
        lay_out(tmp_path / "a", "a")
        return tmp_path

    def test_a_configuration_that_may_not_be_read(self, outside: Path) -> None:
        for mode in (0o700, 0o755):  # first in a closed folder, then itself unreadable
            (outside / "a").chmod(mode)
            (outside / "a" / "mssante.toml").chmod(0o600)
            for words in (("config", "check"), ("serve",), ("mailbox", "list")):
                said = self.run("--config", outside / "a" / "mssante.toml", *words, cwd=outside)
                assert "cannot be read: Permission denied; run the command as the user root" in said

    def test_a_store_that_may_not_be_read(self, outside: Path) -> None:
        (outside / "a").chmod(0o755)
        (outside / "a" / "mssante.toml").chmod(0o644)
        for words in (("serve",), ("mailbox", "list"), ("queue", "summary")):
            said = self.run("--config", outside / "a" / "mssante.toml", *words, cwd=outside)
            assert "storage.directory: " in said or "cannot be read" in said
            assert "root" in said

    def test_init_where_one_may_not_write(self, outside: Path) -> None:
        assert "cannot be created: Permission denied" in self.run(
            "init", outside / "x", cwd=outside
        )
        (outside / "y").mkdir(mode=0o755)
        assert "no write access" in self.run("init", outside / "y", cwd=outside)

    def test_a_low_port(self, tmp_path: Path) -> None:
        daemon = lay_out(tmp_path / "a", "a")
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(0o755)
        daemon.config.write_text(daemon.config.read_text().replace(daemon.endpoint, "127.0.0.1:25"))
        for path in (daemon.folder, *daemon.folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        low = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        if low.exists() and int(low.read_text()) <= 25:
            pytest.skip("here every user may listen on port 25")
        said = self.run("--config", daemon.config, "serve", cwd=tmp_path)
        assert "cannot listen on 127.0.0.1:25: Permission denied" in said
        assert "CAP_NET_BIND_SERVICE" in said


@pytest.mark.parametrize(
    "words",
    [
        ("mailbox", "show", os.fsdecode(b"jos\xe9@a.mssante.fr")),
        ("mailbox", "quota", os.fsdecode(b"jos\xe9@a.mssante.fr"), "1M"),
        ("domain", "add", os.fsdecode(b"h\xf4pital.fr")),
        ("message", "list", os.fsdecode(b"jos\xe9@a.mssante.fr")),
        ("message", "show", os.fsdecode(b"\xe9")),
        ("queue", "list", "--domain", os.fsdecode(b"\xe9")),
        ("trace", os.fsdecode(b"\xe9")),
        ("whitelist", "verify", os.fsdecode(b"/nowhere/\xe9")),
        (
            "message",
            "export",
            "--reason",
            "test",
            "claire.martin@a.mssante.fr",
            "--output",
            "/nowhere/x",
        ),
        (
            "message",
            "export",
            "--reason",
            "test",
            "claire.martin@a.mssante.fr",
            "--output",
            "/dev/full",
        ),
    ],
)
def test_no_argument_gives_a_traceback(operator_a: Daemon, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*MSSANTE, "--config", operator_a.config, *words],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert b"Traceback" not in done.stderr
    if "/dev/full" not in words:  # the export of an empty mailbox to it succeeds
        assert done.returncode in {0, 1, 2}
        assert done.returncode or b"[]" not in done.stdout


def _latin_1(daemon: Daemon) -> None:
    daemon.config.write_bytes("# clé\n".encode("latin-1") + daemon.config.read_bytes())


def _folder(daemon: Daemon) -> None:
    daemon.config.unlink()
    daemon.config.mkdir()


def _link_to_itself(daemon: Daemon) -> None:
    daemon.config.unlink()
    daemon.config.symlink_to(daemon.config)


@pytest.mark.parametrize("spoil", [_latin_1, _folder, _link_to_itself])
def test_a_configuration_that_is_none(tmp_path: Path, spoil: Callable[[Daemon], None]) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    spoil(daemon)
    for words in (("config", "check"), ("serve",)):
        assert str(daemon.config) in one_line(*command("--config", str(daemon.config), *words))


def test_make_clean_leaves_the_mail(tmp_path: Path) -> None:
    # In a copy of the checkout, whose environment may be removed.
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "find-python.sh").symlink_to(ROOT / "tools" / "find-python.sh")
    for path in (tmp_path / "run" / "data" / "mail", tmp_path / ".venv" / "x", tmp_path / "my op"):
        path.mkdir(parents=True)
    for words in ((), ("DIR=my op",)):
        done = subprocess.run(
            ["make", "-s", "clean", f"PYTHON={sys.executable}", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "and the mail in it stay; to remove them: rm -r '" in done.stdout
    assert (tmp_path / "run" / "data" / "mail").is_dir()
    assert (tmp_path / "my op").is_dir()
    assert not (tmp_path / ".venv").exists()
