"""Commands that set an operator up: init, config, db."""

import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click

from relay import tls
from whitelist.errors import ArchiveError, ListRefused

from .. import bootstrap, file_modes, migrate, outbound_check, runtime
from ..output import show_rows
from ..reference import reference
from ..refresh import Refresher
from ..revision import REVISION
from ..settings import SettingsError, load


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--domain", "domains", multiple=True, help="Domain to host; may be repeated. [a.mssante.fr]"
)
@click.option("--listen", default="127.0.0.1:2525", show_default=True, help="Inbound HOST:PORT.")
@click.option("--admin", default="127.0.0.1:9180", show_default=True, help="Admin HOST:PORT.")
def init(folder: Path, domains: tuple[str, ...], listen: str, admin: str) -> None:
    """Make a complete working operator in FOLDER, with a test IGC-Santé hierarchy of its own."""
    # In a checkout the command is not in the PATH: what is printed must work when it is pasted.
    program = "mssante" if shutil.which("mssante") else sys.argv[0]
    hosted = domains or ("a.mssante.fr",)
    click.echo(bootstrap.init(folder, hosted, listen, admin, now=runtime.clock(), program=program))


@click.group()
def config() -> None:
    """Check or explain the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(given: Path | None, *, as_json: bool) -> None:
    """Check the configuration and everything it names; exit 1 if the daemon could not work.

    DOUBT is what would work, but may not be meant.
    """
    settings = load(given)
    findings = [("configuration", True, f"{settings.origin}: every key understood")]

    def probe(name: str, look: Callable[[], object], fine: str) -> None:
        try:
            look()
        except SettingsError as error:
            findings.append((name, False, str(error)))
        else:
            findings.append((name, True, fine))

    def authorities() -> None:
        trust = runtime.open_trust(settings)
        runtime.open_tls(settings, tls.server_context, trust)

    def white_list() -> None:
        perimeter = runtime.open_perimeter(settings, runtime.open_trust(settings))
        try:
            archive = runtime.open_archive(settings)
            _, _, found = Refresher(settings, archive, perimeter.trust).obtain()
            doubts.extend(outbound_check.doubts_of_list(settings, found))
        except (ArchiveError, ListRefused) as error:
            raise SettingsError(f"{settings.origin}: whitelist: {error}") from error

    probe("certificates", authorities, f"{settings.tls.certificate} with its key, and authorities")

    def storage() -> None:
        with closing(runtime.open_store(settings)) as store, store.database.read() as connection:
            doubts.extend(outbound_check.doubts_of_store(settings, connection))

    doubts = outbound_check.doubts(settings)
    probe("white list", white_list, "the source has a valid list")
    probe("storage", storage, "schema up to date")
    probe("dns", lambda: runtime.make_router(settings), "resolver configured")
    contradictions = outbound_check.contradictions(settings)
    findings += [("outbound", False, text) for text in contradictions]
    if not contradictions:
        findings.append(("outbound", True, "nothing contradicts itself"))
    rows = [{"check": n, "ok": "yes" if ok else "NO", "detail": d} for n, ok, d in findings]
    rows += [{"check": "outbound", "ok": "DOUBT", "detail": text} for text in doubts]
    rows += [{"check": "modes", "ok": "DOUBT", "detail": d} for d in file_modes.doubts(settings)]
    show_rows(rows, ("check", "ok", "detail"), as_json=as_json)
    if not all(ok for _, ok, _ in findings):
        raise SystemExit(1)


@config.command("reference")
def show_reference() -> None:
    """Print every key with its meaning and default."""
    click.echo(reference(), nl=False)


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@click.pass_obj
def upgrade(given: Path | None) -> None:
    """Bring the schema up to this version, and make keys where there are none; mail stays."""
    settings = load(given)
    runtime.storage_folder(settings)
    migrate.upgrade(settings.database_url)
    made = runtime.make_keys(settings)
    if made is not None:
        click.echo(f"made the keys {made}: keep a copy of them apart from the messages")
    click.echo(f"schema is at {migrate.current(settings.database_url)}")


@db.command()
@click.pass_obj
def current(given: Path | None) -> None:
    """Print the schema's revision; exit 1 if it is not the one this version needs."""
    settings = load(given)
    with closing(runtime.open_database(settings)) as database:
        found = database.schema_revision()
    click.echo(found or "no schema yet")
    if found != REVISION:
        raise SystemExit(1)
