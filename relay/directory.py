"""The mailstore's answer to "who is this recipient?", for the session and for local submission."""

import asyncio
from dataclasses import dataclass

from mailstore.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes import is_local_domain, resolve
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

    async def lookup(self, address: Address) -> Found:
        """Find one address.  Raises StoreDeferred if the database cannot say."""
        return await asyncio.to_thread(self.find, address)

    def find(self, address: Address) -> Found:
        """Find one address, blocking.  Raises StoreDeferred."""
        try:
            with self._database.read() as connection:
                mailbox = resolve(connection, [str(address)]).get(str(address))
                if mailbox is not None:
                    return Found(MailboxState(mailbox.state.value), mailbox.id)
                local = is_local_domain(connection, address.domain)
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error
        return Found(MailboxState.UNKNOWN if local else MailboxState.FOREIGN)
