"""Command `mssante credential add app-password`, after a log-in with two factors."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from mailstore.accounts.accounts import get_account, lock_account
from mailstore.credentials.app_passwords import PROTOCOLS, AppPasswordRequest, add_app_password
from mailstore.credentials.credentials import CredentialKind
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights.facts import load_mailbox
from mailstore.rights.model import Action

from ...assembly.people.log_in import credential_keys
from ...services.acts import log_in, open_act
from ...settings.credentials import app_password_policy
from ...settings.model import load
from ..output import tell
from .secrets import read_code, read_secret

_OPENS: Final = {"imap": Action.READ, "submission": Action.SEND}


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
        keys = credential_keys(settings)
        with act.store.database.read() as connection:
            login = get_account(connection, login).login
            box = get_mailbox(connection, mailbox)
        password = read_secret(f"Password of {login}")
        code = read_code("Code of the app, or a recovery code")
        own = log_in(act, settings, login, password, code)
        with own.write() as change:
            facts = load_mailbox(change.connection, mailbox)
            for protocol in protocols:
                change.require(_OPENS[protocol], facts, box.address)
            now = act.clock()
            asked = AppPasswordRequest(
                mailbox=box,
                name=name,
                protocols=frozenset(protocols),
                ends_at=now + timedelta(days=days or policy.days),
            )
            account = lock_account(change.connection, login)
            number, made = add_app_password(
                change.connection, account, asked, own.proof, policy, keys, now=now
            )
            change.audit(
                "credential.added",
                mailbox=address_key(box.address),
                subject=login,
                tenant=account.tenant_id,
                kind=CredentialKind.APP_PASSWORD.value,
                name=name,
                credential=number,
                protocols=",".join(sorted(protocols)),
                ends_at=asked.ends_at,
            )
    click.echo(made.text())
    tell(f"shown once; credential {number} opens {box.address} until {asked.ends_at:%F}", err=True)
