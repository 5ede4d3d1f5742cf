"""Command `mssante serve`: runs the daemon."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from whitelist.errors import InvalidName

from .. import log_writer, logs
from ..assembly.file_owner import check_user
from ..daemon.start_args import parse_names
from ..daemon.supervisor import Supervisor
from ..settings.model import load


@click.command()
@click.option(
    "--debug-peer",
    "peers",
    multiple=True,
    metavar="DN",
    help="Keep transcripts, without content, of this peer's sessions in the journal; repeatable.",
)
@click.pass_obj
def serve(given: Path | None, peers: tuple[str, ...]) -> None:
    """Run the operator until SIGTERM or Ctrl-C."""
    settings = load(given)
    check_user(settings)
    try:
        names = parse_names(peers)
    except InvalidName as error:
        raise click.BadParameter(str(error), param_hint="--debug-peer") from None
    log_writer.take_over()
    logs.configure(settings.log.level, settings.log.format)
    out = log_writer.LogWriter(log_writer.STANDARD_OUTPUT)

    def announce(addresses: Sequence[str]) -> None:
        out.write(f"mssante listens on {', '.join(addresses)}, admin on {settings.admin.listen}\n")

    asyncio.run(Supervisor(settings, announce, names).run())
