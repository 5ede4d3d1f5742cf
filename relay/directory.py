"""The mailstore's answer to "who is this recipient?", for the session and for local submission.

A mailbox with a quota is full when it holds that much, or would with a message of the size declared
for it (RFC 1870 §6.1).  Nothing is reserved: messages that arrive at the same time, or come without
a size, may each pass, so that a mailbox may end up over its quota by as much as those have.
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from mailstore.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes import Mailbox, is_local_domain, resolve, used_octets
from relay.address import Address
from relay.admission import MailboxState
from relay.errors import StoreDeferred


@dataclass(frozen=True, slots=True)
class Found:
    """State of an address here, and its mailbox if it has one."""

    state: MailboxState
    mailbox_id: int | None = None


class Directory:
    """Looks addresses up in the database, in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lookup(self, address: Address, size: int | None = None) -> Found:
        """Find one address, for a message of `size` octets, None where it is not known.

        Raises StoreDeferred if the database cannot say.
        """
        return await asyncio.to_thread(self.find, address, size)

    def find(self, address: Address, size: int | None = None) -> Found:
        """Find one address, blocking.  Raises StoreDeferred."""
        try:
            with self._database.read() as connection:
                mailbox = resolve(connection, [str(address)]).get(str(address))
                if mailbox is not None:
                    return Found(_state(connection, mailbox, size or 0), mailbox.id)
                local = is_local_domain(connection, address.domain)
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error
        return Found(MailboxState.UNKNOWN if local else MailboxState.FOREIGN)


def _state(connection: Connection, mailbox: Mailbox, size: int) -> MailboxState:
    state = MailboxState(mailbox.state.value)
    # What a mailbox holds is summed up only where it matters: it may be tens of thousands.
    if state is MailboxState.ACTIVE and mailbox.quota is not None:
        used = used_octets(connection, mailbox.id)
        if used >= mailbox.quota or used + size > mailbox.quota:
            return MailboxState.FULL
    return state
