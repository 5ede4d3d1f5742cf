"""Commands `mssante break-glass`: an administrator reads a mailbox, with a reason and an end.

The holder is told by a message into the mailbox (job `HolderNotices`).  The audit trail has each
step; the content that is read has audit rows of its own.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from mailstore.rights import break_glass as accesses
from mailstore.rights.facts import load_mailbox
from mailstore.rights.model import Action

from ...assembly.clock import utc_now
from ...services.acts import ActTransaction
from ...services.content import asker
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows

_COLUMNS = ("id", "mailbox", "who", "second", "state", "asked_at", "ends_at", "reason")


@click.group("break-glass")
def break_glass() -> None:
    """Access of administrators to the content of mailboxes: ask, agree, end, list."""


@break_glass.command("open")
@click.argument("mailbox")
@click.option("--reason", required=True, help="Why; in the audit trail, and told to the holder.")
@click.option("--hours", type=click.IntRange(1, 24), help="End. [rights.break_glass_hours]")
@click.option("--silent", is_flag=True, help="Do not tell the holder; the audit trail says so.")
@acting
@click.pass_obj
def open_(
    given: Path | None,
    /,
    mailbox: str,
    reason: str,
    hours: int | None,
    who: Acting,
    *,
    silent: bool,
) -> None:
    """Ask for access to the content of MAILBOX.

    It opens at once, or when another person agrees (rights.break_glass_persons).
    Then message show --content and message export work on it, until its end.
    """
    settings = load(given)
    longest = settings.rights.break_glass_hours
    if hours is not None and hours > longest:
        raise click.UsageError(f"--hours is at most {longest} (rights.break_glass_hours)")
    with who.open(settings) as act, act.write() as change:
        now = act.clock()
        facts = change.reach(mailbox, Action.ASK_CONTENT)
        access = accesses.ask(
            change.connection,
            facts.id,
            asker(act),
            reason,
            now,
            now + timedelta(hours=hours or longest),
            needs_second=settings.rights.break_glass_persons == 2,
            tell_holder=settings.rights.break_glass_tell and not silent,
        )
        change.audit(
            "break_glass.asked",
            mailbox=access.mailbox,
            tenant=facts.tenant_id,
            access=access.id,
            reason=access.reason,
            ends_at=access.ends_at,
            needs_second=access.needs_second,
            holder_told=access.tell_holder,
        )
    if access.needs_second:
        click.echo(
            f"access {access.id} waits for another person: "
            f"mssante break-glass agree {access.id} --as LOGIN"
        )
    else:
        click.echo(
            f"access {access.id} to {access.mailbox} is open until {access.ends_at:%H:%M} UTC"
        )


@break_glass.command("agree")
@click.argument("number", type=click.IntRange(1))
@acting
@click.pass_obj
def agree(given: Path | None, number: int, who: Acting) -> None:
    """Agree to the access NUMBER, as another person than the one who asked."""
    with who.open(load(given)) as act, act.write() as change:
        tenant = _require(change, number, Action.AGREE_CONTENT)
        access = accesses.agree(change.connection, number, asker(act), act.clock())
        change.audit(
            "break_glass.agreed",
            mailbox=access.mailbox,
            tenant=tenant,
            access=number,
            asked_by=access.who,
        )
    click.echo(f"access {number} of {access.who} to {access.mailbox} is open")


@break_glass.command("end")
@click.argument("number", type=click.IntRange(1))
@acting
@click.pass_obj
def end(given: Path | None, number: int, who: Acting) -> None:
    """End the access NUMBER now."""
    with who.open(load(given)) as act, act.write() as change:
        tenant = _require(change, number, Action.ASK_CONTENT)
        access = accesses.close_access(change.connection, number, act.clock())
        change.audit(
            "break_glass.ended",
            mailbox=access.mailbox,
            tenant=tenant,
            access=number,
            asked_by=access.who,
        )
    click.echo(f"access {number} is over")


@break_glass.command("list")
@click.option("--all", "everything", is_flag=True, help="Also accesses that are over.")
@click.option("--after", default=0, help="Only accesses after this number.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def list_(
    given: Path | None, /, after: int, who: Acting, *, everything: bool, as_json: bool
) -> None:
    """List accesses by number."""
    now = utc_now()
    with who.look(load(given)) as reader, reader.read() as seen:
        found = accesses.list_accesses(
            seen.connection,
            at=None if everything else now,
            scope=seen.scope(),
            after=after,
            limit=1000,
        )
    rows = [
        _record(one, "open" if one.open(now) else "waits") for one in found if one.ends_at > now
    ]
    rows += [_record(one, "over") for one in found if one.ends_at <= now]
    show_rows(sorted(rows, key=lambda row: row["id"]), _COLUMNS, as_json=as_json)


def _require(change: ActTransaction, number: int, action: Action) -> int:
    """Ask for the right to an access; returns the tenant of its mailbox."""
    mailbox = accesses.get_access(change.connection, number).mailbox
    unknown = f"there is no access with the number {number}"
    facts = load_mailbox(change.connection, mailbox)
    change.require(action, facts, mailbox, unknown)
    return facts.tenant_id


def _record(access: accesses.Access, state: str) -> dict[str, Any]:
    return {
        "id": access.id,
        "mailbox": access.mailbox,
        "who": access.who,
        "state": state,
        "asked_at": access.asked_at,
        "ends_at": access.ends_at,
        "reason": access.reason,
        "second": access.second,
        "holder_told_at": access.told_at,
    }
