"""Whether a verified list may take the place of the one in force, and what it means for us.

Pure. A list that passed every check of `whitelist.national.reader` is still refused if it is older
than the active one (DOMAIN §9.6), or if so many domains vanished, or changed the names that speak
for them, that a mistake of its publisher is likelier than the truth (DOMAIN §2.6, §9.12, U7); a
person may overrule the latter, never the former.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Protocol

from whitelist.errors import ListRefused, Reason
from whitelist.national.difference import Difference, summary
from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName


class Summary(Protocol):
    """What the rules need of a list: a `WhiteList` has it, and so has a `history.Version`."""

    @property
    def digest(self) -> str:
        """SHA-256 of its file in hexadecimal."""

    @property
    def generated_at(self) -> datetime:
        """Its `DateDeGeneration`, aware."""

    @property
    def domains(self) -> int:
        """How many domains it lists."""


def decide(
    active: Summary | None,
    candidate: Summary,
    max_shrink: float,
    *,
    accept_shrink: bool,
    found: Difference | None = None,
) -> None:
    """Return if `candidate` may be adopted while `active` is in force; None: none is.

    `max_shrink` is the share of the active list's domains, 0 to 1, that may vanish or change their
    names at once; `found` is what leads from one to the other, without which only the numbers of
    domains are compared. The list in force itself always passes, as does one of the same date
    (DOMAIN §9.6). Raises ListRefused(rollback) for an older one; unless `accept_shrink`,
    ListRefused(shrunk) for one in which more than that share vanished, or that has no domain at
    all, and ListRefused(recertified) for one in which more than that share vanished or changed.
    """
    if active is not None and candidate.digest == active.digest:
        return
    if active is not None and candidate.generated_at < active.generated_at:
        raise ListRefused(
            Reason.ROLLBACK,
            f"generated {candidate.generated_at.isoformat()}, before the list in force "
            f"({active.generated_at.isoformat()}); get the current list from its publisher",
        )
    if accept_shrink:
        return
    if not candidate.domains:
        raise _held_up(Reason.SHRUNK, "it lists no domain at all")
    if active is None:
        return
    lost = len(found.removed) if found else active.domains - candidate.domains
    # As a fraction of what was written: 0.29 * 100 in floating point is less than 29.
    most = Fraction(str(max_shrink)) * active.domains
    if lost > most:
        raise _held_up(
            Reason.SHRUNK,
            f"it lists {candidate.domains} domains and lacks {lost} of the {active.domains} "
            f"of the list in force, and at most {max_shrink * 100:g}% may vanish at once",
        )
    if found and lost + len(found.recertified) > most:
        raise _held_up(
            Reason.RECERTIFIED,
            f"of the {active.domains} domains of the list in force {lost} vanish and "
            f"{len(found.recertified)} have other certificate names, and at most "
            f"{max_shrink * 100:g}% may change at once: {summary(found)}",
        )


def _held_up(reason: Reason, problem: str) -> ListRefused:
    return ListRefused(
        reason,
        f"{problem}; if its publisher confirms this, adopt it with "
        "mssante whitelist refresh --accept-shrink",
    )


class OwnDomainProblem(StrEnum):
    """What is wrong with a domain that we host."""

    UNLISTED = "unlisted"
    OTHER_NAME = "other-name"


@dataclass(frozen=True, slots=True)
class OwnDomainAlarm:
    """A domain of ours for which peers refuse us, or soon will; `detail` is one line."""

    domain: str
    problem: OwnDomainProblem
    detail: str


def own_domains(
    white_list: WhiteList, our_domains: Iterable[str], our_name: DistinguishedName
) -> tuple[OwnDomainAlarm, ...]:
    """Give the alarms, in order of the domain, for the domains we host under `our_name`.

    `our_name` is the subject of the certificate that we show to peers. None means that `white_list`
    lists each domain with it.
    """
    dated = f"the white list of {white_list.generated_at.isoformat()}"
    alarms = []
    for domain in sorted({domain.lower() for domain in our_domains}):
        listed = white_list.names_of(domain)
        if white_list.covers(our_name, domain):
            continue
        if listed:
            names = " and ".join(sorted(map(str, listed)))
            problem, found = OwnDomainProblem.OTHER_NAME, f"lists {domain} with {names}"
        else:
            problem, found = OwnDomainProblem.UNLISTED, f"does not list {domain}"
        detail = (
            f"{dated} {found}, but our certificate is {our_name}: peers refuse our mail for it; "
            "have the entry corrected by the publisher of the list, or stop hosting the domain"
        )
        alarms.append(OwnDomainAlarm(domain, problem, detail))
    return tuple(alarms)
