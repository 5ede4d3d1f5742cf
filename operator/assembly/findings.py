"""What `mssante config check` finds: a verdict for each thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Says(StrEnum):
    """YES: in order.  NO: `mssante serve` refuses it.  DOUBT: it starts, meant or not."""

    YES = "yes"
    NO = "NO"
    DOUBT = "DOUBT"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check; `detail` names file, key and what to do, or what is in order."""

    check: str
    says: Says
    detail: str
