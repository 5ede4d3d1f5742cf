"""Consistency of `[outbound]`: contradictions are refused, doubts are reported.

Two keys that contradict each other are refused if the file has both.  If only one of them is in
the file and the other is a default, the effect is reported as a doubt.
"""

import difflib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from mailstore.mailboxes.mailboxes import local_domains, resolve
from relay.client.connect import ANSWER_SECONDS
from whitelist.national.lookup import WhiteList
from whitelist.pki.name_folding import fold

from .model import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class _Order:
    """Rule that key `lower` must not exceed key `upper`.

    `effect`: consequence of a violation.  `equal`: whether equal values are allowed.
    """

    lower: str
    upper: str
    effect: str
    equal: bool = True


_ORDERS: Final = (
    _Order(
        "delay_warning_hours",
        "life_hours",
        "no sender would hear that mail is late before it is given up",
        equal=False,
    ),
    _Order("retry_first_seconds", "retry_longest_seconds", "every wait would be the longest"),
    _Order("probe_first_seconds", "probe_longest_seconds", "every wait would be the longest"),
    _Order(
        "destination_concurrency_first",
        "destination_concurrency",
        "every destination would have the lower one from the start",
    ),
    _Order(
        "destination_concurrency",
        "concurrency",
        "one destination that is slow would have all places, and nothing else would leave",
    ),
)
_HOUR: Final = 3600


def check_outbound(settings: Settings) -> None:
    """Refuse contradictions.  Raises SettingsError with file, key and remedy."""
    for problem in contradictions(settings):
        raise SettingsError(problem)


def contradictions(settings: Settings) -> list[str]:
    """Contradictions in the file, one line each with file, key and remedy."""
    return _lines(settings, list(_contradictions(settings)))


def doubts(settings: Settings) -> list[str]:
    """Doubts about the file, one line each with file, key and remedy."""
    section = settings.outbound
    found = [(one.lower, text) for one, text in _disorders(settings) if not _both(settings, one)]
    if section.stuck_seconds < ANSWER_SECONDS:
        problem = (
            f"{section.stuck_seconds:g} is below the {ANSWER_SECONDS:g} seconds that a peer has to "
            "answer a whole message: what it takes later is sent again and arrives twice; "
            f"give {ANSWER_SECONDS:g} or more"
        )
        found.append(("stuck_seconds", problem))
    if section.retry_longest_seconds > section.life_hours * _HOUR:
        problem = (
            f"above outbound.life_hours ({section.life_hours:g}): mail would be given up before "
            "its next attempt; lower it"
        )
        found.append(("retry_longest_seconds", problem))
    return _lines(settings, found)


def doubts_of_store(settings: Settings, connection: Connection) -> list[str]:
    """Doubts by comparison with our domains and mailboxes in the database."""
    here = local_domains(connection)
    found = [
        (
            f"outbound.routes.{domain}",
            "we host this domain, its mail never leaves; remove the route",
        )
        for domain in settings.outbound.routes
        if domain.lower() in here
    ]
    postmaster = settings.operator.postmaster
    if postmaster and not resolve(connection, [postmaster]):
        problem = (
            f"{postmaster} is no mailbox here: nobody hears of reports that cannot be given to "
            f"senders; run: mssante --config {shlex.quote(str(settings.origin))} mailbox add "
            f"{shlex.quote(postmaster)} --type ORG --finess NUMBER, or name another one"
        )
        found.append(("operator.postmaster", problem))
    return [f"{settings.origin}: {key}: {problem}" for key, problem in found]


def doubts_of_list(settings: Settings, white_list: WhiteList) -> list[str]:
    """Doubts by comparison with the white list: routes to domains or CNs that it does not have."""
    section = settings.outbound
    found = [
        (
            f"routes.{domain}",
            "not on the white list: nothing is sent there; correct it or remove it",
        )
        for domain in section.routes
        if not white_list.names_of(domain)
    ]
    listed = {
        fold(entry.name.common_name): entry.name.common_name
        for entry in white_list.document.entries
        if entry.name.common_name
    }
    for cn in section.operator_routes:
        if fold(cn) not in listed:
            near = difflib.get_close_matches(fold(cn), listed, n=1)
            fix = f"did you mean {listed[near[0]]}?" if near else "correct it or remove it"
            found.append((f"operator_routes.{cn}", f"no CN of the white list: never used; {fix}"))
    return _lines(settings, found)


def _lines(settings: Settings, found: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{settings.origin}: outbound.{key}: {problem}" for key, problem in found]


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    for one, text in _disorders(settings):
        if _both(settings, one):
            yield one.lower, text
    section = settings.outbound
    for table, routes in (
        ("routes", section.routes),
        ("operator_routes", section.operator_routes),
    ):
        for name, hosts in routes.items():
            for host in set(hosts) & set(settings.inbound.listen):
                problem = (
                    f"{host} is in inbound.listen: mail would come back to us; name their host"
                )
                yield f"{table}.{name}", problem


def _disorders(settings: Settings) -> Iterator[tuple[_Order, str]]:
    section = settings.outbound
    for one in _ORDERS:
        lower, upper = getattr(section, one.lower), getattr(section, one.upper)
        if lower > upper or (lower == upper and not one.equal):
            relation = "above" if one.equal else "not below"
            problem = (
                f"{lower:g} is {relation} outbound.{one.upper} ({upper:g}): {one.effect}; "
                f"lower it, or raise outbound.{one.upper}"
            )
            yield one, problem


def _both(settings: Settings, one: _Order) -> bool:
    return {one.lower, one.upper} <= settings.outbound.model_fields_set
