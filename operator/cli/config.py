"""Commands to set up an operator: init, config, db."""

import shutil
import sys
from contextlib import closing
from pathlib import Path

import click

from ..assembly import store_mark
from ..assembly.clock import utc_now
from ..assembly.database import migrations
from ..assembly.database.schema_revision import REVISION
from ..assembly.file_owner import check_user
from ..assembly.findings import CheckVerdict
from ..assembly.people.audit import make_audit_keys
from ..assembly.storage import make_keys, open_database, open_store
from ..checks import configuration as config_check
from ..machine.node_name import known_node_name
from ..services.acts import open_recorder
from ..settings.model import Settings, load
from ..settings.reference import reference
from ..setup import install as bootstrap
from .output import show_rows, tell


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--domain", "domains", multiple=True, help="Domain to host; may be repeated. [a.mssante.fr]"
)
@click.option("--listen", default="127.0.0.1:2525", show_default=True, help="Inbound HOST:PORT.")
@click.option("--admin", default="127.0.0.1:9180", show_default=True, help="Admin HOST:PORT.")
def init(folder: Path, domains: tuple[str, ...], listen: str, admin: str) -> None:
    """Make a complete working operator in FOLDER, with a test IGC-Santé hierarchy of its own."""
    # In a checkout the command is not in PATH, but the printed commands must work when pasted.
    program = "mssante" if shutil.which("mssante") else str(Path(sys.argv[0]).absolute())
    hosted = domains or ("a.mssante.fr",)
    click.echo(bootstrap.init(folder, hosted, listen, admin, now=utc_now(), program=program))


@click.group()
def config() -> None:
    """Check or explain the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--strict", is_flag=True, help="Exit 1 for a DOUBT as well.")
@click.pass_obj
def check(given: Path | None, *, as_json: bool, strict: bool) -> None:
    """Check the configuration and everything it names; exit 1 if the daemon would not start.

    NO: serve refuses to start. DOUBT: it starts, but the setting may be a mistake.
    """
    findings = config_check.check(load(given))
    rows = [{"check": one.check, "ok": one.says, "detail": one.detail} for one in findings]
    show_rows(rows, ("check", "ok", "detail"), as_json=as_json)
    bad = {CheckVerdict.NO, CheckVerdict.DOUBT} if strict else {CheckVerdict.NO}
    if any(one.says in bad for one in findings):
        raise SystemExit(1)


@config.command("reference")
def show_reference() -> None:
    """Print every key with its meaning and default."""
    click.echo(reference(), nl=False)


@click.group()
def db() -> None:
    """The database's schema."""


def _machine(settings: Settings) -> str | None:
    """Name of this machine; None before its first start."""
    return known_node_name(settings)


@db.command()
@click.pass_obj
def upgrade(given: Path | None) -> None:
    """Bring the schema up to this version, and make keys where there are none; mail stays."""
    settings = load(given)
    check_user(settings)
    migrations.upgrade(settings.database_url, own=_machine(settings))
    made = make_keys(settings)
    if made is not None:
        with open_recorder(settings) as record:
            record("keys.made", file=str(made))
        tell(f"new key file {made}: keep a copy apart from the messages")
    with closing(open_store(settings, mark=True)) as store:
        store_mark.put_place(store.database, store.blobs)
    audit_keys = make_audit_keys(settings)
    if audit_keys is not None:
        with open_recorder(settings) as record:
            record("audit_keys.made", file=str(audit_keys))
        tell(f"new key file {audit_keys} of the audit trail: keep a copy apart from the database")
    click.echo(f"schema is at {migrations.current(settings.database_url)}")


@db.command()
@click.pass_obj
def current(given: Path | None) -> None:
    """Print the schema's revision; exit 1 if it is not the one this version needs."""
    settings = load(given)
    with closing(open_database(settings)) as database:
        found = database.schema_revision()
    click.echo(found or "no schema yet")
    if found != REVISION:
        raise SystemExit(1)
