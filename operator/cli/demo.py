"""Command `mssante demo`."""

import click

from ..setup import demo as demonstration


@click.command()
def demo() -> None:
    """Two operators exchange a message both ways on loopback and turn intruders away."""
    demonstration.run()
