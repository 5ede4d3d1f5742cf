"""The `mssante` command (DESIGN §4).  Exit codes: 0 done, 1 refused or failed, 2 wrong usage."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mailstore.errors import MailstoreError
from relay.conversation import AttemptFailed
from relay.errors import SmtpError
from whitelist.errors import ArchiveError, CrlRefused, ListRefused, TrustFileError

from . import logs
from .commands import daemon, keys, mail, queue, setup, store, trace, whitelist
from .demo import DemoFailed
from .queue_acts import QueueRefused
from .settings import SettingsError
from .supervisor import DaemonError

_EXPECTED = (
    ArchiveError,
    AttemptFailed,
    CrlRefused,
    DaemonError,
    DemoFailed,
    ListRefused,
    MailstoreError,
    QueueRefused,
    SettingsError,
    SmtpError,
    trace.TraceError,
    TrustFileError,
)


@click.group()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Configuration file; default: ./mssante.toml, then /etc/mssante/mssante.toml.",
)
@click.version_option(package_name="mssante")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Run and steer an MSSanté operator."""
    context.obj = config
    logs.configure("error", "console")


for command in (
    *daemon.COMMANDS,
    *setup.COMMANDS,
    *mail.COMMANDS,
    whitelist.whitelist,
    queue.queue,
    store.store,
    keys.keys,
    trace.trace,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (default: the process's own); an expected error is one line."""
    try:
        cli.main(arguments, prog_name="mssante", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2 if isinstance(error, click.UsageError) else 1)
    except click.Abort:
        sys.exit(1)
    except _EXPECTED as error:
        click.echo(f"mssante: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
