"""The mailstore's answer to "who is this recipient?", for the session and for local submission.

A mailbox found open for mail is remembered for `REMEMBERED` seconds, so that a busy session does
not ask the database for each message: one that is suspended or closed may take mail for so long.
Whatever is refused is asked anew each time.

A mailbox with a quota is full when it holds that much, or would with a message of the size declared
for it (RFC 1870 §6.1).  Nothing is reserved: messages that arrive at the same time, or come without
a size, may each pass, so that a mailbox may end up over its quota by as much as those have.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from mailstore.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes import Mailbox, is_local_domain, resolve, used_octets
from relay.address import Address
from relay.admission import MailboxState
from relay.errors import StoreDeferred

REMEMBERED: Final = 1.0  # seconds
_MOST: Final = 10_000  # addresses remembered at once


@dataclass(frozen=True, slots=True)
class Found:
    """State of an address here, its mailbox if it has one, and whether that has a quota."""

    state: MailboxState
    mailbox_id: int | None = None
    bounded: bool = False


class Directory:
    """Looks addresses up in the database, in a thread; `clock` is monotonic, in seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._open: dict[Address, tuple[float, Found]] = {}

    async def lookup(self, address: Address, size: int | None = None) -> Found:
        """Find one address, for a message of `size` octets, None where it is not known.

        Raises StoreDeferred if the database cannot say.
        """
        known = self._open.get(address)
        if known is not None and self._clock() < known[0]:
            return known[1]
        until = self._clock() + REMEMBERED
        found = await asyncio.to_thread(self.find, address, size)
        if found.state is MailboxState.ACTIVE and not found.bounded:
            if len(self._open) >= _MOST:
                self._open.clear()
            self._open[address] = until, found
        return found

    def find(self, address: Address, size: int | None = None) -> Found:
        """Find one address, blocking.  Raises StoreDeferred."""
        try:
            with self._database.read() as connection:
                mailbox = resolve(connection, [str(address)]).get(str(address))
                if mailbox is not None:
                    state = _state(connection, mailbox, size or 0)
                    return Found(state, mailbox.id, bounded=mailbox.quota is not None)
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
