"""Commands on the outbound queue."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from relay import queue as relay_queue

from .. import runtime
from ..output import show_rows
from ..settings import load


@click.group()
def queue() -> None:
    """The outbound queue."""


@queue.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def summary(given: Path | None, *, as_json: bool) -> None:
    """What waits, by destination domain, the longest wait first."""
    store = runtime.open_store(load(given))
    with closing(store), store.database.read() as connection:
        found = relay_queue.summary(connection, runtime.clock())
    columns = (
        "domain",
        "waiting",
        "in_flight",
        "failed",
        "oldest",
        "next_attempt",
        "last_error",
    )
    show_rows(map(asdict, found), columns, as_json=as_json)


@queue.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(given: Path | None, limit: int, *, as_json: bool) -> None:
    """Deliveries in the queue, the oldest first."""
    store = runtime.open_store(load(given))
    with closing(store), store.database.read() as connection:
        found = relay_queue.listing(connection, limit)
    columns = ("id", "domain", "state", "attempts", "due", "sender", "recipients", "last_error")
    show_rows(map(asdict, found), columns, as_json=as_json)
