"""Commands on the outbound queue: views and actions (docs/queue.md)."""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mailstore.db.database import Database
from mailstore.errors import InvalidAddress
from mailstore.mailboxes.address import parse_domain
from relay.queue.destinations import pauses
from relay.queue.model import ALL
from relay.queue_admin import views
from relay.queue_admin.actions import HoldAction, QueueAction, ReleaseAction, RetryAction, count
from relay.queue_admin.drop import DropAction
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus

from ...assembly.clock import utc_now
from ...services.queue_admin import ActionTotals, QueueAdmin, QueueRefused
from ..acting import Acting, acting
from ..options.queue import NumberParam, filtered, reasoned
from ..output import masked, say, show_record, show_rows
from .queue_access import administering, reading
from .queue_rules import rules

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def queue() -> None:
    """The outbound queue: what waits, why, and what to do about it."""


queue.add_command(rules)


@queue.command()
@filtered(needed=False)
@_json
@acting
@click.pass_obj
def summary(given: Path | None, *, wanted: DeliveryFilter, as_json: bool, who: Acting) -> None:
    """What is queued, by destination, the longest wait first."""
    now = utc_now()
    with reading(given, who, wanted) as (connection, narrowed):
        found = views.summary(connection, narrowed, now)
    rows = [masked(asdict(line)) for line in found]
    if not as_json:
        rows = [{**row, "age": _age(row["age"]), "state": _state(row, now)} for row in rows]
    columns = (
        "domain", "state", "waiting", "in_flight", "held", "failed", "age", "next_attempt",
        "last_error",
    )  # fmt: skip
    show_rows(rows, columns, as_json=as_json)


def _state(row: Mapping[str, Any], now: datetime) -> str:
    match row["state"]:
        case "paused":
            return f"paused: {row['paused']}"
        case "dead":
            return f"dead for {_age(int((row['dead_until'] - now).total_seconds()))}"
        case _:
            return "active"


def _age(seconds: int | None) -> str | None:
    """Duration in its two largest units, such as `2h5m`; None without one."""
    if seconds is None:
        return None
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{left}s"


@queue.command("list")
@filtered(needed=False)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@_json
@acting
@click.pass_obj
def list_(
    given: Path | None, limit: int, *, wanted: DeliveryFilter, as_json: bool, who: Acting
) -> None:
    """Deliveries in the queue, the oldest first."""
    with reading(given, who, wanted) as (connection, narrowed):
        found = views.listing(connection, narrowed, utc_now(), limit)
    columns = ("id", "domain", "state", "attempts", "due", "sender", "recipients", "last_error")
    show_rows((masked(asdict(one), one.recipients) for one in found), columns, as_json=as_json)


@queue.command()
@click.argument("number", metavar="ID", type=NumberParam())
@_json
@acting
@click.pass_obj
def show(given: Path | None, number: int | str, *, as_json: bool, who: Acting) -> None:
    """All of one delivery, by its number, or of each of a message, by the message's ID."""
    wanted = (
        DeliveryFilter(ids=(number,))
        if isinstance(number, int)
        else DeliveryFilter(messages=(number,))
    )
    with reading(given, who, wanted) as (connection, narrowed):
        found = views.show(connection, narrowed, utc_now())
    if not found:
        raise QueueRefused(f"{number} is not in the queue; find it with: mssante trace MESSAGE-ID")
    rows = [masked(asdict(one), [to.address for to in one.recipients]) for one in found]
    if as_json:
        show_rows(rows, (), as_json=True)
        return
    for index, row in enumerate(rows):
        if index:
            click.echo()
        recipients = row.pop("recipients")
        show_record(row, as_json=False)
        click.echo()
        show_rows(recipients, ("address", "state", "reply", "notify", "orcpt"), as_json=False)


@queue.command()
@filtered(needed=True)
@click.option("--failed", is_flag=True, help="Also what failed: it waits again, its life anew.")
@reasoned(required=False)
@acting
@click.pass_obj
def retry(
    given: Path | None, *, wanted: DeliveryFilter, failed: bool, reason: str, who: Acting
) -> None:
    """Send it as soon as possible; take a destination that is dead for alive.

    Held and paused deliveries stay so. With --failed (or --state failed), failed deliveries are
    tried again too, although their senders already have a report of failure.
    """
    revive = failed or wanted.state is DeliveryStatus.FAILED
    with administering(given, who, reason) as queue_admin:
        tally = queue_admin.perform(RetryAction(revive=revive), wanted)
        _tell(queue_admin, tally, wanted, "due now")
        with queue_admin.store.database.read() as connection:
            stopped = pauses(connection)
        for domain in sorted(stopped.keys() & {*tally.domains, ALL}):
            what = "everything" if domain == ALL else domain
            say(f"but {what} is paused: {stopped[domain]}")


@queue.command()
@filtered(needed=True)
@reasoned(required=True)
@acting
@click.pass_obj
def hold(given: Path | None, *, wanted: DeliveryFilter, reason: str, who: Acting) -> None:
    """Keep what waits from being sent until it is released; mail to come: queue rules add."""
    _act(given, HoldAction(reason), wanted, who, reason, "held")


@queue.command()
@filtered(needed=True)
@reasoned(required=False)
@acting
@click.pass_obj
def release(given: Path | None, *, wanted: DeliveryFilter, reason: str, who: Acting) -> None:
    """Send what was held."""
    _act(given, ReleaseAction(), wanted, who, reason, "released")


@queue.command()
@filtered(needed=True)
@reasoned(required=True)
@click.option(
    "--report/--no-report",
    default=True,
    show_default=True,
    help="Tell senders that an administrator took it out of the queue, not why.",
)
@click.option("--yes", is_flag=True, help="Do not ask, however many they are.")
@acting
@click.pass_obj
def drop(
    given: Path | None,
    *,
    wanted: DeliveryFilter,
    reason: str,
    report: bool,
    yes: bool,
    who: Acting,
) -> None:
    """Delete it from the queue for good, whatever its state.

    Senders get a report of failure in French and English, at once in a mailbox here or through the
    queue. No report goes out if the sender has one already, if it asked for none (NOTIFY), or if
    the message is itself a report. For spam and floods: --no-report.
    """
    with administering(given, who, reason) as queue_admin:
        if not yes:
            _confirm(queue_admin.store.database, wanted, report=report)
        tally = queue_admin.perform(DropAction(queue_admin.dsn_writer if report else None), wanted)
        told = _reports(tally.reports) if report else "no reports"
        _tell(queue_admin, tally, wanted, f"dropped, {told} to senders", failed="dropped")


def _act(
    given: Path | None,
    act: QueueAction[Any],
    wanted: DeliveryFilter,
    who: Acting,
    reason: str,
    done: str,
) -> None:
    with administering(given, who, reason) as queue_admin:
        _tell(queue_admin, queue_admin.perform(act, wanted), wanted, done)


def _confirm(database: Database, wanted: DeliveryFilter, *, report: bool) -> None:
    with database.read() as connection:
        number = sum(count(connection, wanted, utc_now()).values())
    if number <= 1:
        return
    if not sys.stdin.isatty():
        raise QueueRefused(
            f"{number} deliveries to drop: check them with queue list, then add --yes"
        )
    click.confirm(
        f"Drop {number} deliveries for good, {'with' if report else 'without'} reports to senders?",
        abort=True,
    )


def _reports(number: int) -> str:
    return f"{number or 'no'} {'report' if number == 1 else 'reports'}"


def _tell(
    queue_admin: QueueAdmin,
    tally: ActionTotals,
    wanted: DeliveryFilter,
    done: str,
    *,
    failed: str = "",
) -> None:
    """Print the result of an action.  Raises QueueRefused if nothing changed."""
    left = (
        f"{_deliveries(tally.in_flight)} in flight not changed; try again later"
        if tally.in_flight
        else ""
    )
    if tally.changed:
        click.echo("; ".join(filter(None, (f"{_deliveries(tally.changed)} {done}", left))))
        return
    with queue_admin.store.database.read() as connection:
        found = count(connection, wanted, queue_admin.clock())
    others = ", ".join(f"{number} {standing}" for standing, number in found.items() if number)
    why = left or (f"wrong state of matching deliveries: {others}" if others else "no match")
    raise QueueRefused(f"nothing {failed or done}: {why}")


def _deliveries(number: int) -> str:
    return f"{number} {'delivery' if number == 1 else 'deliveries'}"


def _destination(domain: str | None, *, everything: bool) -> str:
    if everything == (domain is not None):
        raise click.UsageError("destination missing; add a domain, or --all")
    if everything or domain is None or domain == ALL:
        return ALL
    try:
        return parse_domain(domain)
    except InvalidAddress as error:
        raise click.UsageError(str(error)) from None


_everything = click.option("--all", "everything", is_flag=True, help="All destinations.")


@queue.command()
@click.argument("domain", required=False)
@_everything
@reasoned(required=True)
@acting
@click.pass_obj
def pause(
    given: Path | None, domain: str | None, *, everything: bool, reason: str, who: Acting
) -> None:
    """Send nothing to DOMAIN until resumed; mail for it goes on to be queued."""
    where = _destination(domain, everything=everything)
    with administering(given, who, reason) as queue_admin:
        queue_admin.pause(where)
        wanted = DeliveryFilter() if where == ALL else DeliveryFilter(domain=where)
        with queue_admin.store.database.read() as connection:
            found = count(connection, wanted, queue_admin.clock())
    click.echo(f"{_name(where)} is paused: {_deliveries(found[DeliveryStatus.WAITING])} waiting")


@queue.command()
@click.argument("domain", required=False)
@_everything
@reasoned(required=False)
@acting
@click.pass_obj
def resume(
    given: Path | None, domain: str | None, *, everything: bool, reason: str, who: Acting
) -> None:
    """Send to DOMAIN again; --all ends the pause of everything, not those of single domains."""
    where = _destination(domain, everything=everything)
    with administering(given, who, reason) as queue_admin:
        queue_admin.resume(where)
        with queue_admin.store.database.read() as connection:
            left = pauses(connection)
    click.echo(f"{_name(where)} is resumed")
    if where == ALL and left:
        click.echo(f"still paused: {', '.join(left)}")
    elif ALL in left:
        say(f"but everything is paused: {left[ALL]}")


def _name(destination: str) -> str:
    return "everything" if destination == ALL else destination
