"""Commands on hold rules."""

from dataclasses import asdict
from pathlib import Path

import click

from relay.queue_admin.filter import DeliveryFilter
from relay.queue_admin.hold_rules import HoldScope, list_rules

from ...services.queue_admin import scope_texts
from ..acting import Acting, acting
from ..options.queue import reasoned, scoped
from ..output import masked, say, show_rows
from .queue_access import administering, reading


@click.group()
def rules() -> None:
    """Rules that hold matching new mail as it is queued."""


@rules.command("add")
@scoped
@reasoned(required=True)
@acting
@click.pass_obj
def add(given: Path | None, *, patterns: dict[str, str | None], reason: str, who: Acting) -> None:
    """Hold what comes from now on and matches; what is queued already: queue hold."""
    scope = HoldScope(**patterns)
    with administering(given, who, reason) as queue_admin:
        number = queue_admin.add_rule(scope)
    say(f"rule {number} holds new mail: {' '.join(scope_texts(scope))}")


@rules.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def list_(given: Path | None, *, as_json: bool, who: Acting) -> None:
    """The rules in force; an account needs a role for the whole operator."""
    with reading(given, who, DeliveryFilter(), whole=True) as (connection, _):
        found = list_rules(connection)
    rows = []
    for rule in found:
        facts = masked(asdict(rule))
        del facts["scope"]
        rows.append({**facts, "covers": scope_texts(rule.scope)})
    show_rows(rows, ("id", "covers", "reason", "author", "created_at"), as_json=as_json)


@rules.command("remove")
@click.argument("number", type=click.IntRange(1))
@reasoned(required=False)
@acting
@click.pass_obj
def remove(given: Path | None, number: int, *, reason: str, who: Acting) -> None:
    """Take the rule NUMBER away; what it has held stays held: queue release."""
    with administering(given, who, reason) as queue_admin:
        queue_admin.remove_rule(number)
    click.echo(f"rule {number} removed; mail still held: mssante queue list --state held")
