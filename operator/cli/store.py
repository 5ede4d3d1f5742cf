"""Commands on the store of bodies: check, gc, rewrite."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click

from mailstore.blobs.gc import GRACE, collect_garbage, rewrite_blobs
from mailstore.blobs.store import Store
from mailstore.blobs.verify import verify_blobs as check_store
from mailstore.credentials.resealing import reseal_credentials
from mailstore.mail.resealing import reseal_names
from mailstore.messages.row_sealing import sealed_tables
from mailstore.summary_store.resealing import reseal_summaries
from mailstore.teams.resealing import reseal_notes

from ..assembly import store_mark
from ..assembly.clock import utc_now
from ..assembly.database.database_check import TABLES
from ..assembly.storage import compare_clocks, open_store, row_seal
from ..errors import OperatorError
from ..services.acts import Act, open_act
from ..settings.model import load
from .output import masked, say, tell


class ClockApart(OperatorError):
    """Clock of this machine differs too much: young bodies may look old."""


GRACE_HOURS = GRACE / timedelta(hours=1)
_hours = click.FloatRange(min=1)


@contextmanager
def _opened(given: Path | None) -> Iterator[Store]:
    with closing(open_store(load(given))) as store:
        yield store


@click.group()
def store() -> None:
    """The bodies of messages on disk: verify them, free what nobody needs, encrypt anew."""


@store.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a line.")
@click.pass_obj
def check(given: Path | None, *, as_json: bool) -> None:
    """Verify every body and every message against each other; exit 1 with findings.

    May run beside the daemon. A body without a message is a finding only after a day.
    """
    found = False
    with _opened(given) as opened:
        before = utc_now() - GRACE
        for finding in check_store(opened.database, opened.blobs, before, _progress("checked")):
            found = True
            if as_json:
                click.echo(json.dumps(masked(asdict(finding))))
            else:
                say(f"{finding.fault}  {finding.blob}  {finding.detail}")
    if found:
        raise SystemExit(1)
    if not as_json:
        click.echo("all bodies are intact")


@store.command()
@click.option(
    "--older-than",
    "hours",
    default=GRACE_HOURS,
    show_default=True,
    type=_hours,
    help="Hours for which nothing must have needed it.",
)
@click.pass_obj
def gc(given: Path | None, hours: float) -> None:
    """Free bodies that no message needs, as the daemon does by itself every storage.gc_hours."""
    settings = load(given)
    with open_act(settings) as act:
        clocks = compare_clocks(settings, act.store.database)
        if clocks.compare():
            raise ClockApart(f"nothing is freed: {clocks.problem}")
        before = utc_now() - timedelta(hours=hours)
        freed = collect_garbage(act.store.database, act.store.blobs, before)
        act.audit("store.freed", **asdict(freed))
    click.echo(f"freed {freed.messages} messages, {freed.blobs} bodies, {freed.octets} octets")


@store.command("rewrite")
@click.pass_obj
def rewrite_(given: Path | None) -> None:
    """Encrypt with the newest key, and as configured now, what was stored before.

    May run beside the daemon, be broken off, and be started again.
    """
    with open_act(load(given)) as act:
        rewrite_all(act)


def rewrite_all(act: Act) -> None:
    """Rewrite all bodies and print the result.  Raises SystemExit(1) if some failed."""
    done = rewrite_blobs(act.store.blobs, _progress("rewritten"))
    act.audit("store.rewritten", bodies=done.blobs, problems=len(done.problems))
    keys = act.store.blobs.blob_format.keys
    # Bodies whose key is lost must not keep rows from the newest key.
    if keys is not None:
        reseal_credentials(act.store.database, keys)
        seal = row_seal(act.store)
        for reseal in (reseal_summaries, reseal_notes, reseal_names):
            reseal(act.store.database, seal)
        for table in sealed_tables(TABLES, act.store.database):
            table.whole()
    if not done.problems:
        store_mark.reseal(act.store.database, act.store.blobs)
    for problem in done.problems:
        tell(f"mssante: {problem}", err=True)
    click.echo(f"rewrote {done.blobs} bodies")
    if done.problems:
        raise SystemExit(1)


def _progress(done: str) -> Callable[[int], None]:
    return lambda count: tell(f"{count} bodies {done}", err=True)
