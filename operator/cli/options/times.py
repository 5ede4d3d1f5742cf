"""Option type: time; check of a span of time."""

from datetime import UTC, datetime
from typing import Any

import click


class TimeParam(click.ParamType[datetime]):
    """Option type: time in ISO 8601; without a zone it is UTC."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse a date, or a date and time."""
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r}: expected a date or time as 2026-11-30T14:00", param, ctx)
        return found.replace(tzinfo=found.tzinfo or UTC)


def check_span(since: datetime | None, until: datetime | None) -> None:
    """Refuse a span without any moment: its empty answer would look like "nothing happened"."""
    if since is not None and until is not None and since >= until:
        raise click.UsageError(
            f"--since {since.isoformat()} is not before "
            f"--until {until.isoformat(timespec='seconds')}"
        )
