"""Commands `mssante report`: rights that need somebody's eye."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from mailstore.rights import reports
from mailstore.rights.inactivity import unused_mailboxes

from ...assembly.clock import utc_now
from ...services.permission import Permission
from ...settings.model import Settings, load
from ...settings.rights import ladder_policy
from ..acting import Acting, acting
from ..output import show_record, show_rows

_tenant = click.option("--tenant", help="Only of this tenant.")
_after = click.option("--after", default="", help="Only after this name, of the page before.")
_limit = click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def report() -> None:
    """Reports on rights: mailboxes nobody reads, unused accounts, departures."""


@report.command("unreadable")
@_tenant
@_after
@_limit
@_json
@acting
@click.pass_obj
def unreadable(
    given: Path | None,
    /,
    tenant: str | None,
    after: str,
    limit: int,
    who: Acting,
    *,
    as_json: bool,
) -> None:
    """List active ORG and CAB mailboxes that no active account may read.  Exit 1 if there are."""
    with who.look(load(given)) as reader, reader.read() as seen:
        found = reports.unreadable_mailboxes(
            seen.connection,
            utc_now(),
            after=after,
            tenant_id=_tenant_id(seen, tenant),
            scope=seen.scope(),
            limit=limit,
        )
    show_rows([{"mailbox": one} for one in found], ("mailbox",), as_json=as_json)
    _more(found, limit)
    if found:
        raise SystemExit(1)


@report.command("unused")
@click.option("--mailboxes", "of_mailboxes", is_flag=True, help="Mailboxes instead of accounts.")
@click.option(
    "--days",
    type=click.IntRange(1),
    help="Without a log-in. [rights.unused_days; for mailboxes the first of inactivity.warn_days]",
)
@_tenant
@_after
@_limit
@_json
@acting
@click.pass_obj
def unused(
    given: Path | None,
    /,
    days: int | None,
    tenant: str | None,
    after: str,
    limit: int,
    who: Acting,
    *,
    of_mailboxes: bool,
    as_json: bool,
) -> None:
    """List active accounts that have not logged in for a time (DOMAIN U1.2).

    due: day on which a year without a log-in is over (inactivity.suspend_days).  With --mailboxes:
    all mailboxes that nobody logged in to, with the next step (warn, suspend, delete) and the day
    from which it is due.  warn and suspend are the daemon's, if inactivity.act is on.
    """
    settings = load(given)
    if of_mailboxes:
        _unused_mailboxes(settings, who, days, tenant, after, limit, as_json=as_json)
        return
    with who.look(settings) as reader, reader.read() as seen:
        found = reports.unused_accounts(
            seen.connection,
            utc_now() - timedelta(days=days or settings.rights.unused_days),
            after=after,
            tenant_id=_tenant_id(seen, tenant),
            scope=seen.scope(),
            limit=limit,
        )
    year = timedelta(days=settings.inactivity.suspend_days)
    rows = [{**asdict(one), "due": (one.last_login_at or one.created_at) + year} for one in found]
    show_rows(rows, ("login", "created_at", "last_login_at", "due"), as_json=as_json)
    _more([one.login for one in found], limit)


def _unused_mailboxes(
    settings: Settings,
    who: Acting,
    days: int | None,
    tenant: str | None,
    after: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    policy = ladder_policy(settings)
    with who.look(settings) as reader, reader.read() as seen:
        found = unused_mailboxes(
            seen.connection,
            utc_now() - timedelta(days=days or policy.warn_days[0]),
            after=after,
            tenant_id=_tenant_id(seen, tenant),
            scope=seen.scope(),
            limit=limit,
        )
    rows: list[dict[str, Any]] = []
    for one in found:
        following = one.next_step(policy)
        rows.append(
            {
                "mailbox": one.address,
                "type": one.type,
                "state": one.state,
                "last_login_at": one.last_login_at,
                "unused_since": one.facts.used_at,
                "warnings": one.facts.valid_warnings,
                "warned_at": one.facts.warned_at,
                "kept_until": one.facts.kept_until,
                "kept_reason": one.kept_reason,
                "next_step": following.step,
                "due": following.due,
            }
        )
    columns = ("mailbox", "type", "state", "unused_since", "warnings", "next_step", "due")
    show_rows(rows, columns, as_json=as_json)
    _more([one.address for one in found], limit)


@report.command("one-factor")
@_json
@acting
@click.pass_obj
def one_factor(given: Path | None, who: Acting, *, as_json: bool) -> None:
    """List roles of accounts without an authenticator app (TOTP).  Exit 1 if there are.

    Such a role does not count until the account has one: credential add totp.
    """
    with who.look(load(given)) as reader, reader.read() as seen:
        found = reports.one_factor_roles(seen.connection, utc_now(), seen.scope())
    rows = [
        {"account": one.account, "role": one.role.name, "scope": one.scope or "operator (whole)"}
        for one in found
    ]
    show_rows(rows, ("account", "role", "scope"), as_json=as_json)
    if found:
        raise SystemExit(1)


@report.command("departure")
@click.argument("login")
@_json
@acting
@click.pass_obj
def departure(given: Path | None, login: str, who: Acting, *, as_json: bool) -> None:
    """List everything that the account LOGIN leaves behind when its person departs or dies.

    Then: give the rights to somebody else (grant give), name another responsible person (mailbox
    set), close the mailbox of the person (mailbox close), and the account (account close).
    """
    with who.look(load(given)) as reader, reader.read() as seen:
        left = reports.departure(seen.connection, seen.reach_account(login).id, utc_now())
    record: dict[str, Any] = {
        "holds": list(left.held),
        "nobody_else_reads_or_manages": list(left.orphaned),
        "grants": [f"{one.id} on {one.mailbox}" for one in left.grants],
        "roles": [f"{one.id} {one.role.name} {one.scope}".strip() for one in left.roles],
    }
    show_record(record, as_json=as_json)


def _tenant_id(seen: Permission, name: str | None) -> int | None:
    return None if name is None else seen.reach_tenant(name).id


def _more(found: Sequence[str], limit: int) -> None:
    if len(found) == limit:
        click.echo(f"there may be more: --after {found[-1]}", err=True)
