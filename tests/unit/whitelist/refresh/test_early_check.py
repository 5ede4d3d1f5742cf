"""Early check of the white list: when mail requests it, and not too often."""

from dataclasses import dataclass, field

from whitelist.national.newest import MARGIN
from whitelist.refresh.early_check import EARLY_SECONDS, EarlyCheck

WAIT = MARGIN.total_seconds()


@dataclass
class Asked:
    """Stamp of the file that mail touches to request a check."""

    number: int = 0
    check: EarlyCheck = field(init=False)

    def __post_init__(self) -> None:
        self.check = EarlyCheck(lambda: self.number)

    def ask(self) -> None:
        self.number += 1


def test_nothing_is_checked_unasked() -> None:
    early = Asked(7).check
    early.begun(0)
    assert not any(early.is_due(now) for now in range(0, 4000, 100))


def test_a_check_begins_late_enough_to_decide_about_the_mail_that_asks() -> None:
    asked = Asked()
    asked.check.begun(0)
    asked.ask()
    assert not asked.check.is_due(1000)
    assert not asked.check.is_due(1000 + WAIT)
    assert asked.check.is_due(1001 + WAIT)
    asked.check.begun(1001 + WAIT)
    assert not asked.check.is_due(5000)


def test_checks_of_their_kind_keep_a_distance() -> None:
    asked = Asked()
    asked.check.begun(1000)
    begun = []
    for now in range(1000, 2000):
        asked.ask()  # like a queue full of mistyped domains
        if asked.check.is_due(now):
            asked.check.begun(now)
            begun.append(now)
    distances = [after - before for before, after in zip([1000, *begun], begun, strict=False)]
    assert begun
    assert min(distances) >= EARLY_SECONDS


def test_a_check_that_came_too_soon_is_followed_by_another() -> None:
    asked = Asked()
    asked.check.begun(0)
    asked.ask()
    assert not asked.check.is_due(1000)
    asked.check.begun(1001)  # the regular check: it may have started before the mail's request
    assert not asked.check.is_due(1001 + WAIT)
    assert asked.check.is_due(1001 + EARLY_SECONDS)
