"""Command `mssante domain`: the domains that this operator hosts."""

from pathlib import Path

import click

from mailstore.accounts.tenants import get_tenant, give_domain, list_tenants
from mailstore.mail.quota import domain_quotas, set_domain_quota
from mailstore.mailboxes.domain_removal import check_removable, remove_domain
from mailstore.mailboxes.mailboxes import add_domain, list_domains
from mailstore.rights.model import Action

from ...services.domain_queue import check_nothing_queued
from ...services.list_tie import untied
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows, tell
from .options import SizeParam, ask


@click.group()
def domain() -> None:
    """The domains that this operator hosts."""


@domain.command("add")
@click.argument("name")
@click.option("--tenant", help="Tenant that owns it. [operator]")
@acting
@click.pass_obj
def domain_add(given: Path | None, name: str, tenant: str | None, who: Acting) -> None:
    """Host a domain; it must be on the white list under our certificate to be of use.

    A warning tells at once if it is not.
    """
    settings = load(given)
    with who.open(settings) as act, act.write() as change:
        change.require_whole(Action.ADMINISTER)
        added = add_domain(change.connection, name, now=act.clock())
        owner = added.tenant_id
        if tenant is not None:
            found = get_tenant(change.connection, tenant)
            give_domain(change.connection, added.name, found, now=act.clock())
            owner = found.id
        change.audit("domain.added", domain=added.name, tenant=owner)
    click.echo(f"added {added.name}")
    if problem := untied(settings, added.name):
        tell(f"warning: {problem}", err=True)


@domain.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def domain_list(given: Path | None, who: Acting, *, as_json: bool) -> None:
    """List the hosted domains; what is used is counted for those with a quota alone."""
    with who.look(load(given)) as reader, reader.read() as seen:
        owners = {one.id: one.name for one in list_tenants(seen.connection)}
        rows = [
            {
                "name": one.name,
                "created_at": one.created_at,
                "tenant": owners[one.tenant_id],
                "quota": quota and quota.limit,
                "used": quota and quota.used,
                "used_percent": quota and quota.percent,
            }
            for one, quota in domain_quotas(
                seen.connection, list_domains(seen.connection, seen.scope())
            )
        ]
    columns = ("name", "tenant", "created_at", "quota", "used_percent")
    show_rows(rows, columns, as_json=as_json)


@domain.command("quota")
@click.argument("name")
@click.argument("size")
@acting
@click.pass_obj
def domain_quota(given: Path | None, name: str, size: str, who: Acting) -> None:
    """Limit the mailboxes of NAME together to SIZE (octets, or 500G, 2T), or with none no more.

    Mail for a domain that is full is deferred with 452 4.2.2.
    """
    quota = None if size == "none" else SizeParam().convert(size, None, None)
    with who.open(load(given)) as act, act.write() as change:
        change.require_whole(Action.ADMINISTER)
        found = set_domain_quota(change.connection, name, quota)
        change.audit(
            "domain.quota_set",
            domain=found.name,
            tenant=found.tenant_id,
            quota="none" if quota is None else quota,
        )
    limit = "no quota" if quota is None else f"a quota of {quota} octets"
    click.echo(f"{found.name} has {limit}")


@domain.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@acting
@click.pass_obj
def domain_remove(given: Path | None, name: str, who: Acting, *, yes: bool) -> None:
    """Host a domain no longer; asks first.

    Refused while it has a mailbox whose content is not erased, an alias that has not ended, or mail
    in the queue. Its addresses are never given to anybody else, even if it is added again.
    """
    with who.open(load(given)) as act:
        with act.read() as seen:
            seen.require_whole(Action.ADMINISTER)
            found = check_removable(seen.connection, name, now=act.clock())
            check_nothing_queued(seen.connection, found.name)
        ask(
            f"Host {found.name} no longer? Mail for it is refused from then on",
            "mail for this domain will be refused",
            yes=yes,
        )
        with act.write() as change:
            change.require_whole(Action.ADMINISTER)
            check_nothing_queued(change.connection, found.name)
            removed = remove_domain(change.connection, found.name, now=act.clock())
            change.audit("domain.removed", domain=removed.name, tenant=removed.tenant_id)
    click.echo(f"removed {removed.name}")
