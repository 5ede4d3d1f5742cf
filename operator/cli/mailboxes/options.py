"""Options of the commands on mailboxes: sizes, national identifiers, attributes, reasons."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from mailstore.errors import InvalidAttribute
from mailstore.mailboxes.attributes import LAST_RANK, Attribute, Value, check_reason
from mailstore.mailboxes.identifiers import (
    Identifier,
    IdentifierKind,
    MailboxType,
    identifier_and_structure,
    parse_identifier,
)
from mailstore.mailboxes.usage import parse_size

from ...settings.identifiers import luhn_kinds
from ...settings.model import Settings

Command = Callable[..., None]

KINDS: Final = ("rpps", "adeli", "finess", "siret", "siren", "rpps-rang")


class SizeParam(click.ParamType[int]):
    """Option type: number of octets, plain or with K, M, G or T (powers of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a size."""
        try:
            return parse_size(value)
        except InvalidAttribute as error:
            self.fail(str(error), param, ctx)


class ReasonParam(click.ParamType[str]):
    """Option type: a reason, not empty, without line ends."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 - click's
        """Check a reason. Raises InvalidAttribute."""
        return check_reason(value)


_ATTRIBUTES: Final = (
    click.option("--description", help="Shown in the directory: ORG, APP, CAB. '' takes it away."),
    click.option("--service", help="Service or department: ORG, APP."),
    click.option("--responsible", help="Name of the responsible person: ORG (needed), APP."),
    click.option(
        "--red-list/--no-red-list", default=None, help="Kept out of the public directory, or not."
    ),
    click.option(
        "--rank",
        type=click.IntRange(0, LAST_RANK),
        help="Order among the mailboxes of one holder, 1 first; 0 takes it away.",
    ),
    click.option(
        "--no-reply/--replies", default=None, help="Takes reports alone, or mail too: APP."
    ),
)


def with_attributes(command: Command) -> Command:
    """Decorator: options of attributes; the command gets one keyword for each, None if not given.

    `stated_attributes` reads them.
    """
    for option in reversed(_ATTRIBUTES):
        command = option(command)
    return command


def with_identifiers(command: Command) -> Command:
    """Decorator: an option for each kind of identifier (`KINDS`), and --holder."""
    helps = {
        "rpps": "11 digits: PER, CAB, ORG.",
        "adeli": "9 digits: PER.",
        "finess": "9 characters: ORG, APP; PER beside --rpps.",
        "siret": "14 digits: ORG, APP; PER beside --rpps.",
        "siren": "9 digits: ORG, APP; PER beside --rpps.",
        "rpps-rang": "14 digits, of a liberal practice: ORG, APP; PER beside --rpps.",
    }
    command = click.option(
        "--holder", "holders", multiple=True, help="RPPS of a co-holder; repeatable: CAB."
    )(command)
    for kind in reversed(KINDS):
        command = click.option(f"--{kind}", help=helps[kind])(command)
    return command


def stated_attributes(given: Mapping[str, Any]) -> dict[Attribute, Value]:
    """Take the attributes out of a command's keywords; those not given are absent."""
    found: dict[Attribute, Value] = {}
    for attribute in Attribute:
        value = given[attribute.value]
        if value is not None:
            found[attribute] = None if attribute is Attribute.RANK and value == 0 else value
    return found


def stated_identifiers(
    settings: Settings, kind: MailboxType, given: Mapping[str, Any]
) -> tuple[Identifier, Identifier | None]:
    """Return identifier and structure among a command's keywords.

    A PER mailbox may have a structure beside its RPPS. Raises click.UsageError, InvalidIdentifier.
    """
    luhn = luhn_kinds(settings)
    found = [
        parse_identifier(IdentifierKind(name.upper().replace("-", "_")), value, luhn=luhn)
        for name in KINDS
        if (value := given[name.replace("-", "_")]) is not None
    ]
    chosen = identifier_and_structure(kind, found)
    if chosen is None:
        raise click.UsageError(
            f"give one of {', '.join('--' + k for k in KINDS)}; a PER mailbox may have --rpps and "
            "a structure"
        )
    return chosen


def rpps_of(settings: Settings, values: tuple[str, ...]) -> list[Identifier]:
    """Parse RPPS numbers of co-holders. Raises InvalidIdentifier."""
    luhn = luhn_kinds(settings)
    return [parse_identifier(IdentifierKind.RPPS, value, luhn=luhn) for value in values]


def ask(question: str, refusal: str, *, yes: bool) -> None:
    """Ask before an act that is hard to undo, unless `yes`.

    Raises click.UsageError with the refusal where nobody can answer, click.Abort for a no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{refusal}: say so with --yes")
    click.confirm(question, abort=True)
