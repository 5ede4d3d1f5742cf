"""Filter of mailboxes in listings."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, exists, or_

from mailstore.db.schema import mailbox_holders, mailboxes
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.states import MailboxState

DELETED: Final = "deleted"


@dataclass(frozen=True, slots=True)
class MailboxFilter:
    """Conditions on mailboxes: all that are given must hold.

    `type` and `state` by their values; `state` may be `DELETED`. `identifier`: bare number of a
    person or structure that the mailbox hangs on, its structure or a co-holder.
    `without_responsible`: ORG mailboxes from before a responsible person was asked for
    (DOMAIN §9.36).
    """

    type: str | None = None
    state: str | None = None
    identifier: str | None = None
    without_responsible: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """SQL conditions on rows of `mailboxes`."""
        box, found = mailboxes.c, []
        if self.type is not None:
            found.append(box.type == MailboxType(self.type).value)
        if self.state == DELETED:
            found.append(box.deleted_at.is_not(None))
        elif self.state is not None:
            found += [box.state == MailboxState(self.state).value, box.deleted_at.is_(None)]
        if self.identifier is not None:
            holder = mailbox_holders.c
            found.append(
                or_(
                    box.identifier_value == self.identifier,
                    box.structure_value == self.identifier,
                    exists().where(holder.mailbox_id == box.id, holder.rpps == self.identifier),
                )
            )
        if self.without_responsible:
            no_one = box.responsible.is_(None)
            found += [box.type == MailboxType.ORG.value, no_one, box.deleted_at.is_(None)]
        return found


EVERY: Final = MailboxFilter()
