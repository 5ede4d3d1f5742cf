"""Rules that hold new mail back until an operator lets it go.  Pure.

A rule has a pattern for each fact that it looks at: `*` stands for any characters, `?` for one, and
case does not matter.  Mail that matches every pattern of a rule is held; one recipient is enough,
since the recipients at a destination go in one delivery.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_WILD: Final = {"*": ".*", "?": "."}


@dataclass(frozen=True, slots=True)
class HoldRule:
    """Patterns, None for what does not matter, and why matching mail is held (never empty)."""

    domain: str | None
    sender: str | None
    recipient: str | None
    mailbox_type: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class NewMail:
    """What rules look at: a delivery that is about to be queued."""

    domain: str
    sender: str
    recipients: Sequence[str]
    mailbox_type: str | None


def reason_to_hold(mail: NewMail, rules: Iterable[HoldRule]) -> str | None:
    """The reason of the first rule that matches, None if none does."""
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
    # Stars in a row say no more than one, and would make the matching slow.
    text = re.sub(r"\*+", "*", pattern)
    return re.compile("".join(_WILD.get(c, re.escape(c)) for c in text), re.IGNORECASE | re.DOTALL)
