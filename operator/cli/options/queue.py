"""Common options of the queue commands: filters, reason."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Final

import click

from foundation.ids import parse_id
from mailstore.mailboxes.identifiers import MailboxType
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus

Command = Callable[..., None]

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SCOPE: Final = ("domain", "sender", "recipient", "mailbox_type")
_ALL_OR_SOME: Final = "selection missing; add a filter such as --domain, or --all"


class AgeParam(click.ParamType[timedelta]):
    """Option type: number with unit, such as 90s, 30m, 2h, 5d."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse an age."""
        found = re.fullmatch(r"([0-9]{1,6})([smhd])", value, re.ASCII)
        if found is None:
            self.fail(f"{value!r} is not an age; write 90s, 30m, 2h or 5d", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


class PatternParam(click.ParamType[str]):
    """Option type: text with * and ?.  Empty text is refused: an unset variable of a script."""

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged."""
        if not value.strip():
            self.fail(
                "empty value; leave the option out, or write <> for the null sender", param, ctx
            )
        return str(value)


class NumberParam(click.ParamType["int | str"]):
    """Option type: number of a delivery, or identifier of a message."""

    name = "id"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Parse either.  An identifier has 32 digits, a number at most 18."""
        if re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
            return int(value)
        try:
            return parse_id(value)
        except ValueError:
            self.fail(f"{value!r} is not a delivery number and not a message ID", param, ctx)


_SCOPE_OPTIONS: Final = (
    click.option(
        "--domain", type=PatternParam(), help="Destination domain; * and ? as in the shell."
    ),
    click.option("--sender", type=PatternParam(), help="Envelope sender; <> is the null one."),
    click.option("--recipient", type=PatternParam(), help="A recipient that has not got it yet."),
    click.option(
        "--type",
        "mailbox_type",
        type=click.Choice([one.value for one in MailboxType]),
        help="Type of the mailbox that sent it.",
    ),
)
_MORE_OPTIONS: Final = (
    click.option("--older", type=AgeParam(), help="Queued for this long or longer, as 2h or 5d."),
    click.option("--younger", type=AgeParam(), help="Queued for less than this."),
    click.option(
        "--id",
        "numbers",
        type=NumberParam(),
        multiple=True,
        help="Delivery or message; repeatable.",
    ),
    click.option(
        "--state", type=click.Choice([one.value for one in DeliveryStatus]), help="Only these."
    ),
)
_ALL: Final = click.option("--all", "everything", is_flag=True, help="All, whatever it is.")


def _with(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def _check(found: object, nothing: object, *, everything: bool, needed: bool) -> None:
    if everything and found != nothing:
        raise click.UsageError("--all with a filter: remove one of them")
    if needed and not everything and found == nothing:
        raise click.UsageError(_ALL_OR_SOME)


def filtered(*, needed: bool) -> Callable[[Command], Command]:
    """Decorator: add the filter options; the command gets them as `wanted`.

    `needed`: without any filter, and without --all, it is a usage error; for all actions.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(
            *args: Any,
            numbers: tuple[int | str, ...],
            state: str | None,
            everything: bool,
            **rest: Any,
        ) -> None:
            names = (*_SCOPE, "older", "younger")
            wanted = DeliveryFilter(
                **{name: rest.pop(name) for name in names},
                ids=tuple(one for one in numbers if isinstance(one, int)),
                messages=tuple(one for one in numbers if isinstance(one, str)),
                state=None if state is None else DeliveryStatus(state),
            )
            _check(wanted, DeliveryFilter(), everything=everything, needed=needed)
            command(*args, wanted=wanted, **rest)

        return _with(run, (*_SCOPE_OPTIONS, *_MORE_OPTIONS, _ALL))

    return decorate


def scoped(command: Command) -> Command:
    """Decorator: add the filter options that apply to future mail, as `patterns`."""

    @wraps(command)
    def run(*args: Any, everything: bool, **rest: Any) -> None:
        patterns = {name: rest.pop(name) for name in _SCOPE}
        _check(patterns, dict.fromkeys(_SCOPE), everything=everything, needed=True)
        command(*args, patterns=patterns, **rest)

    return _with(run, (*_SCOPE_OPTIONS, _ALL))


def _reason(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    if value is not None and not value.strip():
        raise click.BadParameter("empty value; write a reason")
    return (value or "").strip()


def reasoned(*, required: bool) -> Callable[[Command], Command]:
    """Decorator: option --reason; the command gets it as `reason`, '' if not given."""
    return click.option(
        "--reason",
        required=required,
        callback=_reason,
        help="Why; kept in audit trail and trace journal.",
    )
