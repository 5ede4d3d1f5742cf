"""Commands `mssante credential`: what accounts log in with. Secrets are typed, never arguments."""

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mailstore.accounts.accounts import Account, get_account, lock_account
from mailstore.credentials.credentials import (
    Credential,
    CredentialKind,
    list_credentials,
    revoke_credential,
)
from mailstore.credentials.outside_identities import add_certificate, add_oidc
from mailstore.credentials.passwords import check_password_rules, set_password
from mailstore.credentials.recovery_codes import set_recovery_codes
from mailstore.credentials.totp import new_secret, provisioning_uri, set_totp
from whitelist.errors import InvalidName
from whitelist.pki.distinguished_name import DistinguishedName

from ...assembly.clock import utc_now
from ...assembly.people.log_in import credential_keys, password_hashes
from ...assembly.storage import open_store
from ...services.acts import ActTransaction, open_act
from ...settings.model import load
from ..output import show_rows, tell
from ..rights.options import MomentParam
from .app_password import credential_add_app_password
from .options import as_json
from .secrets import read_code, read_secret

_COLUMNS = ("number", "kind", "name", "state", "last_used_at", "ends_at", "opens")
_until = click.option("--until", "ends", type=MomentParam(last=True), help="Last day. [no end]")
_name = click.option("--name", required=True, help="For listings, as poste du bloc.")


@click.group()
def credential() -> None:
    """Credentials of accounts: passwords, codes, app passwords, certificates, identities."""


@credential.group()
def add() -> None:
    """Give a credential to an account.  Secrets come from the terminal or standard input."""


add.add_command(credential_add_app_password)


def _note(
    change: ActTransaction, account: Account, kind: CredentialKind, name: str, **facts: Any
) -> None:
    change.audit(
        "credential.added",
        subject=account.login,
        tenant=account.tenant_id,
        kind=kind.value,
        name=name,
        **facts,
    )


@add.command("password")
@click.argument("login")
@click.pass_obj
def credential_add_password(given: Path | None, login: str) -> None:
    """Set the password of LOGIN, typed twice or given as a line of standard input.

    The present one ends.  12 characters or more; with TOTP it makes two factors.
    """
    settings = load(given)
    with open_act(settings) as act:
        with act.store.database.read() as connection:
            account = get_account(connection, login)
        password = read_secret(f"New password of {account.login}", twice=True)
        check_password_rules(account.login, password)
        verifier = password_hashes(settings).hash(password)
        with act.write() as change:
            account = lock_account(change.connection, login)
            ended = set_password(change.connection, account, verifier, now=act.clock())
            _note(change, account, CredentialKind.PASSWORD, "password", replaced=len(ended))
    click.echo(f"{account.login} has a new password")


@add.command("totp")
@click.argument("login")
@click.pass_obj
def credential_add_totp(given: Path | None, login: str) -> None:
    """Give LOGIN one-time codes of an authenticator app; the present ones end.

    Shows the secret for the app, and asks for a code that the app makes of it.
    """
    settings = load(given)
    with open_act(settings) as act:
        keys = credential_keys(settings)
        with act.store.database.read() as connection:
            account = get_account(connection, login)
        secret = new_secret()
        click.echo(provisioning_uri(secret, account.login, settings.operator.hostname))
        click.echo(f"secret  {secret}")
        code = read_code("Code shown by the app")
        with act.write() as change:
            account = lock_account(change.connection, login)
            ended = set_totp(change.connection, account, secret, code, keys, now=act.clock())
            _note(change, account, CredentialKind.TOTP, "authenticator app", replaced=len(ended))
    click.echo(f"{account.login} has one-time codes")


@add.command("recovery")
@click.argument("login")
@click.pass_obj
def credential_add_recovery(given: Path | None, login: str) -> None:
    """Print ten recovery codes for LOGIN, each good once in place of an app's code.

    Those left of an earlier print end.
    """
    settings = load(given)
    with open_act(settings) as act:
        keys = credential_keys(settings)
        with act.write() as change:
            account = lock_account(change.connection, login)
            codes, ended = set_recovery_codes(change.connection, account, keys, now=act.clock())
            _note(change, account, CredentialKind.RECOVERY, "codes", replaced=len(ended))
    for code in codes:
        click.echo(code)
    tell("shown once; print them, and keep them away from the phone", err=True)


def _dn(text: str) -> DistinguishedName:
    try:
        return DistinguishedName.parse(text)
    except InvalidName as error:
        raise click.UsageError(str(error)) from error


@add.command("certificate")
@click.argument("login")
@click.argument("dn")
@_name
@_until
@click.pass_obj
def credential_add_certificate(
    given: Path | None, login: str, dn: str, name: str, ends: datetime | None
) -> None:
    """Let a client certificate of the distinguished name DN (RFC 4514) log in as LOGIN."""
    parsed = _dn(dn)
    with open_act(load(given)) as act, act.write() as change:
        account = lock_account(change.connection, login)
        number = add_certificate(
            change.connection,
            account,
            name,
            str(parsed),
            folded=parsed.folded,
            ends_at=ends,
            now=act.clock(),
        )
        _note(
            change,
            account,
            CredentialKind.CERTIFICATE,
            name,
            credential=number,
            dn=str(parsed),
            ends_at=ends,
        )
    click.echo(f"credential {number}: {parsed} logs in as {account.login}")


@add.command("oidc")
@click.argument("login")
@click.argument("issuer")
@click.argument("subject")
@_name
@_until
@click.pass_obj
def credential_add_oidc(
    given: Path | None, login: str, issuer: str, subject: str, name: str, ends: datetime | None
) -> None:
    """Let the SUBJECT of the OIDC provider ISSUER (https://…) log in as LOGIN."""
    with open_act(load(given)) as act, act.write() as change:
        account = lock_account(change.connection, login)
        number = add_oidc(
            change.connection, account, name, issuer, subject, ends_at=ends, now=act.clock()
        )
        _note(
            change,
            account,
            CredentialKind.OIDC,
            name,
            credential=number,
            issuer=issuer,
            oidc_subject=subject,
            ends_at=ends,
        )
    click.echo(f"credential {number}: {subject} of {issuer} logs in as {account.login}")


def _row(found: Credential, now: datetime) -> dict[str, Any]:
    state = "live" if found.live(now) else "revoked" if found.revoked_at is not None else "ended"
    opens = found.mailbox and f"{found.mailbox} by {', '.join(found.protocols)}"
    identity = found.identity and found.identity.replace("\n", " ")
    return {
        "number": found.id,
        "kind": found.kind,
        "name": found.name,
        "state": state,
        "created_at": found.created_at,
        "last_used_at": found.last_used_at,
        "ends_at": found.ends_at,
        "revoked_at": found.revoked_at,
        "opens": opens or identity,
    }


@credential.command("list")
@click.argument("login")
@click.option("--all", "everything", is_flag=True, help="Also those revoked or past their end.")
@as_json
@click.pass_obj
def credential_list(given: Path | None, /, login: str, *, everything: bool, as_json: bool) -> None:
    """List the credentials of LOGIN; never the secrets."""
    now = utc_now()
    with closing(open_store(load(given))) as store, store.database.read() as connection:
        found = list_credentials(connection, get_account(connection, login).id)
    rows = [_row(one, now) for one in found if everything or one.live(now)]
    show_rows(rows, _COLUMNS, as_json=as_json)


@credential.command("revoke")
@click.argument("login")
@click.argument("number", type=click.IntRange(1))
@click.pass_obj
def credential_revoke(given: Path | None, login: str, number: int) -> None:
    """Revoke the credential NUMBER of LOGIN at once: sessions that began by it end."""
    with open_act(load(given)) as act, act.write() as change:
        account = get_account(change.connection, login)
        found, _ = revoke_credential(change.connection, account, number, now=act.clock())
        change.audit(
            "credential.revoked",
            subject=account.login,
            tenant=account.tenant_id,
            mailbox=found.mailbox,
            credential=found.id,
            kind=found.kind.value,
            name=found.name,
        )
    click.echo(f"credential {found.id} of {account.login} is revoked")
