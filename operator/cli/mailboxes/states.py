"""Commands on the state of a mailbox: suspend, resume, close, delete, restore."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from foundation.privacy import mask
from mailstore.mailboxes.lifecycle import delete_mailbox, restore_mailbox, set_state
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.states import InboundMail, MailboxState
from mailstore.rights.inactivity import keep_mailbox
from mailstore.rights.mailbox_endings import end_access, end_sessions
from mailstore.rights.model import Action

from ...services.acts import ActTransaction
from ...settings.model import load
from ..acting import Acting, acting
from ..output import tell
from ..rights.options import MomentParam
from .options import ReasonParam, ask

GRACE_DAYS: Final = 30

_reason = click.option(
    "--reason", type=ReasonParam(), required=True, help="Why, for the audit trail."
)
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command("suspend")
@click.argument("address")
@_reason
@click.option(
    "--inbound",
    type=click.Choice([one.value for one in InboundMail]),
    default=InboundMail.DEFER.value,
    show_default=True,
    help="Answer to its mail: put off with 450, or refuse with 550.",
)
@acting
@click.pass_obj
def suspend(given: Path | None, address: str, reason: str, inbound: str, who: Acting) -> None:
    """Put off incoming mail with 450 until resumed, or refuse it.

    Nobody reads or sends meanwhile; rights and credentials stay for its resumption.
    """
    answer = InboundMail(inbound)
    with who.open(load(given)) as act, act.write() as change:
        change.reach(address, Action.ADMINISTER)
        found = set_state(
            change.connection,
            address,
            MailboxState.SUSPENDED,
            reason=reason,
            inbound=None if answer is InboundMail.DEFER else answer,
            now=act.clock(),
        )
        end_sessions(change.connection, found.id, act.clock(), closed=False)
        _audit(change, "mailbox.suspended", found, reason, inbound=answer.value)
    _say(found)


@click.command("resume")
@click.argument("address")
@click.option("--reason", type=ReasonParam(), help="Why, for the audit trail.")
@acting
@click.pass_obj
def resume(given: Path | None, address: str, reason: str | None, who: Acting) -> None:
    """Take mail again."""
    with who.open(load(given)) as act, act.write() as change:
        change.reach(address, Action.ADMINISTER)
        found = set_state(
            change.connection, address, MailboxState.ACTIVE, reason=reason, now=act.clock()
        )
        _audit(change, "mailbox.resumed", found, reason)
    _say(found)


@click.command("close")
@click.argument("address")
@_reason
@_yes
@acting
@click.pass_obj
def close(given: Path | None, address: str, reason: str, who: Acting, *, yes: bool) -> None:
    """Refuse mail for good; its messages stay. Asks first, since it cannot be undone.

    Nobody reads or sends any more but by a break-glass access; mailbox delete ends its rights too.
    """
    with who.open(load(given)) as act:
        with act.read() as seen:
            seen.reach(address, Action.ADMINISTER)
            found = get_mailbox(seen.connection, address)
        ask(
            f"Close {found.address} for good? Its mail is refused from then on",
            "closing cannot be undone",
            yes=yes,
        )
        with act.write() as change:
            change.reach(address, Action.ADMINISTER)
            found = set_state(
                change.connection, address, MailboxState.CLOSED, reason=reason, now=act.clock()
            )
            end_sessions(change.connection, found.id, act.clock(), closed=True)
            _audit(change, "mailbox.closed", found, reason)
    _say(found)


@click.command("delete")
@click.argument("address")
@_reason
@click.option(
    "--grace-days",
    type=click.IntRange(0, 3650),
    default=GRACE_DAYS,
    show_default=True,
    help="Days until its content is erased; 0: an hour.",
)
@_yes
@acting
@click.pass_obj
def delete(
    given: Path | None,
    /,
    address: str,
    reason: str,
    grace_days: int,
    who: Acting,
    *,
    yes: bool,
) -> None:
    """Delete a mailbox: its mail is refused, its content is erased later. Asks first.

    Until then, mssante mailbox restore brings it back. Nobody else ever gets the address. Its
    grants, app passwords, break-glass accesses and the move of its team end at once and for good.
    """
    with who.open(load(given)) as act:
        with act.read() as seen:
            seen.reach(address, Action.ADMINISTER)
            found = get_mailbox(seen.connection, address)
        ask(
            f"Delete {found.address}? Its content is erased after {grace_days} days",
            "the content will be erased",
            yes=yes,
        )
        with act.write() as change:
            change.reach(address, Action.ADMINISTER)
            found = delete_mailbox(
                change.connection,
                address,
                reason=reason,
                grace=timedelta(days=grace_days),
                now=act.clock(),
            )
            ended = end_access(change.connection, found.id, act.clock())
            facts = {"erase_after": found.erase_after, **ended.counts}
            _audit(change, "mailbox.deleted", found, reason, **facts)
    when = f"{found.erase_after:%Y-%m-%d %H:%M} UTC" if found.erase_after else ""
    click.echo(f"{found.address} is deleted; its content is erased after {when}")
    gone = ", ".join(f"{number} {name}" for name, number in ended.counts.items() if number)
    if gone:
        click.echo(f"ended for good: {gone.replace('_', ' ')}")


@click.command("restore")
@click.argument("address")
@_reason
@acting
@click.pass_obj
def restore(given: Path | None, address: str, reason: str, who: Acting) -> None:
    """Give a deleted mailbox back its state and content, before that is erased.

    Grants, app passwords and the move of its team ended with the deletion: give them anew.
    """
    with who.open(load(given)) as act, act.write() as change:
        change.reach(address, Action.ADMINISTER)
        found = restore_mailbox(change.connection, address, reason=reason, now=act.clock())
        _audit(change, "mailbox.restored", found, reason)
    _say(found)
    tell(
        "grants and app passwords ended with the deletion, and stay so; to give them anew, see: "
        f"mssante grant list --mailbox {found.address} --all",
        err=True,
    )


@click.command("keep")
@click.argument("address")
@click.option("--until", type=MomentParam(last=True), required=True, help="Last day.")
@_reason
@acting
@click.pass_obj
def keep(given: Path | None, address: str, until: datetime, reason: str, who: Acting) -> None:
    """Take no step against ADDRESS for being unused before a day, as its holder objects.

    Warnings begin anew then; a log-in does the same for longer.
    """
    with who.open(load(given)) as act, act.write() as change:
        now = act.clock()
        change.reach(address, Action.ADMINISTER)
        found = get_mailbox(change.connection, address)
        keep_mailbox(change.connection, found.id, until, reason, now=now)
        change.audit(
            "mailbox.kept",
            mailbox=found.key,
            tenant=found.tenant_id,
            reason=mask(reason),
            kept_until=until,
        )
    click.echo(f"{found.address} is kept, used or not, until {until:%Y-%m-%d %H:%M} UTC")


STATE_COMMANDS: Final = (suspend, resume, close, delete, restore, keep)


def _audit(
    change: ActTransaction, event: str, found: Mailbox, reason: str | None, **facts: Any
) -> None:
    """Add the audit row; `reason` as given now, which a mailbox in this state already keeps not."""
    masked = None if reason is None else mask(reason)
    change.audit(event, mailbox=found.key, tenant=found.tenant_id, reason=masked, **facts)


def _say(found: Mailbox) -> None:
    click.echo(f"{found.address} is {found.status}")
