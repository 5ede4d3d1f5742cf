"""Options of the commands on rights: periods, rights, and the account or group that gets them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import click

from mailstore.accounts.groups import get_group
from mailstore.rights.grants import Grantee
from mailstore.rights.model import Period, Right

from ...services.permission import Permission

Command = Callable[..., None]

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ONE_DAY: Final = timedelta(days=1)


class MomentParam(click.ParamType[datetime]):
    """Option type: a day in UTC, or an ISO 8601 time with its zone.

    `last`: the day is the last one of a period, so the period ends at its end.
    """

    name = "day or time"

    def __init__(self, *, last: bool = False) -> None:
        self._last = last

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse a moment; an aware datetime."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day (2027-01-31) or a time (…T12:00Z)", param, ctx)
        if _DAY.fullmatch(value):
            begin = datetime.combine(found.date(), time(), UTC)
            return begin + _ONE_DAY if self._last else begin
        if found.tzinfo is None:
            self.fail(f"{value!r} has no time zone: add Z or +01:00", param, ctx)
        return found


_PERIOD: Final = (
    click.option("--from", "begins", type=MomentParam(), help="First day, or time. [now]"),
    click.option(
        "--until", "ends", type=MomentParam(last=True), help="Last day, or time of the end. [none]"
    ),
)


def with_period(command: Command) -> Command:
    """Decorator: options --from and --until; the command gets `begins` and `ends`, or None."""
    for option in reversed(_PERIOD):
        command = option(command)
    return command


def period(begins: datetime | None, ends: datetime | None, now: datetime) -> Period:
    """Return the period of these options."""
    return Period(begins or now, ends)


def rights_of(names: tuple[str, ...]) -> frozenset[Right]:
    """Return the rights of the option --right."""
    return frozenset(map(Right, names))


def find_grantee(
    seen: Permission, account: str | None, group: str | None, tenant_id: int
) -> Grantee:
    """Find the account, or the group of the mailbox's tenant.  Raises NotFound, UsageError."""
    if (account is None) == (group is None):
        raise click.UsageError("give either --account or --group")
    if group is not None:
        found = get_group(seen.connection, tenant_id, group)
        return Grantee(found.id, found.name, found.tenant_id, group=True)
    person = seen.known_account(account or "")
    return Grantee(person.id, person.login, person.tenant_id)
