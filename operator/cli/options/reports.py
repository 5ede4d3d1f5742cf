"""Options of a sender about DSNs (RFC 3461 §4)."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

from relay.smtp.errors import SyntaxRefused
from relay.smtp.parameters import (
    DsnReturn,
    MailParameters,
    RcptParameters,
    encode_xtext,
    parse_mail_parameters,
    parse_rcpt_parameters,
)

Command = Callable[..., None]


class NotifyParam(click.ParamType[RcptParameters]):
    """Option type: value of NOTIFY= (RFC 3461 §4.1), case-insensitive."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> RcptParameters:
        """Parse the keywords."""
        if " " in value:  # a space would start another parameter
            self.fail(f"{value!r}: separate keywords by commas, without spaces", param, ctx)
        try:
            return parse_rcpt_parameters(f"NOTIFY={value}")
        except SyntaxRefused as error:
            self.fail(f"{value!r}: {error.reply.text}", param, ctx)


class EnvidParam(click.ParamType[str]):
    """Option type: value of ENVID= (RFC 3461 §4.4), given as plain text."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Encode as xtext."""
        try:
            encoded = encode_xtext(value)
            parse_mail_parameters(f"ENVID={encoded}")
        except SyntaxRefused as error:
            self.fail(f"{value!r}: {error.reply.text}", param, ctx)
        return encoded


_OPTIONS: Final = (
    click.option(
        "--notify",
        type=NotifyParam(),
        help="What the sender hears of: never, or some of success,failure,delay. [failure,delay]",
    ),
    click.option(
        "--ret",
        type=click.Choice([one.value.lower() for one in DsnReturn], case_sensitive=False),
        help="What a report of failure gives back: all of it or its header section. [hdrs]",
    ),
    click.option(
        "--envid", type=EnvidParam(), help="Your name for the message, told in its reports."
    ),
)


def reporting(command: Command) -> Command:
    """Decorator: the command gets `parameters` (of MAIL) and `asked` (of each RCPT)."""

    @wraps(command)
    def run(
        *args: Any,
        notify: RcptParameters | None,
        ret: str | None,
        envid: str | None,
        **rest: Any,
    ) -> None:
        parameters = MailParameters(ret=DsnReturn(ret.upper()) if ret else None, envid=envid)
        command(*args, parameters=parameters, asked=notify or RcptParameters(), **rest)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run
