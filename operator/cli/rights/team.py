"""Commands `mssante team`: an ORG mailbox moves from one shared log-in to named accounts."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import click

from mailstore.accounts.accounts import get_account
from mailstore.errors import Conflict, Forbidden, InvalidState, NotFound
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights import grants, team_moves
from mailstore.rights.facts import load_mailbox
from mailstore.rights.grants import Grantee
from mailstore.rights.model import Action, Period, Right

from ...assembly.clock import utc_now
from ...assembly.storage import open_store
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows

_COLUMNS = ("login", "family_name", "given_name", "last_login_at")
_MEMBER = frozenset({Right.READ, Right.ACT, Right.SEND})


@click.group()
def team() -> None:
    """Moves of teams to named accounts: begin, absent, end."""


@team.command("begin")
@click.argument("mailbox")
@click.argument("accounts", type=click.File("r", encoding="utf-8-sig"))
@click.option("--grace-days", default=30, show_default=True, type=click.IntRange(1, 92))
@acting
@click.pass_obj
def begin(
    given: Path | None, /, mailbox: str, accounts: IO[str], grace_days: int, who: Acting
) -> None:
    """Give the accounts listed in the file ACCOUNTS (a log-in name a line) MAILBOX together.

    All or nothing: each line is checked.  Each gets read, act and send; give manage to the
    responsible person with grant give.
    """
    logins = [line.strip() for line in accounts if line.strip()]
    if not logins:
        raise click.UsageError(f"{accounts.name}: no log-in name in it")
    with who.open(load(given)) as act, act.write() as change:
        connection, now = change.connection, act.clock()
        facts = load_mailbox(connection, mailbox)
        change.require(Action.MANAGE, facts, mailbox)
        if facts.type not in (MailboxType.ORG, MailboxType.CAB):
            raise InvalidState(f"{mailbox} is a {facts.type} mailbox; teams share ORG and CAB")
        problems: list[str] = []
        forbidden = False
        for line, login in enumerate(logins, 1):
            try:
                account = get_account(connection, login)
                grantee = Grantee(account.id, account.login, account.tenant_id)
                change.require_gift(facts, mailbox, grantee)
                number = grants.give(
                    connection,
                    facts.id,
                    facts.tenant_id,
                    grantee,
                    _MEMBER,
                    Period(now),
                    given_by=act.name,
                )
                change.audit(
                    "grant.given",
                    mailbox=mailbox,
                    subject=account.login,
                    tenant=facts.tenant_id,
                    grant=number,
                    rights=" ".join(sorted(_MEMBER)),
                    team=True,
                )
            except (Conflict, InvalidState, NotFound) as error:
                forbidden = forbidden or isinstance(error, Forbidden)
                problems.append(f"{accounts.name}: line {line}: {error}")
        if problems:
            kind = Forbidden if forbidden else InvalidState
            raise kind("nothing is changed; " + "; ".join(problems))
        move = team_moves.begin_move(connection, facts.id, now, now + timedelta(days=grace_days))
        change.audit(
            "team.begun",
            mailbox=mailbox,
            tenant=facts.tenant_id,
            members=len(logins),
            grace_until=move.grace_until,
        )
    click.echo(f"{len(logins)} members of {move.mailbox}; grace until {move.grace_until:%Y-%m-%d}")


@team.command("absent")
@click.argument("mailbox")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def absent(given: Path | None, mailbox: str, *, as_json: bool) -> None:
    """List the members who have not logged in since the move began."""
    with closing(open_store(load(given))) as store, store.database.read() as connection:
        move = team_moves.get_move(connection, load_mailbox(connection, mailbox).id)
        found = team_moves.absent_members(connection, move, utc_now())
    rows: list[dict[str, Any]] = [{name: getattr(one, name) for name in _COLUMNS} for one in found]
    show_rows(rows, _COLUMNS, as_json=as_json)


@team.command("end")
@click.argument("mailbox")
@acting
@click.pass_obj
def end(given: Path | None, mailbox: str, who: Acting) -> None:
    """End the move before its time: the shared log-in opens nothing any more."""
    with who.open(load(given)) as act, act.write() as change:
        facts = load_mailbox(change.connection, mailbox)
        change.require(Action.MANAGE, facts, mailbox)
        move = team_moves.end_move(change.connection, facts.id, act.clock())
        change.audit("team.ended", mailbox=move.mailbox, tenant=facts.tenant_id)
    click.echo(f"the move of {move.mailbox} is over")
