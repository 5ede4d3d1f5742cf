"""Content of mailboxes for commands: by a right of one's own, or by a break-glass access.

The audit row is committed before any content is shown, even if the output then fails.
"""

from datetime import timedelta
from typing import Final

from mailstore.mailboxes.mailboxes import resolve
from mailstore.messages.messages import StoredMessage
from mailstore.rights import break_glass
from mailstore.rights.break_glass import Access, Asker
from mailstore.rights.facts import load_mailbox
from mailstore.rights.may import may
from mailstore.rights.model import Action, MailboxFacts

from ..settings.model import Settings
from .acts import Act, ActTransaction, NotAllowed

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
) -> None:
    """Permit and record that the content of a mailbox is read.

    Without an open access, `reason` opens one for an hour.  Raises ContentClosed, NotAllowed,
    NotFound, StoreUnavailable.
    """
    with act.write() as change:
        mailbox = load_mailbox(change.connection, address)
        if _has_right(act, change, mailbox):
            change.permitted = True
            change.audit(event, mailbox=address, tenant=mailbox.tenant_id, message=message)
            return
        access = _access(act, change, settings, mailbox, address, reason)
        change.audit(
            event, mailbox=address, tenant=mailbox.tenant_id, message=message, access=access.id
        )


def mailbox_of(act: Act, message: StoredMessage) -> str:
    """Address of a mailbox that holds a message: of its first entry, else of its sender.

    Raises ContentClosed for a message that no mailbox here holds or sent.
    """
    with act.store.database.read() as connection:
        addresses = [entry.recipient for entry in message.entries] + [message.message.sender]
        found = resolve(connection, [one for one in addresses if one])
    for address in addresses:
        if address in found:
            return found[address].address
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
    change.require(Action.ASK_CONTENT, mailbox, address)
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
