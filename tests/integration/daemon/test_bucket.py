"""[storage.s3]: refused settings with their messages; all commands work on a bucket."""

import sys
from pathlib import Path

import pytest

from mailstore.s3.bucket import Bucket, BucketPlace
from mssante_operator.assembly.storage import open_store
from mssante_operator.settings.model import SettingsError, load
from tests.support.machines.cluster import keep_in_bucket
from tests.support.machines.configuration import GOOD, refusal, write
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.storage.object_server import ObjectServer

CARDIO, MARTIN = "cardiologie@a.mssante.fr", "claire.martin@a.mssante.fr"
SOUND = "all bodies are intact\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('buckt = "x"', "storage.s3.buckt: unknown key; did you mean bucket?"),
        ("bucket = 1", "storage.s3.bucket: expected text in quotes: "),
        (
            'endpoint = "s3.local"',
            "storage.s3.endpoint: expected a URL without a path: https://HOST",
        ),
        (
            'endpoint = "https://key:secret@s3"',
            "storage.s3.endpoint: expected a URL without a path: https://HOST",
        ),
        ('endpoint = "http://s3.local"', "storage.s3: endpoint without TLS"),
        ('prefix = "/a"', "storage.s3.prefix: expected folders of ASCII letters"),
        ('prefix = "a/"', "storage.s3.prefix: expected folders of ASCII letters"),
        ('region = ""', "storage.s3.region: must not be empty"),
        ('access_key_file = "x"', "storage.s3: set both access_key_file and secret_key_f"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, lines: str, message: str) -> None:
    assert refusal(tmp_path, f"{GOOD}[storage.s3]\n{lines}\n").startswith(message)


def test_a_password_in_the_endpoint_is_not_repeated(tmp_path: Path) -> None:
    said = refusal(tmp_path, f'{GOOD}[storage.s3]\nendpoint = "https://key:secret@s3"\n')
    assert "secret" not in said
    assert said.endswith("; value not shown: it may contain a password")


@pytest.mark.parametrize(
    "lines",
    [
        'endpoint = "https://s3.local:9000/"',
        'endpoint = "http://127.0.0.1:9000"',
        'endpoint = "http://[::1]:9000"',
        'endpoint = "http://localhost:9000"',
        'endpoint = "http://s3.local"\nallow_http = true',
    ],
)
def test_endpoints_that_may_be(tmp_path: Path, lines: str) -> None:
    assert load(write(tmp_path, f"{GOOD}[storage.s3]\n{lines}\n")).storage.s3.endpoint


@pytest.fixture
def place(object_server: ObjectServer) -> BucketPlace:
    return object_server.place(prefix="a")


@pytest.fixture
def operator_a(tmp_path: Path, place: BucketPlace) -> Daemon:
    daemon = lay_out(tmp_path / "a", "a")
    keep_in_bucket(daemon, place)
    return daemon


def submit(daemon: Daemon, octets: int = 300_000) -> bytes:
    """Send a message from one mailbox here to another; returns it as stored."""
    letter = (
        f"From: {CARDIO}\nDate: d\nMessage-ID: i\n\n{'Bonjour. ' * 8}\n".encode()
        + b"texte\n" * (octets // 6)
    )
    path = daemon.folder / "letter.eml"
    path.write_bytes(letter)
    daemon.run("message", "send", str(path), "--from", CARDIO, "--to", MARTIN)
    return letter.replace(b"\n", b"\r\n")


class TestCommands:
    def test_they_work_on_a_bucket(self, operator_a: Daemon, place: BucketPlace) -> None:
        assert "database schema up to date" in operator_a.run("config", "check")
        letter = submit(operator_a)
        (entry,) = operator_a.entries(MARTIN)
        assert operator_a.body(entry) == letter
        assert entry.message.blob in [found.key[:64] for found in Bucket(place).list()]
        assert not list((operator_a.folder / "data" / "blobs").glob("??/*"))
        shown = operator_a.run("message", "show", entry.message.id, "--content", "--reason", "test")
        assert shown.count("texte\r\n") == letter.count(b"texte\r\n")
        assert operator_a.run("store", "check").startswith(SOUND)
        assert operator_a.run("store", "gc") == "freed 0 messages, 0 bodies, 0 octets\n"
        assert "rewrote 1 bodies" in operator_a.run("keys", "rotate", "--rewrite")
        assert operator_a.run("store", "rewrite") == "rewrote 0 bodies\n"
        (found,) = [one for one in Bucket(place).list() if "/" in one.key]
        Bucket(place).delete(found.key)
        assert f"missing  {entry.message.blob}" in operator_a.run("store", "check", code=1)
        gone = f"the body {entry.message.blob} is in no place where bodies are"
        assert gone in operator_a.run(
            "message", "show", entry.message.id, "--content", "--reason", "test", code=1
        )
        said = operator_a.run("message", "export", "--reason", "test", MARTIN, code=1)
        assert f"message {entry.message.id} is left out: {gone}" in said

    def test_no_new_keys_are_made_over_lost_ones(self, operator_a: Daemon) -> None:
        submit(operator_a)
        (operator_a.folder / "data" / "keys").unlink()
        for words in (("db", "upgrade"), ("serve",)):
            assert "restore it from a backup" in operator_a.run(*words, code=1)


class TestWhatCannotBeUsed:
    def said(self, daemon: Daemon) -> str:
        said = daemon.run("config", "check", code=1)
        (line,) = [line for line in said.splitlines() if line.startswith("storage")]
        assert "key-secret" not in said
        return line

    def test_a_bucket_that_is_not_there(self, operator_a: Daemon, place: BucketPlace) -> None:
        text = operator_a.config.read_text()
        operator_a.config.write_text(text.replace(place.bucket, "none-such"))
        assert f"cannot list the bucket none-such at {place.endpoint}" in self.said(operator_a)
        assert "NoSuchBucket" in operator_a.run("serve", code=1)

    def test_files_of_credentials(self, operator_a: Daemon) -> None:
        secret = operator_a.folder / "secret"
        for text in ("", "two\nlines\n", "two words\n", "clé\n"):
            secret.write_text(text)
            assert "storage.s3.secret_key_file" in self.said(operator_a)
            assert "expected one line of ASCII" in self.said(operator_a)
        secret.write_text("key-secret\n")
        secret.chmod(0o644)
        assert "run: chmod 600" in self.said(operator_a)
        secret.unlink()
        assert "No such file or directory" in self.said(operator_a)

    def test_the_package_that_it_needs(
        self, operator_a: Daemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("mailstore.s3.bucket", "mailstore.s3.store", "mailstore.s3.reader"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(sys.modules, "obstore", None)
        with pytest.raises(SettingsError, match=r"storage\.s3: package obstore missing; run: pip"):
            open_store(load(operator_a.config))
