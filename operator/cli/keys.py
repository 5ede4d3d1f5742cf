"""Commands on the encryption keys of bodies."""

from pathlib import Path

import click

from mailstore.sealed.keyring import read_keys, rotate

from ..assembly.clock import utc_now
from ..assembly.storage import keys_file
from ..services.acts import open_act
from ..settings.model import load
from .output import show_rows, tell
from .store import rewrite_all


@click.group()
def keys() -> None:
    """The keys of the bodies on disk."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(given: Path | None, *, as_json: bool) -> None:
    """List the keys by name, the oldest first; never the keys themselves."""
    found = read_keys(keys_file(load(given)))
    rows = [
        {"name": key.id.hex(), "made": key.made, "writes": "yes" if key is found[-1] else "no"}
        for key in found
    ]
    show_rows(rows, ("name", "made", "writes"), as_json=as_json)


@keys.command("rotate")
@click.option("--rewrite", is_flag=True, help="Then encrypt all bodies with it: store rewrite.")
@click.pass_obj
def rotate_(given: Path | None, *, rewrite: bool) -> None:
    """Add a key, which encrypts from now on; a running daemon takes it up at its next message."""
    settings = load(given)
    path = keys_file(settings)
    with open_act(settings) as act:
        key = rotate(path, utc_now())
        act.audit("keys.rotated", key=key.id.hex())
        tell(f"the key {key.id.hex()} writes now; keep a copy of {path} apart from the messages")
        if rewrite:
            rewrite_all(act)
