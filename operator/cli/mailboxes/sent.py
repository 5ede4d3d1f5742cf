"""Command `mssante mailbox sent`: what mailboxes sent, and refusals by the limits of sending."""

from datetime import timedelta
from pathlib import Path

import click

from mailstore.mailboxes.sent_counts import list_sending

from ...assembly.clock import utc_now
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows

_COLUMNS = ("address", "type", "hour", "messages", "recipients", "refused")


@click.command("sent")
@click.option("--hours", default=2, show_default=True, type=click.IntRange(1, 48))
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def sent(given: Path | None, hours: int, limit: int, who: Acting, *, as_json: bool) -> None:
    """List messages and recipients of mailboxes that send, by hour (UTC), over the last hours.

    Mailboxes that a limit of [sending] stopped come first, then those with most recipients.
    """
    since = utc_now() - timedelta(hours=hours - 1)
    with who.look(load(given)) as reader, reader.read() as seen:
        rows = [one._asdict() for one in list_sending(seen.connection, since, limit, seen.scope())]
    show_rows(rows, _COLUMNS, as_json=as_json)
