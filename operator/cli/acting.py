"""Option --as: an account that proves itself acts, instead of the Unix user.

The Unix user behind the command is in the audit trail in both cases.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import IO, Any, Final

import click

from mailstore.credentials.totp import parse_code

from ..assembly.storage import open_store
from ..services.acts import Act, Reader, log_in, open_act
from ..settings.model import Settings

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Acting:
    """Account that acts; None: the Unix user.  `password`: file with it, None for a terminal.

    `code`: of an authenticator app; None: it is with the password, or there is none.

    `reason`: why an administrator reads content; None where it was not given.
    """

    login: str | None
    code: str | None
    password: IO[str] | None
    reason: str | None = None

    @property
    def given(self) -> bool:
        """True if any of its options was given."""
        return self.login is not None or self.reason is not None

    @contextmanager
    def open(self, settings: Settings, *, without_trail: bool = False) -> Iterator[Act]:
        """Open an act.  Raises SettingsError, LoginRefused, UsageError without a password.

        `without_trail`: an act that only reads is opened even if the trail cannot be written.
        """
        with open_act(settings, without_trail=without_trail) as act:
            if self.login is None:
                yield act
            else:
                yield log_in(act, settings, self.login, *self._secrets())

    @contextmanager
    def look(self, settings: Settings) -> Iterator[Reader]:
        """Open the store to read it.  Raises as `open`; the Unix user opens the store alone."""
        if self.login is None:
            with closing(open_store(settings)) as store:
                yield Reader(store)
        else:
            with self.open(settings) as act:
                yield Reader(act.store, act)

    def _secrets(self) -> tuple[str, str | None]:
        """The password, and the code if there is one."""
        if self.password is not None:
            password, code = (self.password.readline().rstrip("\r\n") for _ in range(2))
            return password, self.code or code or None
        if not sys.stdin.isatty():
            raise click.UsageError("--as needs a password: give --password-file, or a terminal")
        typed: str = click.prompt(f"Password of {self.login}", hide_input=True, err=True)
        if self.code is not None:
            return typed, self.code
        code = click.prompt(
            "Code, if the account has one", default="", show_default=False, err=True
        )
        return typed, code or None


def _check_code(text: str | None) -> None:
    # Arguments can be read by every user of the machine: such a code is worthless in a minute.
    if text is not None and parse_code(text) is None:
        raise click.UsageError(
            "--code takes the 6 digits of an app; a recovery code is the second line of "
            "--password-file, or is typed"
        )


_OPTIONS: Final = (
    click.option("--as", "as_login", metavar="LOGIN", help="Account that acts. [the Unix user]"),
    click.option("--code", "as_code", help="Code of the account's authenticator app."),
    click.option(
        "--password-file",
        "as_password",
        type=click.File("r", encoding="utf-8"),
        help="File with the account's password, and in the second line a code if there is one; "
        "- for standard input.",
    ),
)


def acting(command: Command) -> Command:
    """Decorator: options --as, --code, --password-file; the command gets an Acting as `who`."""

    @wraps(command)
    def run(
        *args: Any,
        as_login: str | None,
        as_code: str | None,
        as_password: IO[str] | None,
        as_reason: str | None = None,
        **rest: Any,
    ) -> None:
        if as_login is None and (as_code is not None or as_password is not None):
            raise click.UsageError("--code and --password-file go with --as")
        _check_code(as_code)
        command(*args, who=Acting(as_login, as_code, as_password, as_reason), **rest)

    wrapped: Command = run
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def reading(command: Command) -> Command:
    """Decorator: the options of `acting`, and --reason for a break-glass access."""
    return click.option(
        "--reason",
        "as_reason",
        help="Why an administrator reads it; audited, and the holder is told.",
    )(acting(command))
