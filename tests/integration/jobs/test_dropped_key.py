"""After `keys rotate --rewrite` the old key can go: everything is read, found and used without it.

A table that the rewriting forgot would be lost data. So each column of each table is searched for
the old key's name, before and after.
"""

from base64 import urlsafe_b64encode
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, Text, select, type_coerce

from mailstore.accounts.accounts import get_account
from mailstore.blobs.store import Store
from mailstore.credentials.recovery_codes import set_recovery_codes, use_recovery_code
from mailstore.errors import Conflict
from mailstore.folders.flags import FlagMode
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.sealed.keyring import read_keys
from mailstore.search import criteria as c
from mailstore.search.criteria import Field
from mailstore.summary_store.blocks import FEW, make_next_block
from mailstore.teams.notes import add_note, list_notes
from mssante_operator.assembly.database.database_check import TABLES
from mssante_operator.assembly.storage import open_store
from mssante_operator.settings.model import load
from relay.queue_admin.filter import DeliveryFilter
from relay.queue_admin.views import listing
from tests.support.clock import NOW
from tests.support.delivery.queued import INS, PATIENT, put
from tests.support.delivery.queued import Letter as Queued
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.storage.letters import Letters, letter

MARTIN, RPPS = "claire.martin@a.mssante.fr", "10000001916"
DOMAIN = PATIENT.partition("@")[2]
TO_PATIENT = Queued(
    domain=DOMAIN,
    sender=PATIENT,
    to=(PATIENT,),
    columns={"due": NOW, "envid": f"v{INS}"},
    recipient_columns={"orcpt": f"rfc822;{INS}+40{DOMAIN}"},
)
HERE = Message("f" * 32, PATIENT, "0" * 64, 10, "", "local", "s", NOW)
# All columns that the store's keys seal. A new one belongs here, and into `store rewrite`.
SEALED = {
    "bodies.sealed",
    "credentials.verifier",
    "deliveries.envid",
    "deliveries.sender",
    "delivery_recipients.address",
    "delivery_recipients.orcpt",
    "entries.recipient",
    "folders.name",
    "hold_rules.recipient",
    "hold_rules.sender",
    "keywords.name",
    "message_notes.text",
    "messages.sender",
    "search_blocks.sealed",
    "store_mark.mark",
    "summaries.sealed",
}


def columns_with(store: Store, key: bytes) -> set[str]:
    """Columns in which a value names a key: binary, or in a token (version and name first)."""
    token = urlsafe_b64encode(b"\1" + key).decode("ascii")
    found = set()
    with store.database.read() as conn:
        for table in TABLES:
            stored = [
                type_coerce(one, Text()) if not isinstance(one.type, LargeBinary) else one
                for one in table.c
            ]
            for row in conn.execute(select(*stored)):
                for column, value in zip(table.c, row, strict=True):
                    octets = isinstance(value, bytes) and key in value
                    if octets or (isinstance(value, str) and token in value):
                        found.add(f"{table.name}.{column.name}")
    return found


def drop_other_keys(path: Path) -> None:
    newest = read_keys(path)[-1].id.hex()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if newest in line))


class Filled:
    """A store in which every sealed column has a value."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        daemon.run("account", "add", "claire", "--family-name", "Martin", "--rpps", RPPS)
        to = ("--recipient", PATIENT, "--sender", PATIENT)
        daemon.run("queue", "rules", "add", *to, "--reason", "ticket")
        with closing(open_store(load(daemon.config))) as store:
            put(store.database, TO_PATIENT)
            self._mail(store)
            keys = store.blobs.blob_format.keys
            assert keys is not None
            with store.database.write() as conn:
                claire = get_account(conn, "claire")
                self.codes, _ = set_recovery_codes(conn, claire, keys, now=NOW)
                self.claire = claire.id

    def _mail(self, store: Store) -> None:
        with store.database.read() as conn:
            self.box = get_mailbox(conn, MARTIN).id
        letters = self.letters(store)
        texts = (letter(f"sujet {n}", f"texte {n}", Message_ID=f"<{n}@x>") for n in range(FEW))
        self.ids = letters.deliver(*texts, sender=PATIENT)
        view = letters.view()
        self.inbox = view.folders()[0].id
        self.folder = view.create_folder("Hépatites").id
        view.create_folder("Suivi", self.folder)
        gone = view.create_folder("Ancien").id
        view.remove_folder(gone)
        view.set_flags(self.inbox, [3], FlagMode.ADD, ["Urgent"])
        self.threads = letters.reader().threads(self.ids)
        assert make_next_block(store, letters.seal, self.box)
        with store.database.write() as conn:
            lock = lock_mailbox(conn, self.box)
            add_note(lock, letters.seal, self.ids[0], 1, "Rappeler", now=NOW)
            here = NewMessage(HERE, (LocalDelivery(self.box, PATIENT),))
            store_messages(conn, [here], now=NOW)

    def letters(self, store: Store) -> Letters:
        return Letters(store, self.box, self.box)

    def check(self, store: Store) -> None:
        """All can be read, found and used."""
        letters = self.letters(store)
        view, reader = letters.view(), letters.reader()
        names = {one.name for one in view.folders()}
        assert {"INBOX", "Sent", "Hépatites", "Suivi"} <= names
        with pytest.raises(Conflict):
            view.create_folder("Hépatites")
        with pytest.raises(Conflict):
            view.create_folder("Suivi", self.folder)
        assert set(view.keywords().names.values()) == {"Urgent"}
        view.set_flags(self.inbox, [4], FlagMode.ADD, ["URGENT"])
        assert {row[2] for row in view.flags(self.inbox)} == {0, 1}
        (hit,) = reader.search(c.Holds(Field.SUBJECT, "sujet 7"))
        assert hit.message_id == self.ids[7]
        (hit,) = reader.search(c.Body("texte 9"))
        assert hit.message_id == self.ids[9]
        with store.database.read() as conn:
            (note,) = list_notes(conn, letters.seal, self.box, [self.ids[0]])
            assert note.text == "Rappeler"
            (one,) = listing(conn, DeliveryFilter(recipient=PATIENT), NOW, 10)
            assert one.sender == PATIENT
        listed = self.daemon.run("message", "list", MARTIN, "--sender", PATIENT)
        assert listed.count(self.ids[5]) == 1

    def check_answers(self, store: Store) -> None:
        """An answer finds its thread, and a code its person."""
        letters = self.letters(store)
        letters.count = 1000
        (one,) = letters.deliver(letter("Re: sujet 7", Message_ID="<r@x>", References="<7@x>"))
        assert letters.reader().threads([one])[one] == self.threads[self.ids[7]]
        keys = store.blobs.blob_format.keys
        assert keys is not None
        with store.database.write() as conn:
            assert use_recovery_code(conn, self.claire, self.codes[0], keys, now=NOW)


def test_nothing_needs_the_old_key_after_a_rewrite(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    filled = Filled(daemon)
    with closing(open_store(load(daemon.config))) as store:
        assert store.blobs.blob_format.keys is not None
        path = store.blobs.blob_format.keys.path
        (old,) = (key.id for key in read_keys(path))
        assert columns_with(store, old) == SEALED
    daemon.run("keys", "rotate", "--rewrite")
    drop_other_keys(path)
    with closing(open_store(load(daemon.config))) as store:
        assert columns_with(store, old) == set()
        filled.check(store)
        filled.check_answers(store)
