"""`mssante store` and `mssante keys`, beside the daemon and without it."""

import json
import os
import re
from pathlib import Path

import pytest

from mailstore.sealed.keyring import read_keys
from tests.support.machines.daemon import Daemon, client, command, lay_out, served
from tests.support.storage.blobs import FORMS, overwrite

MARTIN, CARDIO = "claire.martin@a.mssante.fr", "cardiologie@a.mssante.fr"
# Too large for the database, so that there is a file.
LETTER = "From: {0}\nSubject: [FIN]\nDate: d\nMessage-ID: i\n\nLettre {1}\n" + 7_000 * "Bonjour.\n"
LONG_AGO = 1_000_000


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a")


def submit(daemon: Daemon, number: int = 0, *, octets: int = 70_000) -> bytes:
    """Send a message from one mailbox here to another; returns it as stored."""
    letter = LETTER.format(CARDIO, number).encode()[:octets]
    path = daemon.folder / "letter.eml"
    path.write_bytes(letter)
    daemon.run("message", "send", str(path), "--from", CARDIO, "--to", MARTIN)
    return letter.replace(b"\n", b"\r\n")


def files(daemon: Daemon) -> list[Path]:
    return sorted((daemon.folder / "data" / "blobs").glob("??/*"))


def setting(daemon: Daemon, line: str) -> None:
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("[tls]", f"{line}\n\n[tls]", 1))


class TestEncryption:
    def test_it_is_on_by_default_and_reading_is_none_the_wiser(self, operator_a: Daemon) -> None:
        body = submit(operator_a)
        (file,) = files(operator_a)
        assert b"Lettre" not in file.read_bytes()
        (entry,) = operator_a.entries(MARTIN)
        assert operator_a.body(entry) == body
        assert (
            b"Lettre 0"
            in operator_a.run(
                "message", "show", entry.message.id, "--content", "--reason", "test"
            ).encode()
        )
        assert "Lettre 0" in operator_a.run("message", "export", "--reason", "test", MARTIN)

    def test_off_writes_plain(self, operator_a: Daemon) -> None:
        setting(operator_a, "encryption = false")
        submit(operator_a)
        assert b"Lettre" in files(operator_a)[0].read_bytes()

    def test_keys_elsewhere(self, operator_a: Daemon) -> None:
        setting(operator_a, 'keys = "secret/keys"')
        (operator_a.folder / "secret").mkdir()
        # The mark is sealed with the key: no new key is made, although no body needs it yet.
        assert "secret/keys: no such file" in operator_a.run("db", "upgrade", code=1)
        (operator_a.folder / "data" / "keys").rename(operator_a.folder / "secret" / "keys")
        operator_a.run("db", "upgrade")
        submit(operator_a)
        assert operator_a.run("store", "check") == SOUND + "1 bodies checked\n"

    def test_an_unknown_compression_is_refused(self, operator_a: Daemon) -> None:
        setting(operator_a, 'compression = "lz4"')
        assert "storage.compression" in operator_a.run("store", "check", code=1)

    @pytest.mark.skipif("zstd" in FORMS, reason="the package is here")
    def test_zstd_without_its_package_is_a_line(self, operator_a: Daemon) -> None:
        setting(operator_a, 'compression = "zstd"')
        assert "storage.compression: zstd needs" in operator_a.run("serve", code=1)

    @pytest.mark.skipif("zstd" not in FORMS, reason="needs the package backports-zstd")
    def test_zstd(self, operator_a: Daemon) -> None:
        plain = submit(operator_a)
        setting(operator_a, 'compression = "zstd"')
        assert operator_a.run("store", "rewrite").startswith("rewrote 1 bodies\n")
        assert submit(operator_a) == plain
        assert len(files(operator_a)) == 2  # names do not tell that the bodies are equal
        assert [operator_a.body(entry) for entry in operator_a.entries(MARTIN)] == [plain, plain]


SOUND = "all bodies are intact\n"


class TestLostKeys:
    @pytest.mark.parametrize("words", [("serve",), ("store", "check"), ("mailbox", "list")])
    def test_nothing_starts_without_the_key_file(
        self, operator_a: Daemon, words: tuple[str, ...]
    ) -> None:
        (operator_a.folder / "data" / "keys").unlink()
        said = operator_a.run(*words, code=1)
        assert said.count("\n") == 1
        assert "storage.keys" in said
        assert "restore it from a backup" in said

    @pytest.mark.parametrize("octets", [100, 70_000], ids=["in the database", "in a file"])
    @pytest.mark.parametrize("line", ["", "encryption = false"], ids=["on", "off"])
    def test_no_new_keys_are_made_over_lost_ones(
        self, operator_a: Daemon, line: str, octets: int
    ) -> None:
        submit(operator_a, octets=octets)
        keys = operator_a.folder / "data" / "keys"
        kept = keys.read_bytes()
        keys.unlink()
        setting(operator_a, line)
        for words in (("serve",), ("db", "upgrade")) if not line else (("serve",),):
            said = operator_a.run(*words, code=1)
            assert "restore it from a backup" in said
        assert not keys.exists()
        keys.write_bytes(kept)
        keys.chmod(0o600)
        operator_a.run("store", "check")

    @pytest.mark.parametrize("octets", [100, 70_000], ids=["in the database", "in a file"])
    def test_a_key_file_of_another_store(
        self, operator_a: Daemon, tmp_path: Path, octets: int
    ) -> None:
        submit(operator_a, octets=octets)
        other = lay_out(tmp_path / "b", "b")
        (other.folder / "data" / "keys").replace(operator_a.folder / "data" / "keys")
        said = operator_a.run("serve", code=1)
        assert re.search(r"key [0-9a-f]{16} missing in .*, needed by messages", said)

    def test_keys_that_others_can_read(self, operator_a: Daemon) -> None:
        (operator_a.folder / "data" / "keys").chmod(0o644)
        assert "run: chmod 600" in operator_a.run("serve", code=1)


class TestKeys:
    def test_rotation_beside_the_daemon(self, operator_a: Daemon) -> None:
        path = operator_a.folder / "data" / "keys"

        def deliver(text: str) -> None:
            with client(operator_a, "b") as smtp:
                smtp.sendmail("dr@b.mssante.fr", [MARTIN], f"From: dr@b.mssante.fr\n\n{text}\n")

        with served(operator_a):
            deliver("one")
            said = operator_a.run("keys", "rotate")
            deliver("two")
            keys = read_keys(path)
            assert keys[1].id.hex() in said
            rows = json.loads(operator_a.run("keys", "list", "--json"))
            assert [(row["name"], row["writes"]) for row in rows] == [
                (keys[0].id.hex(), "no"),
                (keys[1].id.hex(), "yes"),
            ]
            assert not any(key.secret.hex() in operator_a.run("keys", "list") for key in keys)
            entries = operator_a.entries(MARTIN)
            with operator_a.store() as store:
                used = [store.blobs.header(entry.message.blob) for entry in entries]
            assert [header and header.key_id for header in used] == [key.id for key in keys]
            said = operator_a.run("keys", "rotate", "--rewrite")
            assert "rewrote 2 bodies" in said
            assert [b"one" in operator_a.body(entry) for entry in entries] == [True, False]
            assert operator_a.run("store", "rewrite") == "rewrote 0 bodies\n"
            assert operator_a.run("store", "check").startswith(SOUND)


class TestStore:
    def test_check_tells_what_is_wrong(self, operator_a: Daemon) -> None:
        for number in range(3):
            submit(operator_a, number)
        assert operator_a.run("store", "check") == SOUND + "3 bodies checked\n"
        lost, damaged, _ = files(operator_a)
        lost.unlink()
        overwrite(damaged, damaged.read_bytes()[:-1] + b"?")
        code, out, _ = command("--config", str(operator_a.config), "store", "check", "--json")
        assert code == 1
        found = {row["blob"]: row["fault"] for row in map(json.loads, out.splitlines())}
        assert found == {lost.name: "missing", damaged.name: "damaged"}
        said = operator_a.run("store", "check", code=1)
        assert f"missing  {lost.name}" in said

    def test_gc_frees_what_is_old_and_unneeded(self, operator_a: Daemon) -> None:
        submit(operator_a)
        with operator_a.store() as store:
            for text in (b"old", b"new"):
                draft = store.blobs.draft()
                draft.write(text * 40_000)
                (blob,) = store.blobs.seal([draft])
                if text == b"old":
                    (file,) = (one for one in files(operator_a) if one.name == blob)
                    os.utime(file, (LONG_AGO, LONG_AGO))
        assert "unreferenced" in operator_a.run("store", "check", code=1)
        assert operator_a.run("store", "gc").startswith("freed 0 messages, 1 bodies, ")
        assert len(files(operator_a)) == 2
        assert "Invalid value" in operator_a.run("store", "gc", "--older-than", "0", code=2)
        assert operator_a.run("store", "check").startswith(SOUND)
