"""Texts that persons typed are kept without patients' identifiers, on both databases."""

from datetime import timedelta

from sqlalchemy import String, cast, select

from mailstore.accounts.accounts import suspend_account
from mailstore.accounts.tenants import add_tenant
from mailstore.db.database import Database
from mailstore.db.schema import MaskedText, metadata
from mailstore.mailboxes.lifecycle import delete_mailbox, restore_mailbox, set_state
from mailstore.mailboxes.states import MailboxState
from mailstore.rights import break_glass
from mailstore.rights.break_glass import Asker
from mailstore.rights.inactivity import keep_mailbox
from relay.queue.destinations import pause
from tests.support.clock import NOW
from tests.support.people import house

INS = "279035121518989"
WHY = f"dossier de {INS}, classé"


def test_no_reason_keeps_an_ins(database: Database) -> None:
    later = NOW + timedelta(days=1)
    with database.write() as conn:
        home = house.build(conn)
        box = home.mailboxes[house.ORG]
        add_tenant(conn, "autre", title=WHY, now=NOW)
        suspend_account(conn, "ide.petit", WHY, now=NOW)
        asker = Asker(None, None, "root")
        break_glass.ask(conn, box, asker, WHY, NOW, later, needs_second=False)
        keep_mailbox(conn, box, later, WHY, now=NOW)
        set_state(conn, house.ORG, MailboxState.SUSPENDED, reason=WHY, now=NOW)
        delete_mailbox(conn, house.PER, reason=WHY, grace=timedelta(days=1), now=NOW)
        restore_mailbox(conn, house.PER, reason=WHY, now=NOW)
        pause(conn, "b.mssante.fr", WHY)
    kept = []
    with database.read() as conn:
        for table in metadata.sorted_tables:
            for column in table.c:
                if isinstance(column.type, MaskedText):
                    kept += [text for text in conn.scalars(select(cast(column, String))) if text]
    assert kept == ["dossier de ***, classé"] * len(kept)
    assert len(kept) == 7
