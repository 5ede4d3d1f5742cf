"""Commands on the machines that share a database."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from mailstore.db.database import Database
from mailstore.db.dialect import server_clock
from relay.machines.rows import all_machines, delete_machine, find_machine, leases_of
from relay.queue.leases import release

from ..assembly.clock import utc_now
from ..assembly.storage import open_store
from ..errors import OperatorError
from ..machine.node_name import known_node_name
from ..machine.record import WATCH_SECONDS
from ..services.acts import open_act
from ..settings.model import Settings, load
from .output import show_rows, tell

_LIVES: Final = timedelta(seconds=2 * WATCH_SECONDS)  # a machine is alive this long after a beat


class MachineRefused(OperatorError):
    """The machine does not exist, or is alive."""


@click.group()
def machine() -> None:
    """The machines that share the database, by their names in leases."""


@contextmanager
def _shared(settings: Settings) -> Iterator[Database]:
    with closing(open_store(settings)) as store:
        yield _of_machines(store.database)


def _of_machines(database: Database) -> Database:
    if database.url.get_backend_name() == "sqlite":
        raise MachineRefused("SQLite database: this store has only one machine")
    return database


@machine.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(given: Path | None, *, as_json: bool) -> None:
    """List the machines, when each was last seen, and how many deliveries it has leased.

    A machine that runs is seen every 3 seconds.
    """
    settings = load(given)
    this = known_node_name(settings)
    with _shared(settings) as database, database.read() as connection:
        now = server_clock(connection) or utc_now()
        leases = leases_of(connection)
        rows = [
            {
                "name": one.name,
                "this": "yes" if one.name == this else "no",
                "lives": "yes" if now - one.seen_at < _LIVES else "no",
                "seen": one.seen_at,
                "leases": leases[one.name],
            }
            for one in all_machines(connection)
        ]
    show_rows(rows, ("name", "this", "lives", "seen", "leases"), as_json=as_json)


@machine.command("retire")
@click.argument("name")
@click.pass_obj
def retire(given: Path | None, name: str) -> None:
    """Forget a machine that is gone for good, and free its leases for the others at once.

    Without it they lapse within half an hour. Refused for a machine seen within half a minute.
    """
    settings = load(given)
    with open_act(settings) as act:
        _of_machines(act.store.database)
        with act.write() as change:
            connection = change.connection
            seen = find_machine(connection, name)
            if seen is None:
                raise MachineRefused(f"{name}: no such machine; see: mssante machine list")
            now = server_clock(connection) or utc_now()
            if now - seen.seen_at < _LIVES or not delete_machine(connection, seen):
                ago = max(round((now - seen.seen_at).total_seconds()), 0)
                raise MachineRefused(
                    f"{name}: still alive, seen {ago} seconds ago: its current deliveries would be "
                    "sent twice; stop it, then try again after 30 seconds"
                )
            freed = release(connection, name, now)
            change.audit("machine.retired", machine=name, leases=freed)
    tell(f"{name} is retired; {freed} leases freed")
