"""Hold rules: new mail that matches is held until an operator releases it.  Pure.

A rule has a pattern for each fact: `*` matches any characters, `?` one character; case does not
matter.  Mail is held if it matches every pattern of a rule.  One matching recipient is enough,
because all recipients at a destination share one delivery.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_WILD: Final = {"*": ".*", "?": "."}


@dataclass(frozen=True, slots=True)
class HoldRule:
    """Patterns (None matches everything), and the reason for the hold (never empty)."""

    domain: str | None
    sender: str | None
    recipient: str | None
    mailbox_type: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class NewMail:
    """Facts for the rules: a delivery about to be queued."""

    domain: str
    sender: str
    recipients: Sequence[str]
    mailbox_type: str | None


def reason_to_hold(mail: NewMail, rules: Iterable[HoldRule]) -> str | None:
    """Return the reason of the first rule that matches, or None."""
    return next((rule.reason for rule in rules if _matches(rule, mail)), None)


def _matches(rule: HoldRule, mail: NewMail) -> bool:
    return (
        _fits(rule.domain, [mail.domain])
        and _fits(rule.sender, [mail.sender])
        and _fits(rule.mailbox_type, [mail.mailbox_type or ""])
        and _fits(rule.recipient, mail.recipients)
    )


def _fits(pattern: str | None, values: Iterable[str]) -> bool:
    return pattern is None or any(_compiled(pattern).fullmatch(value) for value in values)


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    # `**` means the same as `*`, and would make the match slow.
    text = re.sub(r"\*+", "*", pattern)
    return re.compile("".join(_WILD.get(c, re.escape(c)) for c in text), re.IGNORECASE | re.DOTALL)
