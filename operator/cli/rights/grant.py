"""Commands `mssante grant`: rights of accounts and groups on mailboxes (DOMAIN §9.36)."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from mailstore.accounts.departures import count_assignments
from mailstore.rights import grants
from mailstore.rights.facts import load_mailbox
from mailstore.rights.grants import GrantRow
from mailstore.rights.model import Action, Right
from mailstore.scope.model import WHOLE

from ...assembly.clock import utc_now
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows
from .options import find_grantee, period, rights_of, with_period

_COLUMNS = ("id", "mailbox", "to", "rights", "begins_at", "ends_at", "given_by")


@click.group()
def grant() -> None:
    """Rights on mailboxes: give, end, list."""


@grant.command("give")
@click.argument("mailbox")
@click.option("--account", help="Log-in name of the account that gets the rights.")
@click.option("--group", help="Name of the group that gets them.")
@click.option(
    "--right",
    "names",
    multiple=True,
    required=True,
    type=click.Choice([one.value for one in Right]),
    help="Right; repeatable. act (flags, moves, deletion) needs read.",
)
@with_period
@acting
@click.pass_obj
def grant_give(
    given: Path | None,
    /,
    mailbox: str,
    account: str | None,
    group: str | None,
    names: tuple[str, ...],
    begins: datetime | None,
    ends: datetime | None,
    who: Acting,
) -> None:
    """Give rights on MAILBOX to an account or a group of its tenant."""
    with who.open(load(given)) as act, act.write() as change:
        connection, now = change.connection, act.clock()
        facts = change.reach(mailbox, Action.MANAGE)
        grantee = find_grantee(change, account, group, facts.tenant_id)
        change.require_gift(facts, mailbox, grantee)
        number = grants.give(
            connection,
            facts.id,
            facts.tenant_id,
            grantee,
            rights_of(names),
            period(begins, ends, now),
            given_by=act.name,
        )
        row = grants.get(connection, number)
        change.audit(
            "grant.given",
            mailbox=row.mailbox,
            subject=None if grantee.group else grantee.name,
            tenant=facts.tenant_id,
            grant=number,
            group=grantee.name if grantee.group else None,
            rights=" ".join(sorted(names)),
            begins_at=row.grant.period.begins,
            ends_at=row.grant.period.ends,
        )
    click.echo(f"grant {number}: {grantee.name} on {row.mailbox}")


@grant.command("end")
@click.argument("number", type=click.IntRange(1))
@acting
@click.pass_obj
def grant_end(given: Path | None, number: int, who: Acting) -> None:
    """End the grant NUMBER now; sessions that it opened end."""
    with who.open(load(given)) as act, act.write() as change:
        mailbox = grants.get(change.connection, number).mailbox
        facts = load_mailbox(change.connection, mailbox)
        change.require(Action.MANAGE, facts, mailbox, unknown=f"there is no grant {number}")
        row, endings = grants.end(change.connection, number, act.clock())
        change.audit(
            "grant.ended",
            mailbox=row.mailbox,
            subject=None if row.group else row.grantee,
            tenant=facts.tenant_id,
            grant=number,
            group=row.grantee if row.group else None,
            assignments=count_assignments(endings),
        )
    click.echo(f"grant {number} of {row.grantee} on {row.mailbox} is over")


@grant.command("list")
@click.option("--mailbox", help="Only of this mailbox.")
@click.option("--account", help="Only of this account itself, without its groups.")
@click.option("--ending", "days", type=click.IntRange(1), help="Only with an end in so many days.")
@click.option("--all", "everything", is_flag=True, help="Also grants that are over.")
@click.option("--after", default=0, help="Only grants after this number.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def grant_list(
    given: Path | None,
    /,
    mailbox: str | None,
    account: str | None,
    after: int,
    limit: int,
    who: Acting,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """List grants by number."""
    now, days = utc_now(), options["days"]
    with who.look(load(given)) as reader, reader.read() as seen:
        # Who sees a mailbox by a grant, and has no role, sees the grants on it.
        box = None if mailbox is None else seen.reach(mailbox)
        found = grants.list_grants(
            seen.connection,
            mailbox_id=None if box is None else box.id,
            account_id=None if account is None else find_grantee(seen, account, None, 0).id,
            ends_before=None if days is None else now + timedelta(days=days),
            at=None if options["everything"] else now,
            scope=seen.scope() if box is None else WHOLE,
            after=after,
            limit=limit,
        )
    show_rows([_record(one) for one in found], _COLUMNS, as_json=as_json)
    if len(found) == limit:
        click.echo(f"there may be more: --after {found[-1].id}", err=True)


def _record(row: GrantRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "mailbox": row.mailbox,
        "to": f"group {row.grantee}" if row.group else row.grantee,
        "rights": " ".join(right.value for right in Right if right in row.grant.rights),
        "begins_at": row.grant.period.begins,
        "ends_at": row.grant.period.ends,
        "given_by": row.given_by,
    }
