"""Command `mssante credential add app-password`, after a log-in with two factors."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from mailstore.accounts.accounts import Account, get_account, lock_account
from mailstore.audit.event import Result
from mailstore.credentials.app_passwords import PROTOCOLS, AppPasswordRequest, add_app_password
from mailstore.credentials.credentials import CredentialKind
from mailstore.credentials.proof import LoginRefused, Proof
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.mailboxes import get_mailbox

from ...assembly.log_in import credential_keys, make_log_in
from ...services.acts import Act, open_act
from ...settings.credentials import app_password_policy
from ...settings.model import Settings, load
from ..output import tell
from .secrets import read_code, read_secret

_ORIGIN: Final = "command"


@click.command("app-password")
@click.argument("login")
@click.argument("mailbox")
@click.option("--name", required=True, help="For listings, as poste du bloc.")
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    required=True,
    type=click.Choice(sorted(PROTOCOLS)),
    help="What it opens; repeatable.",
)
@click.option("--days", type=click.IntRange(1), help="Life. [credentials.app_password_days]")
@click.pass_obj
def credential_add_app_password(
    given: Path | None,
    login: str,
    mailbox: str,
    name: str,
    protocols: tuple[str, ...],
    days: int | None,
) -> None:
    """Give LOGIN an app password for MAILBOX, for a mail program that knows nothing better.

    The person logs in first: password and code, typed, or two lines of standard input.  Off for
    each type of mailbox unless credentials.app_passwords names it.
    """
    settings = load(given)
    policy = app_password_policy(settings)
    with open_act(settings) as act:
        keys = credential_keys(settings, act.store)
        with act.store.database.read() as connection:
            account = get_account(connection, login)
            box = get_mailbox(connection, mailbox)
        proof = _log_in(act, settings, account)
        now = act.clock()
        asked = AppPasswordRequest(
            mailbox=box,
            name=name,
            protocols=frozenset(protocols),
            ends_at=now + timedelta(days=days or policy.days),
        )
        with act.write() as change:
            account = lock_account(change.connection, login)
            number, made = add_app_password(
                change.connection, account, asked, proof, policy, keys, now=now
            )
            change.audit(
                "credential.added",
                mailbox=address_key(box.address),
                subject=account.login,
                tenant=account.tenant_id,
                kind=CredentialKind.APP_PASSWORD.value,
                name=name,
                credential=number,
                protocols=",".join(sorted(protocols)),
                ends_at=asked.ends_at,
            )
    click.echo(made.text())
    tell(f"shown once; credential {number} opens {box.address} until {asked.ends_at:%F}", err=True)


def _log_in(act: Act, settings: Settings, account: Account) -> Proof:
    """Log the person in with two factors.  Raises LoginRefused, which is audited."""
    door = make_log_in(settings, act.store)
    password = read_secret(f"Password of {account.login}")
    code = read_code("Code of the app, or a recovery code")
    try:
        proof = door.with_password(account.login, password, code, origin=_ORIGIN, at=act.clock())
    except LoginRefused as refused:
        act.audit(
            "account.logged_in",
            subject=account.login,
            tenant=account.tenant_id,
            result=Result.REFUSED,
            reason=refused.reason.value,
        )
        raise
    door.note(proof, None)
    return proof
