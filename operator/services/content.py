"""Content of mailboxes for commands: by a right of one's own, or by a break-glass access.

The audit row is committed before any content is shown, even if the output then fails.
"""

from datetime import timedelta
from typing import Final

from mailstore.credentials.credentials import note_use
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.mailboxes import get_mailbox, resolve
from mailstore.mailboxes.model import Mailbox
from mailstore.messages.messages import StoredMessage
from mailstore.rights import break_glass
from mailstore.rights.break_glass import Access, Asker
from mailstore.rights.facts import load_mailbox
from mailstore.rights.may import may
from mailstore.rights.model import Action, MailboxFacts
from relay.queue_admin.message_lookup import holders_of

from ..settings.model import Settings
from .acts import Act, ActTransaction
from .permission import NotAllowed

ONE_COMMAND: Final = timedelta(hours=1)  # access that --reason opens


class ContentClosed(NotAllowed):
    """Content that needs a reason, or the agreement of another person."""


def asker(act: Act) -> Asker:
    """Person who asks for an access, or agrees to it."""
    return Asker(act.account_id, act.actor.account, act.actor.unix_user or "")


def read_content(
    act: Act,
    settings: Settings,
    address: str,
    event: str,
    *,
    reason: str | None,
    message: str | None = None,
    unknown: str = "",
) -> None:
    """Permit and record that the content of a mailbox is read.

    Without an open access, `reason` opens one for an hour.  `unknown`: what an account of another
    tenant is told.  Raises ContentClosed, NotAllowed,
    NotFound, StoreUnavailable.
    """
    address = address_key(address)  # as everywhere in the trail
    with act.write() as change:
        mailbox = load_mailbox(change.connection, address)
        if _has_right(act, change, mailbox):
            change.permitted = True
            change.audit(event, mailbox=address, tenant=mailbox.tenant_id, message=message)
            if act.proof is not None:
                # The mailbox is in use (DOMAIN U1.2).  An administrator's access is none.
                note_use(change.connection, act.proof, mailbox.id)
            return
        change.require(Action.ASK_CONTENT, mailbox, address, unknown)
        access = _access(act, change, settings, mailbox, address, reason)
        change.audit(
            event, mailbox=address, tenant=mailbox.tenant_id, message=message, access=access.id
        )


def find_readable(act: Act, address: str) -> Mailbox:
    """Find a mailbox whose content the account may read, or ask for.

    Raises NotAllowed, NotFound, StoreUnavailable.
    """
    with act.read() as seen:
        seen.reach(address, Action.READ, Action.ASK_CONTENT)
        return get_mailbox(seen.connection, address)


def mailbox_of(act: Act, message: StoredMessage) -> str:
    """Address of a mailbox that holds a message: of its first entry, else of its sender.

    The recipient of an entry may be an alias, or postmaster.  Raises ContentClosed for a message
    that no mailbox here holds or sent.
    """
    sender = message.message.sender
    with act.store.database.read() as connection:
        holders = holders_of(connection, message.message.id)
        if holders:
            return holders[0].mailbox
        if sender and (found := resolve(connection, [sender])):
            return found[sender].address
    raise ContentClosed(f"no mailbox here holds the message {message.message.id}, or sent it")


def _has_right(act: Act, change: ActTransaction, mailbox: MailboxFacts) -> bool:
    facts = change.facts
    if facts is None:
        return False
    return may(facts, Action.READ, mailbox, act.clock(), act.policy).allowed


def _access(
    act: Act,
    change: ActTransaction,
    settings: Settings,
    mailbox: MailboxFacts,
    address: str,
    reason: str | None,
) -> Access:
    now, rules = act.clock(), settings.rights
    found = break_glass.open_access(change.connection, mailbox.id, asker(act), now)
    if found is not None:
        return found
    if reason is None or rules.break_glass_persons > 1:
        how = "" if rules.break_glass_persons > 1 else "give --reason, or "
        raise ContentClosed(
            f"the content of {address} is its holder's: {how}open an access with: "
            f"mssante break-glass open {address} --reason …"
        )
    access = break_glass.ask(
        change.connection,
        mailbox.id,
        asker(act),
        reason,
        now,
        now + ONE_COMMAND,
        needs_second=False,
        tell_holder=rules.break_glass_tell,
    )
    change.audit(
        "break_glass.asked",
        mailbox=address,
        tenant=mailbox.tenant_id,
        access=access.id,
        reason=access.reason,
        ends_at=access.ends_at,
        needs_second=False,
        holder_told=access.tell_holder,
    )
    return access
