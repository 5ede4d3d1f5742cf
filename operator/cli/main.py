"""Command `mssante` (docs/commands.md). Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

Only the module of the given command is imported: loading all libraries takes longer than most
commands take to run.
"""

import gc
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import EIO, ENOSPC, EPIPE
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn, cast

import click

from foundation.visible_text import safe
from mailstore.errors import MailstoreError
from relay.smtp.errors import AttemptFailed, SmtpError
from whitelist.errors import ArchiveError, CrlRefused, ListRefused, TrustFileError

from .. import logs
from ..errors import OperatorError
from ..log_writer import hold_standard_descriptors, hush

_EXPECTED = (
    ArchiveError,
    AttemptFailed,
    CrlRefused,
    ListRefused,
    MailstoreError,
    OperatorError,
    SmtpError,
    TrustFileError,
)

# Errors of standard output: no reader, disk full, I/O error.  Errors of our files have a file name.
_OF_OUTPUT: Final = (EPIPE, ENOSPC, EIO)

# Command to module; the module has the command under the same name.
_MODULES: Final = {
    "account": "people.account",
    "audit": "audit",
    "break-glass": "rights.break_glass",
    "config": "config",
    "credential": "people.credential",
    "db": "config",
    "demo": "demo",
    "domain": "mailboxes.domain",
    "grant": "rights.grant",
    "init": "config",
    "keys": "keys",
    "machine": "machine",
    "mailbox": "mailboxes.mailbox",
    "message": "mailboxes.message",
    "queue": "desk.queue",
    "report": "rights.report",
    "role": "rights.role",
    "search": "desk.search",
    "serve": "serve",
    "store": "store",
    "team": "rights.team",
    "tenant": "people.tenant",
    "trace": "desk.trace",
    "whitelist": "whitelist",
}


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector: objects made by an import stay, and each pass costs time."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


class _Commands(click.Group):
    """Click group that loads commands from `_MODULES` on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Names of all commands, sorted."""
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load and return a command; None if the name is unknown."""
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        with _uncollected():
            module = import_module(f".{_MODULES[cmd_name]}", __package__)
            gc.freeze()  # the passes at the end of the process would look at all of it again
        return cast("click.Command", getattr(module, cmd_name.replace("-", "_")))


@click.group(cls=_Commands)
@click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # `model.find` names the owner in its error
    help="Configuration file; default: ./mssante.toml, then /etc/mssante/mssante.toml.",
)
@click.version_option(package_name="mssante")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Run and steer an MSSanté operator."""
    context.obj = config
    logs.configure("error", "console")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, by default the process's own.  An expected error prints one line.

    umask 077: files of the commands and the daemon are readable by their user only.
    """
    before = os.umask(0o077)
    hold_standard_descriptors()
    try:
        cli.main(arguments, prog_name="mssante", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        with suppress(OSError):  # the exit code is enough
            click.echo(safe(shown.getvalue()), nl=False, err=True)
        sys.exit(2 if isinstance(error, click.UsageError) else 1)
    except click.Abort:
        sys.exit(1)
    except _EXPECTED as error:
        _complain(str(error))
    except UnicodeEncodeError as error:
        # An argument in Latin-1, for example, fits in no database, file or message.
        _complain(f"{error.object!a} is not UTF-8; write it in UTF-8, or without accents")
    except OSError as error:
        _complain(_said(error))
    finally:
        os.umask(before)


def _said(error: OSError) -> str:
    """Message for an error of a file or of the output; empty if the output has no reader."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if error.errno not in _OF_OUTPUT:
        return str(error)
    hush(sys.stdout)
    return "" if error.errno == EPIPE else f"output cannot be written: {error.strerror}"


def _complain(text: str) -> NoReturn:
    """Print an error line unless `text` is empty, as in `… | head`; exit with code 1."""
    if text:
        with suppress(OSError):
            click.echo(f"mssante: {safe(text)}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
