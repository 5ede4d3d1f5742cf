"""Options and answers that the commands on people share."""

from collections.abc import Callable
from typing import Any, Final

import click

from mailstore.accounts.person_identifiers import PersonIdentifier
from mailstore.accounts.tenants import Tenant, get_tenant_by_id
from mailstore.rights.model import Action

from ...services.permission import Permission
from ...settings.identifiers import luhn_kinds
from ...settings.model import Settings

Command = Callable[..., None]
OWN_TENANT: Final = "operator"

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
in_tenant = click.option(
    "--tenant", default=OWN_TENANT, show_default=True, help="Tenant that owns it."
)
own_tenant = click.option(
    "--tenant", help=f"Tenant that owns it. [{OWN_TENANT}; with --as the account's own]"
)
of_tenant = click.option("--tenant", help="Only of this tenant.")
reason_needed = click.option("--reason", required=True, help="Why, for the audit trail.")
after_name = click.option("--after", default="", help="Only after this name, of the page before.")
page_limit = click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="Rows shown."
)

_KINDS: Final = ("rpps", "adeli", "psi")
_HELP: Final = {
    "rpps": "RPPS, 11 digits.",
    "adeli": "ADELI, 9 digits.",
    "psi": "Identity of Pro Santé Connect that is neither.",
}


def with_identifiers(command: Command) -> Command:
    """Decorator: options --rpps, --adeli and --psi, as the keywords of `identifiers_of`."""
    for kind in reversed(_KINDS):
        command = click.option(f"--{kind}", help=_HELP[kind])(command)
    return command


def identifiers_of(settings: Settings, given: dict[str, Any]) -> list[PersonIdentifier]:
    """The identifiers of these options.  Raises InvalidIdentifier."""
    luhn = luhn_kinds(settings)
    return [
        PersonIdentifier.parse(kind.upper(), given[kind], luhn=luhn)
        for kind in _KINDS
        if given[kind] is not None
    ]


def one_identifier(settings: Settings, given: dict[str, Any]) -> PersonIdentifier:
    """The only identifier of these options.  Raises InvalidIdentifier, UsageError."""
    found = identifiers_of(settings, given)
    if len(found) != 1:
        raise click.UsageError("give one of --rpps, --adeli, --psi")
    return found[0]


def written_identifier(settings: Settings, text: str) -> PersonIdentifier:
    """An identifier written KIND:VALUE.  Raises InvalidIdentifier, UsageError."""
    kind, colon, value = text.partition(":")
    if not colon or kind.lower() not in _KINDS:
        raise click.UsageError(f"{text!r} is not KIND:VALUE, with a kind of {', '.join(_KINDS)}")
    return PersonIdentifier.parse(kind.upper(), value, luhn=luhn_kinds(settings))


def owner_of(seen: Permission, name: str | None) -> Tenant:
    """Tenant of the option `own_tenant`, which the account administers.

    Raises NotFound, NotAllowed.
    """
    chosen = get_tenant_by_id(seen.connection, seen.home).name if name is None else name
    return seen.reach_tenant(chosen, Action.ADMINISTER)


def tenant_row(tenant: Tenant) -> dict[str, Any]:
    """A tenant for listings."""
    return {"name": tenant.name, "title": tenant.title, "created_at": tenant.created_at}
