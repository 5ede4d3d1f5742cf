"""Commands `mssante team`: an ORG mailbox moves from one shared log-in to named accounts."""

from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import click

from mailstore.credentials.passwords import check_password_rules
from mailstore.errors import Conflict, Forbidden, InvalidState, NotFound
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights import grants, team_moves
from mailstore.rights.grants import Grantee
from mailstore.rights.model import Action, Period, Right

from ...assembly.clock import utc_now
from ...assembly.people.log_in import password_hashes
from ...settings.model import Settings, load
from ..acting import Acting, acting
from ..output import show_rows, tell
from ..people.secrets import read_secret

_COLUMNS = ("login", "family_name", "given_name", "last_login_at")
_MEMBER = frozenset({Right.READ, Right.ACT, Right.SEND})


@click.group()
def team() -> None:
    """Moves of teams to named accounts: begin, absent, end."""


@team.command("begin")
@click.argument("mailbox")
@click.argument("accounts", type=click.File("r", encoding="utf-8-sig"))
@click.option("--grace-days", default=30, show_default=True, type=click.IntRange(1, 92))
@click.option(
    "--shared-password",
    "ask_shared",
    is_flag=True,
    help="Ask for the team's present password: a terminal, or a line of standard input.",
)
@click.option(
    "--shared-password-file",
    "shared_file",
    type=click.File("r", encoding="utf-8", errors="surrogateescape"),
    help="File whose first line is the team's present password.",
)
@acting
@click.pass_obj
def begin(
    given: Path | None,
    /,
    mailbox: str,
    accounts: IO[str],
    grace_days: int,
    shared_file: IO[str] | None,
    who: Acting,
    *,
    ask_shared: bool,
) -> None:
    """Give the accounts listed in the file ACCOUNTS (a log-in name a line) MAILBOX together.

    All or nothing: each line is checked.  Each gets read, act and send; give manage to the
    responsible person with grant give.  With the team's shared password, that password reads, acts
    and sends too until the grace ends: log-in name is the address.  Without, only accounts do.
    """
    settings = load(given)
    logins = [line.strip() for line in accounts if line.strip()]
    if not logins:
        raise click.UsageError(f"{accounts.name}: no log-in name in it")
    verifier = _verifier(settings, mailbox, shared_file, ask=ask_shared)
    with who.open(settings) as act, act.write() as change:
        connection, now = change.connection, act.clock()
        facts = change.reach(mailbox, Action.MANAGE)
        if facts.type not in (MailboxType.ORG, MailboxType.CAB):
            raise InvalidState(f"{mailbox} is a {facts.type} mailbox; teams share ORG and CAB")
        problems: list[str] = []
        forbidden = False
        for line, login in enumerate(logins, 1):
            try:
                account = change.known_account(login)
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
        grace_until = now + timedelta(days=grace_days)
        move = team_moves.begin_move(connection, facts.id, now, grace_until, verifier)
        change.audit(
            "team.begun",
            mailbox=move.mailbox,
            tenant=move.tenant_id,
            members=len(logins),
            grace_until=move.grace_until,
            shared=move.shared,
        )
    click.echo(f"{len(logins)} members of {move.mailbox}; grace until {move.grace_until:%Y-%m-%d}")
    if move.shared:
        click.echo(f"until then the shared password opens it too, log-in name {move.mailbox}")


def _verifier(settings: Settings, mailbox: str, file: IO[str] | None, *, ask: bool) -> str | None:
    """Hash of the team's shared password; None if none was given.  Raises UsageError."""
    if ask and file is not None:
        raise click.UsageError("give either --shared-password or --shared-password-file")
    if file is not None:
        password = file.readline().rstrip("\r\n")
    elif ask:
        password = read_secret(f"Shared password of {mailbox}", twice=True)
    else:
        return None
    check_password_rules(mailbox.lower(), password)
    return password_hashes(settings).hash(password)


@team.command("absent")
@click.argument("mailbox")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def absent(given: Path | None, mailbox: str, who: Acting, *, as_json: bool) -> None:
    """List the members who have not logged in by their own account since the move began."""
    with who.look(load(given)) as reader, reader.read() as seen:
        move = team_moves.get_move(seen.connection, seen.reach(mailbox).id)
        found = team_moves.absent_members(seen.connection, move, utc_now())
    rows: list[dict[str, Any]] = [{name: getattr(one, name) for name in _COLUMNS} for one in found]
    show_rows(rows, _COLUMNS, as_json=as_json)
    if move.shared:
        used = "never" if move.last_used_at is None else f"{move.last_used_at:%Y-%m-%d %H:%M} UTC"
        tell(f"the shared password was last used: {used} (noted once an hour)", err=True)


@team.command("end")
@click.argument("mailbox")
@acting
@click.pass_obj
def end(given: Path | None, mailbox: str, who: Acting) -> None:
    """End the move before its time: the shared log-in opens nothing any more."""
    with who.open(load(given)) as act, act.write() as change:
        facts = change.reach(mailbox, Action.MANAGE)
        move, _ = team_moves.end_move(change.connection, facts.id, act.clock())
        change.audit("team.ended", mailbox=move.mailbox, tenant=move.tenant_id)
    click.echo(f"the move of {move.mailbox} is over")
