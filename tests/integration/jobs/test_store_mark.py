"""Mark of a store: keys and places of another store are refused, before any message."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from mailstore.blobs import store_mark as mark
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.gc import rewrite_blobs
from mailstore.db.database import Database
from mailstore.db.schema import store_mark
from mailstore.messages.messages import Message, NewMessage, store_messages
from mailstore.s3.bucket import Bucket
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.keyring import Keyring, make_first, rotate
from mssante_operator.assembly import store_mark as marking
from mssante_operator.assembly.clock import make_id, utc_now
from mssante_operator.settings.model import Settings, SettingsError, load
from tests.support.db.databases import PostgresServer
from tests.support.machines.cluster import keep_in_bucket
from tests.support.machines.configuration import GOOD, write
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.storage.blobs import MADE
from tests.support.storage.object_server import ObjectServer
from tests.support.storage.stores import Kept, draft, kept_in

FOREIGN = "key file of another store; restore it from a backup, or copy it from another"


@pytest.fixture(params=("files", "bucket"))
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kept]:
    yield from kept_in(request.param, request, tmp_path, "encrypted")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(write(tmp_path, GOOD))


class Site:
    """A database and a place of bodies, opened by machines with different keys."""

    def __init__(self, settings: Settings, database: Database, kept: Kept, folder: Path) -> None:
        self.settings, self.database, self.kept, self.folder = settings, database, kept, folder
        self.keys = folder / "keys"

    def bodies(self, form: BlobFormat | None = None) -> Bodies:
        store = self.kept.store if form is None else self.kept.again(form)
        return Bodies(store, self.database, utc_now, 0)

    def verify(self, form: BlobFormat | None = None, *, anew: bool = False) -> None:
        bodies = self.bodies(form)
        try:
            marking.verify(self.settings, self.keys, self.database, bodies, anew=anew)
        finally:
            if form is not None:
                bodies.close()

    def refusal(self, form: BlobFormat | None = None, *, anew: bool = False) -> str:
        with pytest.raises(SettingsError) as refused:
            self.verify(form, anew=anew)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def mark(self) -> bytes | None:
        with self.database.read() as connection:
            return connection.scalar(select(store_mark.c.mark))

    def other(self, name: str = "other") -> BlobFormat:
        """Keys of another store."""
        make_first(self.folder / name, MADE)
        return BlobFormat(Keyring(self.folder / name))

    def put(self, body: bytes = b"From: x\r\n\r\nSIDA\r\n", *, lose: bool = False) -> None:
        """Store a message; optionally lose its body."""
        made = draft(self.kept.store, body)
        blob = made.blob
        if lose:
            made.discard()
        else:
            assert self.kept.store.seal([made]) == [blob]
        now = utc_now()
        message = Message(make_id(), "", blob, len(body), "", "local", "s", now)
        with self.database.write() as connection:
            store_messages(connection, [NewMessage(message)], now=now)


@pytest.fixture
def site(settings: Settings, database: Database, kept: Kept, tmp_path: Path) -> Site:
    return Site(settings, database, kept, tmp_path)


def test_other_keys_are_refused_on_an_empty_store(site: Site) -> None:
    site.verify()
    assert site.mark() is None, "who only looks marks nothing"
    site.verify(anew=True)
    before = site.mark()
    assert before is not None
    for anew in (False, True):
        said = site.refusal(site.other(), anew=anew)
        assert said.startswith(f"{site.settings.origin}: storage.keys: {site.keys}: {FOREIGN}")
        assert site.mark() == before
        site.verify(anew=anew)
    assert site.mark() == before
    assert site.kept.store.place_mark() == mark.unseal(before, site.kept.store.blob_format.keys)
    assert list(site.kept.store.names()) == []


def test_of_machines_that_mark_at_once_one_is_first(site: Site) -> None:
    race(site, [site.other(name) for name in ("one", "two", "three", "four")], refused=3)


def race(site: Site, forms: list[BlobFormat], *, refused: int) -> None:
    """Start several machines, each with its own keys, at the same time."""
    start, said = threading.Barrier(len(forms)), []

    def begin(form: BlobFormat) -> None:
        start.wait()
        try:
            site.verify(form, anew=True)
        except SettingsError as error:
            said.append(str(error))

    threads = [threading.Thread(target=begin, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == refused
    assert all("key file of another store" in one for one in said)


def test_rotated_keys_open_the_mark_and_a_rewrite_needs_the_old_ones_no_more(site: Site) -> None:
    site.verify(anew=True)
    shutil.copy(site.keys, site.folder / "copy")
    rotate(site.keys, MADE)
    both, old = BlobFormat(Keyring(site.keys)), BlobFormat(Keyring(site.folder / "copy"))
    site.verify(both, anew=True)
    site.verify(old, anew=True)  # a machine without the new key
    bodies = site.bodies(both)
    assert rewrite_blobs(bodies).problems == ()
    marking.reseal(site.database, bodies)
    bodies.close()
    *head, _, newest = site.keys.read_text().splitlines(keepends=True)
    (site.folder / "newest").write_text("".join([*head, newest]))
    (site.folder / "newest").chmod(0o600)
    site.verify(BlobFormat(Keyring(site.folder / "newest")))
    assert "key file of another store" in site.refusal(old)


def test_a_store_that_is_encrypted_later_is_marked_with_its_key_then(site: Site) -> None:
    plain = BlobFormat(encrypt=False)
    site.verify(plain, anew=True)
    site.verify(site.other("any"))  # nothing shows which store the keys belong to
    race(site, [site.other(name) for name in ("one", "two", "three")], refused=2)
    site.verify(plain, anew=True)
    bodies = site.bodies(plain)
    marking.reseal(site.database, bodies)
    bodies.close()
    site.verify(anew=True)
    assert "key file of another store" in site.refusal(site.other())
    site.verify(plain)  # no body is encrypted
    bodies = site.bodies(plain)
    marking.reseal(site.database, bodies)  # no body is encrypted any more: the key may be abandoned
    bodies.close()
    site.verify(site.other())


def test_a_store_of_before_is_marked_where_its_bodies_are(site: Site) -> None:
    site.put()
    site.verify(anew=True)
    assert site.mark() is not None
    assert marking.doubts(site.settings, site.database, site.bodies()) == []


def test_messages_without_any_body_mark_nothing(site: Site) -> None:
    site.put(lose=True)
    site.verify(anew=True)
    assert site.mark() is None
    (doubt,) = marking.doubts(site.settings, site.database, site.bodies())
    assert "check the mount of the disk, or the bucket and its prefix" in doubt


def test_a_place_that_was_changed_is_doubted_until_somebody_says_so(site: Site) -> None:
    site.verify(anew=True)
    site.put()
    lose_place_mark(site)
    site.verify(anew=True)
    (doubt,) = marking.doubts(site.settings, site.database, site.bodies())
    assert site.kept.store.place in doubt
    marking.put_place(site.database, site.bodies())
    assert marking.doubts(site.settings, site.database, site.bodies()) == []


def lose_place_mark(site: Site) -> None:
    if hasattr(site.kept, "bucket"):
        site.kept.bucket.delete("store")
    else:
        (site.folder / "blobs" / "store").unlink()


def test_a_place_with_the_bodies_of_another_store_is_refused(site: Site) -> None:
    site.kept.store.put_place_mark("0" * 32)
    site.verify(anew=True)  # there was none yet
    assert site.kept.store.place_mark() != "0" * 32
    site.put()
    site.kept.store.put_place_mark("0" * 32)
    for anew in (False, True):
        assert "holds the bodies of another store" in site.refusal(anew=anew)
    assert site.kept.store.place_mark() == "0" * 32


def test_an_older_database_is_put_back_beside_its_bodies(site: Site) -> None:
    site.verify(anew=True)
    site.put(bytes(2 * 1024 * 1024))
    name = site.kept.store.place_mark()
    with site.database.write() as connection:
        connection.execute(delete(store_mark))
    site.verify(anew=True)
    assert mark.unseal(site.mark() or b"", site.kept.store.blob_format.keys) == name


def test_a_damaged_mark_is_told_as_such(site: Site) -> None:
    site.verify(anew=True)
    found = site.mark()
    assert found is not None
    mark.replace(site.database, found, found[:-1] + bytes([found[-1] ^ 1]))
    assert "damaged mark of the store" in site.refusal()


class TestCommands:
    def put_foreign(self, daemon: Daemon) -> Callable[[], None]:
        keys = daemon.folder / "data" / "keys"
        own = keys.read_bytes()
        keys.unlink()
        make_first(keys, MADE)

        def put_back() -> None:
            keys.write_bytes(own)

        return put_back

    def test_all_of_them_refuse_other_keys_on_an_empty_store(self, tmp_path: Path) -> None:
        daemon = lay_out(tmp_path / "a", "a")
        keys, marked = daemon.folder / "data" / "keys", self.marked(daemon)
        put_back = self.put_foreign(daemon)
        for words in (
            ("serve",),
            ("db", "upgrade"),
            ("store", "check"),
            ("message", "list", "claire.martin@a.mssante.fr"),
        ):
            assert f"storage.keys: {keys}: {FOREIGN}" in daemon.run(*words, code=1)
        said = daemon.run("config", "check", code=1)
        assert [line for line in said.splitlines() if "NO" in line and FOREIGN in line]
        assert self.marked(daemon) == marked
        put_back()
        daemon.run("config", "check")
        daemon.run("db", "upgrade")

    def test_no_key_is_made_for_a_store_that_has_one(self, tmp_path: Path) -> None:
        daemon = lay_out(tmp_path / "a", "a")
        keys = daemon.folder / "data" / "keys"
        keys.unlink()
        assert f"{keys}: no such file; restore it" in daemon.run("db", "upgrade", code=1)
        assert not keys.exists()

    def test_a_second_machine_with_keys_of_its_own(
        self, tmp_path: Path, object_server: ObjectServer, postgres_server: PostgresServer
    ) -> None:
        place, name = object_server.place(prefix="store"), postgres_server.create()
        machines = [lay_out(tmp_path / number, "a") for number in ("one", "two")]
        for machine in machines:
            keep_in_bucket(machine, place, postgres_server.url(name))
        assert "schema is at" in machines[0].run("db", "upgrade")
        for words in (("db", "upgrade"), ("serve",), ("config", "check")):
            assert FOREIGN in machines[1].run(*words, code=1)
        for file in ("keys", "audit-keys"):
            shutil.copy(*(machine.folder / "data" / file for machine in machines))
        machines[1].run("db", "upgrade")
        postgres_server.drop(name)

    def test_a_second_store_on_one_prefix(
        self, tmp_path: Path, object_server: ObjectServer
    ) -> None:
        place = object_server.place(prefix="store")
        one, two = (lay_out(tmp_path / number, "a") for number in ("one", "two"))
        keep_in_bucket(one, place)
        one.run("db", "upgrade")
        self.send_large(one)
        before = {found.key for found in Bucket(place).list()}
        keep_in_bucket(two, place)
        shutil.copy(one.folder / "data" / "keys", two.folder / "data" / "keys")
        for words in (("db", "upgrade"), ("serve",), ("config", "check"), ("store", "gc")):
            assert two.run(*words, code=1)
        assert {found.key for found in Bucket(place).list()} >= before

    def send_large(self, daemon: Daemon) -> None:
        author = "cardiologie@a.mssante.fr"
        letter = daemon.folder / "letter.eml"
        letter.write_text(f"From: {author}\nDate: d\nMessage-ID: i\n\n" + "texte\n" * 50_000)
        daemon.run(
            *("message", "send", str(letter), "--from", author),
            *("--to", "claire.martin@a.mssante.fr"),
        )

    def marked(self, daemon: Daemon) -> bytes | None:
        with (
            closing(Database(daemon.folder / "data" / "mssante.db")) as database,
            database.read() as connection,
        ):
            return mark.read(connection)
