"""Adoption rules: may a verified list replace the list in force; alarms about our own domains.

Pure. A list that passed all checks of `whitelist.national.reader` is still refused if it is older
than the list in force (DOMAIN §9.6). The list is also refused if so many domains vanished, or
changed their names, that a mistake of the publisher is likelier than the truth (DOMAIN §2.6, §9.12,
U7). A person may overrule the second refusal, never the first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Protocol

from whitelist.errors import ListReason, ListRefused
from whitelist.national.difference import ListDifference, summary
from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName


class ListSummary(Protocol):
    """Facts of a list that the rules need: a `WhiteList` or an archive `ArchiveRecord` has them."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file in hexadecimal."""

    @property
    def generated_at(self) -> datetime:
        """The list's `DateDeGeneration`, aware."""

    @property
    def domains(self) -> int:
        """Number of domains in the list."""


def decide_adoption(
    active: ListSummary | None,
    candidate: ListSummary,
    max_shrink: float,
    *,
    accept_shrink: bool,
    found: ListDifference | None = None,
) -> None:
    """Return if `candidate` may be adopted while `active` (None: no list) is in force.

    `max_shrink` is the share of the active list's domains, 0 to 1, that may vanish or change their
    names at once. `found` is the difference of the two lists; without it only the numbers of
    domains are compared. The list in force itself always passes, and so does a list of the same
    date (DOMAIN §9.6). Raises ListRefused(rollback) for an older list. Raises, unless
    `accept_shrink`, ListRefused(shrunk) if more than that share vanished or the list has no domain,
    and ListRefused(recertified) if more than that share vanished or changed names.
    """
    if active is not None and candidate.digest == active.digest:
        return
    if active is not None and candidate.generated_at < active.generated_at:
        raise ListRefused(
            ListReason.ROLLBACK,
            f"generated {candidate.generated_at.isoformat()}, before the list in force "
            f"({active.generated_at.isoformat()}); get the current list from its publisher",
        )
    if accept_shrink:
        return
    if not candidate.domains:
        raise _held_up(ListReason.SHRUNK, "it lists no domain at all")
    if active is None:
        return
    vanished = len(found.removed) if found else active.domains - candidate.domains
    # Computed from the decimal text: 0.29 * 100 in floating point is less than 29.
    limit = Fraction(str(max_shrink)) * active.domains
    if vanished > limit:
        raise _held_up(
            ListReason.SHRUNK,
            f"it lists {candidate.domains} domains and lacks {vanished} of the {active.domains} "
            f"of the list in force, and at most {max_shrink * 100:g}% may vanish at once",
        )
    if found and vanished + len(found.recertified) > limit:
        raise _held_up(
            ListReason.RECERTIFIED,
            f"of the {active.domains} domains of the list in force {vanished} vanish and "
            f"{len(found.recertified)} have other certificate names, and at most "
            f"{max_shrink * 100:g}% may change at once: {summary(found)}",
        )


def _held_up(reason: ListReason, problem: str) -> ListRefused:
    return ListRefused(
        reason,
        f"{problem}; if its publisher confirms this, adopt it with "
        "mssante whitelist refresh --accept-shrink",
    )


class OwnDomainProblem(StrEnum):
    """Problem of a domain that we host."""

    UNLISTED = "unlisted"
    OTHER_NAME = "other-name"


@dataclass(frozen=True, slots=True)
class OwnDomainAlarm:
    """A domain of ours for which peers refuse us, or soon will; `detail` is a line of text."""

    domain: str
    problem: OwnDomainProblem
    detail: str


def own_domains(
    white_list: WhiteList, our_domains: Iterable[str], our_name: DistinguishedName
) -> tuple[OwnDomainAlarm, ...]:
    """Return the alarms for the domains we host under `our_name`, sorted by domain.

    `our_name` is the subject of the certificate that we show to peers. No alarm: `white_list` lists
    each domain with this name.
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
