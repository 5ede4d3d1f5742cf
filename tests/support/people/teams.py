"""A team's mailbox with messages in its inbox, without the store of folders."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from mailstore.db.database import Database
from mailstore.db.folder_schema import folder_messages, folders, mailbox_state
from mailstore.db.schema import entries
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer, person

ADDRESS = "bloc@chu.mssante.fr"


def message_id(number: int) -> str:
    """Id of a message of these tests."""
    return f"{number:032x}"


@dataclass(frozen=True)
class Team:
    """Numbers of a mailbox, its inbox, two accounts and their tenant."""

    mailbox: int
    inbox: int
    claire: int
    paul: int
    tenant: int


def make_team(conn: Connection) -> Team:
    """Make an ORG mailbox with an empty inbox, and two accounts without rights."""
    chu = customer(conn, "chu", "chu.mssante.fr")
    claire, paul = (person(conn, login, chu.id).id for login in ("claire", "paul"))
    mailbox = box(conn, ADDRESS, MailboxType.ORG).id
    return Team(mailbox, add_inbox(conn, mailbox), claire, paul, chu.id)


def add_inbox(conn: Connection, mailbox_id: int, role: str | None = "inbox") -> int:
    """Add an empty folder; returns its number."""
    given = lock_mailbox(conn, mailbox_id).modseq()
    number: int = conn.execute(
        insert(folders)
        .values(
            mailbox_id=mailbox_id,
            role=role,
            name=b"",
            name_hash=b"",
            uid_validity=1,
            uid_next=1,
            created_at=NOW,
            modseq=given,
            messages_modseq=given,
            messages=0,
            octets=0,
            unseen=0,
        )
        .returning(folders.c.id)
    ).scalar_one()
    return number


def deliver(
    conn: Connection,
    mailbox_id: int,
    *numbers: int,
    folder: int | None = None,
    at: datetime = NOW,
) -> list[str]:
    """Deliver messages to a mailbox, and place them in the folder, if one is given."""
    ids = [message_id(number) for number in numbers]
    new = [
        NewMessage(
            Message(one, "x@y.mssante.fr", "0" * 64, 10, "", "local", "s", at),
            (LocalDelivery(mailbox_id, ADDRESS),),
        )
        for one in ids
    ]
    store_messages(conn, new, now=at)
    if folder is not None:
        given = lock_mailbox(conn, mailbox_id).modseq()
        found = conn.execute(
            select(entries.c.id, entries.c.message_id).where(
                entries.c.mailbox_id == mailbox_id, entries.c.message_id.in_(ids)
            )
        ).all()
        for row in found:
            conn.execute(
                insert(folder_messages).values(
                    folder_id=folder,
                    uid=row.id,
                    mailbox_id=mailbox_id,
                    entry_id=row.id,
                    message_id=row.message_id,
                    flags=0,
                    keywords=0,
                    modseq=given,
                    added_modseq=given,
                    size=10,
                    internal_date=at,
                    saved_at=at,
                )
            )
        conn.execute(
            update(entries).where(entries.c.id.in_([row.id for row in found])).values(placed=True)
        )
        conn.execute(update(folders).where(folders.c.id == folder).values(messages_modseq=given))
    return ids


def modseqs(database: Database, one: str) -> tuple[int, int, int]:
    """Modification sequences of the message's row, its folder's messages, and the mailbox."""
    with database.read() as conn:
        row = conn.execute(
            select(
                folder_messages.c.modseq, folders.c.messages_modseq, folder_messages.c.mailbox_id
            )
            .join_from(folder_messages, folders, folders.c.id == folder_messages.c.folder_id)
            .where(folder_messages.c.message_id == one)
        ).one()
        return row.modseq, row.messages_modseq, _modseq(conn, row.mailbox_id)


def _modseq(conn: Connection, mailbox_id: int) -> int:
    return int(
        conn.execute(
            select(mailbox_state.c.modseq).where(mailbox_state.c.mailbox_id == mailbox_id)
        ).scalar_one()
    )
