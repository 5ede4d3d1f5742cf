"""An operator and a mailbox whose messages are listed and changed by commands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailstore.audit_reading.search import AuditFilter, FoundRow, search
from mailstore.db.database import Database
from mailstore.mail.view import open_mailbox
from mailstore.mailboxes.mailboxes import get_mailbox
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.storage import row_seal
from tests.support.machines.daemon import Daemon
from tests.support.people import house

BOX = house.ORG


@dataclass(frozen=True)
class Desk:
    """An operator on one of the databases, with a mailbox that gets mail."""

    daemon: Daemon
    database: Database
    home: house.House

    def run(self, *words: str, code: int = 0) -> str:
        return self.daemon.run(*words, code=code)

    def send(self, subject: str = "x", text: str = "text", sender: str = house.PER) -> str:
        """Deliver a message to the mailbox; its id."""
        letter = self.daemon.folder / "letter.eml"
        letter.write_text(f"From: <{sender}>\nSubject: {subject}\n\n{text}\n")
        said = self.run("message", "send", str(letter), "--from", sender, "--to", BOX)
        return said.split()[2].rstrip(":")

    def change(self, verb: str, message_id: str, *words: str, code: int = 0) -> str:
        return self.run("message", verb, message_id, "--mailbox", BOX, *words, code=code)

    def rows(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("message", "list", BOX, *words, "--json"))
        return found

    def ids(self, *words: str) -> list[str]:
        return [row["id"] for row in self.rows(*words)]

    def place(self, message_id: str, *words: str) -> tuple[str, list[str]]:
        """Folder and flags of a message, as listed."""
        (row,) = (row for row in self.rows(*words) if row["id"] == message_id)
        return row["folder"], row["flags"]

    def counters(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.run("mailbox", "show", BOX, "--json"))
        return found

    def newest(self) -> FoundRow:
        with self.database.read() as conn:
            (row,) = search(conn, AuditFilter(), limit=1)
        return row

    def copy(self, message_id: str, folder: str) -> None:
        """Copy a message within the mailbox, as a client does."""
        with self.daemon.store() as store:
            with store.database.read() as conn:
                owner = get_mailbox(conn, BOX).id
            view = open_mailbox(store, owner, row_seal(store), utc_now)
            target = next(one for one in view.folders() if one.name == folder)
            (held,) = view.find([message_id])
            view.copy(held.folder_id, [held.uid], target.id)
