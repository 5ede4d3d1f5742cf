"""Findings of `mssante config check`."""

from dataclasses import dataclass
from enum import StrEnum


class CheckVerdict(StrEnum):
    """YES: in order.  NO: `mssante serve` refuses to start.  DOUBT: it starts; maybe a mistake."""

    YES = "yes"
    NO = "NO"
    DOUBT = "DOUBT"


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """Line of the check.  `detail`: file, key and remedy, or a confirmation."""

    check: str
    says: CheckVerdict
    detail: str
