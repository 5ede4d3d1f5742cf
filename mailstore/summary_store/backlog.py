"""Work for the job that makes summaries and blocks ahead of need.

Found in pages by key, so that no statement runs long: messages by id, which sorts by age, and
mailboxes by number.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select

from mailstore.db.folder_schema import folder_messages, mailbox_state
from mailstore.db.schema import entries, messages
from mailstore.db.summary_schema import search_blocks, summaries
from mailstore.summaries.model import VERSION
from mailstore.summary_store.blocks import FEW

_PAGE = (
    select(messages.c.id)
    .where(messages.c.id > bindparam("after"))
    .order_by(messages.c.id)
    .limit(bindparam("most"))
    .subquery()
)
# Mail that only goes out is in no mailbox: nobody lists it.
_MISSING: Final = (
    select(
        _PAGE.c.id,
        and_(
            or_(summaries.c.version.is_(None), summaries.c.version < VERSION),
            exists().where(entries.c.message_id == _PAGE.c.id),
        ).label("missing"),
    )
    .select_from(_PAGE.outerjoin(summaries, summaries.c.message_id == _PAGE.c.id))
    .order_by(_PAGE.c.id)
)

_STATE, _BLOCK, _HELD = mailbox_state.c, search_blocks.c, folder_messages.c
_SOME = (
    select(_STATE.mailbox_id, _STATE.messages)
    .where(_STATE.mailbox_id > bindparam("after"))
    .order_by(_STATE.mailbox_id)
    .limit(bindparam("most"))
    .subquery()
)
_LAST = (
    select(func.coalesce(func.max(_BLOCK.last), 0))
    .where(_BLOCK.mailbox_id == _SOME.c.mailbox_id)
    .scalar_subquery()
)
_IN_BLOCKS = (
    select(func.coalesce(func.sum(_BLOCK.messages), 0))
    .where(_BLOCK.mailbox_id == _SOME.c.mailbox_id)
    .scalar_subquery()
)
_NEW = (
    select(func.count())
    .where(_HELD.mailbox_id == _SOME.c.mailbox_id, _HELD.added_modseq > _LAST)
    .scalar_subquery()
)
_MAILBOXES: Final = select(
    _SOME.c.mailbox_id, _SOME.c.messages, _NEW.label("new"), _IN_BLOCKS.label("in_blocks")
).order_by(_SOME.c.mailbox_id)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages of a page that lack a summary; `last`: its last message, None behind the end."""

    missing: tuple[str, ...]
    last: str | None


@dataclass(frozen=True, slots=True)
class MailboxPage:
    """Mailboxes of a page that need blocks, new or anew; `last` as in `MessagePage`."""

    needy: tuple[int, ...]
    last: int | None


def messages_without_summary(conn: Connection, after: str, limit: int) -> MessagePage:
    """Look at the next `limit` messages behind an id."""
    rows = conn.execute(_MISSING, {"after": after, "most": limit}).all()
    missing = tuple(row.id for row in rows if row.missing)
    return MessagePage(missing, rows[-1].id if rows else None)


def mailboxes_without_blocks(conn: Connection, after: int, limit: int) -> MailboxPage:
    """Look at the next `limit` mailboxes behind a number; only mailboxes that were looked at."""
    rows = conn.execute(_MAILBOXES, {"after": after, "most": limit}).all()
    needy = tuple(
        row.mailbox_id for row in rows if row.new >= FEW or row.in_blocks != row.messages - row.new
    )
    return MailboxPage(needy, rows[-1].mailbox_id if rows else None)
