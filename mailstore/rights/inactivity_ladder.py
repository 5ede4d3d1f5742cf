"""Steps towards a mailbox that nobody uses: warnings, suspension, deletion (DOMAIN U1.2). Pure.

CNIL asks for the deletion of mailboxes to be organised after a year without a log-in at most, each
after a notice, with a right to object. Steps come one after the other: where the first is late, as
when the ladder is switched on for mailboxes unused for years, so are all others, by the same
distance. So nobody is suspended without all warnings, nor deleted without the time in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class LadderStep(StrEnum):
    """Next step towards a mailbox that nobody uses."""

    WARN = "warn"
    SUSPEND = "suspend"
    DELETE = "delete"  # never by a program


@dataclass(frozen=True, slots=True)
class LadderPolicy:
    """Days without a log-in at which each step is due, in ascending order; one warning at least."""

    warn_days: Sequence[int] = (270, 330)
    suspend_days: int = 365
    delete_days: int = 395

    def after_warning(self, number: int) -> timedelta:
        """Time from a warning (1 is the first) to the step after it."""
        steps = [*self.warn_days, self.suspend_days]
        return timedelta(days=steps[number] - steps[number - 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedFacts:
    """Use of a mailbox. `used_at`: last log-in, resumption or creation.

    `warnings`: number since; `warned_at`: time of the last. `stopped_at`: when it was suspended or
    closed; None for an active one. `kept_until`: until when its holder objects.
    """

    used_at: datetime
    warnings: int = 0
    warned_at: datetime | None = None
    stopped_at: datetime | None = None
    kept_until: datetime | None = None

    @property
    def valid_warnings(self) -> int:
        """Number of warnings since the last use."""
        valid = self.warned_at is not None and self.warned_at > self.used_at
        return self.warnings if valid else 0

    def suspension_after(self, policy: "LadderPolicy", warned_at: datetime) -> datetime:
        """Time of the suspension if the next warning goes at a time, and all others in theirs."""
        sent = policy.warn_days[min(self.valid_warnings, len(policy.warn_days) - 1)]
        nominal = self.used_at + timedelta(days=policy.suspend_days)
        return max(nominal, warned_at + timedelta(days=policy.suspend_days - sent))


@dataclass(frozen=True, slots=True)
class DueStep:
    """A step, and the time from which it may be taken."""

    step: LadderStep
    due: datetime


def next_step(policy: LadderPolicy, facts: UnusedFacts) -> DueStep:
    """Return the next step towards a mailbox that stays unused."""
    step, nominal, earliest = _step(policy, facts)
    times = [facts.used_at + timedelta(days=nominal), earliest, facts.kept_until]
    return DueStep(step, max(one for one in times if one is not None))


def _step(policy: LadderPolicy, facts: UnusedFacts) -> tuple[LadderStep, int, datetime | None]:
    """The step, its day of the plan, and the earliest time after the step before."""
    if facts.stopped_at is not None:
        rest = timedelta(days=policy.delete_days - policy.suspend_days)
        return LadderStep.DELETE, policy.delete_days, facts.stopped_at + rest
    warnings = min(facts.valid_warnings, len(policy.warn_days))  # there may have been more of them
    earliest = None
    if warnings and facts.warned_at is not None:
        earliest = facts.warned_at + policy.after_warning(warnings)
    if warnings < len(policy.warn_days):
        return LadderStep.WARN, policy.warn_days[warnings], earliest
    return LadderStep.SUSPEND, policy.suspend_days, earliest
