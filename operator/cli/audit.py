"""Commands `mssante audit`: search, verify and export the audit trail; its keys and anchors."""

import email
import email.policy
import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final

import click

from mailstore.audit.anchors import last_anchor, make_anchor
from mailstore.audit.event import Fact, Result
from mailstore.audit.keys import AuditKeys, add_key
from mailstore.audit.rotation import use_newest_key
from mailstore.audit.statement import SignedStatement, find_anchors
from mailstore.audit_reading.export import export
from mailstore.audit_reading.findings import Checked
from mailstore.audit_reading.search import AuditFilter, FoundRow
from mailstore.audit_reading.verify import verify
from mailstore.mailboxes.address import address_key

from ..assembly.clock import utc_now
from ..assembly.people.audit import audit_keys_file, open_audit_keys
from ..errors import OperatorError
from ..services.acts import Act
from ..services.audit import open_desk, require_all, search_rows, show_row
from ..settings.model import Settings, load
from .acting import Acting, acting
from .options.private_file import PrivateFile
from .options.times import TimeParam, check_span
from .output import masked, say, show_record, show_rows, tell

_COLUMNS: Final = ("place", "at", "event", "result", "account", "unix_user", "mailbox", "subject")
_OCTETS: Final = 32  # of a public key
_SLACK: Final = timedelta(days=1)  # between the times of rows and of anchors


class AuditError(OperatorError):
    """Row that does not exist, or a file without anchors."""


class PublicKeyParam(click.ParamType[bytes]):
    """Option type: public key of anchors, 64 hexadecimal digits."""

    name = "hex"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """Decode the key."""
        try:
            found = bytes.fromhex(value)
        except ValueError:
            found = b""
        if len(found) != _OCTETS:
            self.fail(f"{value!r}: expected 64 hexadecimal digits", param, ctx)
        return found


@click.group()
def audit() -> None:
    """The audit trail: who did what to which mailbox, account or message."""


@audit.command("show")
@click.argument("place", metavar="PLACE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def show(given: Path | None, place: str, *, as_json: bool, who: Acting) -> None:
    """Show a row by its place, CHAIN.NUMBER as search prints it."""
    chain, dot, number = place.partition(".")
    if not (dot and chain.isdecimal() and number.isdecimal()):
        raise click.UsageError(f"{place!r} is no place of a row; expected CHAIN.NUMBER, as 1.17")
    with who.open(load(given)) as act:
        found = show_row(act, int(chain), int(number))
    if found is None:
        raise AuditError(f"{place}: no such row; removed at the end of its retention, or never")
    show_record(_record(found), as_json=as_json)


@audit.command("search")
@click.option("--account", help="Login of the account that acted.")
@click.option("--user", "unix_user", help="Unix user behind a command.")
@click.option("--subject", help="Login of the account acted on.")
@click.option("--concerns", help="Login of an account that acted or was acted on.")
@click.option("--mailbox", help="Address of a mailbox.")
@click.option("--message", help="ID of a message.")
@click.option("--event", help="Event, as mailbox.closed; or its noun, as mailbox.")
@click.option("--result", type=click.Choice([one.value for one in Result]))
@click.option("--since", type=TimeParam(), help="First moment.")
@click.option("--until", type=TimeParam(), help="Moment before which.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--after", help="Go on behind this page: the cursor that it ended with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def search_(
    given: Path | None,
    /,
    *,
    limit: int,
    after: str | None,
    as_json: bool,
    who: Acting,
    **wanted: Any,
) -> None:
    """Find rows, the newest first."""
    check_span(wanted["since"], wanted["until"])
    if wanted["mailbox"] is not None:
        wanted["mailbox"] = address_key(wanted["mailbox"])
    told = {name: value for name, value in wanted.items() if value is not None}
    with who.open(load(given)) as act:
        try:
            found = search_rows(act, AuditFilter(**wanted), told, limit=limit, after=after)
        except ValueError:
            raise click.UsageError(f"--after {after!r}: no cursor of a page") from None
    show_rows([_record(one) for one in found], _COLUMNS, as_json=as_json)
    if len(found) == limit and not as_json:
        tell(f"more may follow: --after {found[-1].cursor}", err=True)


@audit.command("verify")
@click.option(
    "--anchors",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with anchors kept elsewhere: lines, a log, or a saved message. Repeatable.",
)
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=PublicKeyParam(),
    help="Public key of the anchors as noted elsewhere, the oldest first; for those of the file.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(1),
    help="Days that rows must have been kept, whatever the configuration says now.",
)
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a line.")
@acting
@click.pass_obj
def verify_(
    given: Path | None,
    files: tuple[Path, ...],
    public_keys: tuple[bytes, ...],
    keep_days: int | None,
    *,
    limit: int,
    as_json: bool,
    who: Acting,
) -> None:
    """Recompute every row, chain and anchor; exit 1 with findings. May run beside the daemon.

    Works with a trail that cannot be written; then nothing but the journal tells that it was run.
    """
    settings = load(given)
    anchors = [one for path in files for one in read_anchors(path)]
    checked = Checked(progress=lambda rows: tell(f"{rows} rows checked", err=True))
    count = 0
    with who.open(settings, without_trail=True) as act:
        require_all(act)
        keys = open_audit_keys(settings)
        kept = timedelta(days=keep_days or settings.audit.keep_days)
        found = verify(
            act.store.database,
            keys,
            checked,
            given=anchors,
            public_keys=public_keys,
            kept_since=utc_now() - kept + _SLACK,
        )
        for finding in found:
            count += 1
            if as_json:
                click.echo(json.dumps(masked(asdict(finding))))
            else:
                say(str(finding))
            if count == limit:
                tell(f"stopped at {limit} findings", err=True)
                break
        if who.given:
            _note(act, "audit.verified", findings=count, rows=checked.rows)
        else:  # run every night
            act.journal.record("audit.verified", findings=count, rows=checked.rows, who=act.name)
    if count:
        raise SystemExit(1)
    if not as_json:
        click.echo(
            f"{checked.chains} chains, {checked.rows} rows, {checked.anchors} anchors: "
            "everything is as it was written"
        )


@audit.command("export")
@click.option("--output", type=PrivateFile(), default="-", help="File. [standard output]")
@acting
@click.pass_obj
def export_(given: Path | None, output: IO[bytes], *, who: Acting) -> None:
    """Write the whole trail as lines of JSON, with digests, for an outsider to recompute.

    Needs no key. With a key file that is missing or wrong, the export leaves no row in the trail.
    """
    with who.open(load(given), without_trail=True) as act:
        require_all(act)
        _note(act, "audit.exported")
        for one in export(act.store.database):
            output.write(f"{json.dumps(one)}\n".encode())
        output.flush()


@audit.command("key")
@click.option("--add", is_flag=True, help="Add a key to the file, for later use.")
@click.option("--use", is_flag=True, help="Seal everything with the newest key of the file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def key(given: Path | None, *, add: bool, use: bool, as_json: bool) -> None:
    """Print the public keys of anchors, the oldest first: note them elsewhere.

    To change keys: --add; then copy the file to every other machine of the store; then --use.
    """
    if add and use:
        raise click.UsageError("first --add, then copy the file to every machine, then --use")
    settings = load(given)
    if add:
        with open_desk(settings) as desk:
            made = add_key(audit_keys_file(settings), utc_now())
            desk.audit("audit.key_added", key=made.name)
        tell("copy the file to every other machine of the store, then: audit key --use", err=True)
    if use:
        _use(settings)
    rows = [
        {"name": one.name, "made": one.made, "public_key": one.public_key.hex()}
        for one in open_audit_keys(settings).all
    ]
    show_rows(rows, ("name", "made", "public_key"), as_json=as_json)


@audit.command("anchor")
@click.pass_obj
def anchor(given: Path | None) -> None:
    """Make an anchor now, if there are new rows, and print the newest; the daemon sends it."""
    with open_desk(load(given)) as desk:
        with desk.store.database.write() as connection:
            make_anchor(connection, desk.trail.keys, utc_now())
        with desk.store.database.read() as connection:
            last = last_anchor(connection)
    if last is None:
        raise AuditError("the audit trail is empty: there is nothing to anchor")
    click.echo(last.signed(desk.trail.keys).line())


def _note(act: Act, event: str, **facts: Fact) -> None:
    """Add a row about this reading; the journal has it in any case."""
    if act.trail is None:
        what = "export" if event == "audit.exported" else "verification"
        tell(f"this {what} is not in the trail: {act.trail_problem}", err=True)
    act.audit(event, **facts)


def read_anchors(path: Path) -> list[SignedStatement]:
    """Anchors of a file: lines behind anything, or a message with an attachment of lines.

    A damaged line, as of a full disk, is reported and left out.  Raises AuditError for a file
    without anchors, OSError.
    """
    octets = path.read_bytes()
    texts = [octets.decode("utf-8", "replace")]
    message = email.message_from_bytes(octets, policy=email.policy.default)
    if message.is_multipart():
        parts = [part.get_payload(decode=True) for part in message.walk()]
        texts = [one.decode("utf-8", "replace") for one in parts if isinstance(one, bytes)]
    found = [find_anchors(text) for text in texts]
    for line in (line for one in found for line in one.damaged):
        tell(f"{path}: line {line} has no whole anchor: left out", err=True)
    anchors = [anchor for one in found for anchor in one.anchors]
    if not anchors:
        raise AuditError(f"{path}: no anchor in it")
    return anchors


def _use(settings: Settings) -> None:
    with open_desk(settings) as desk:
        keys: AuditKeys = desk.trail.keys
        event = desk.event("audit.key_changed", key=keys.newest.name)
        if use_newest_key(desk.store.database, keys, event):
            desk.record(event.event, **event.facts)
            tell(f"the key {keys.newest.name} seals now", err=True)
        else:
            tell("the newest key of the file is in use already", err=True)


def _record(found: FoundRow) -> dict[str, Any]:
    return {"place": f"{found.chain}.{found.seq}", **asdict(found)}
