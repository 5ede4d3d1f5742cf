"""Commands that run: serve and demo."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from .. import demo as demonstration
from .. import logs
from ..settings import load
from ..supervisor import Supervisor


@click.command()
@click.pass_obj
def serve(given: Path | None) -> None:
    """Run the operator until SIGTERM or Ctrl-C."""
    settings = load(given)
    logs.configure(settings.log.level, settings.log.format)

    def announce(addresses: Sequence[str]) -> None:
        click.echo(f"mssante listens on {', '.join(addresses)}, admin on {settings.admin.listen}")

    asyncio.run(Supervisor(settings, announce).run())


@click.command()
def demo() -> None:
    """Two operators exchange a message both ways on loopback and turn intruders away."""
    demonstration.run()


COMMANDS = (serve, demo)
