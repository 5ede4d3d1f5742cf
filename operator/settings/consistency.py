"""Consistency of `[outbound]`: contradictions are refused, doubts are reported.

Two keys that contradict each other are refused if the file has both.  If only one of them is in
the file and the other is a default, the effect is reported as a doubt.
"""

import difflib
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from mailstore.mailboxes.mailboxes import local_domains, resolve
from mailstore.mailboxes.states import MailboxState
from relay.client.connect import ANSWER_SECONDS
from whitelist.national.lookup import WhiteList
from whitelist.pki.name_folding import fold

from .audit import MAIL
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
        "no delay report would be sent before mail is given up",
        equal=False,
    ),
    _Order("retry_first_seconds", "retry_longest_seconds", "each wait would be the longest wait"),
    _Order("probe_first_seconds", "probe_longest_seconds", "each wait would be the longest wait"),
    _Order(
        "destination_concurrency_first",
        "destination_concurrency",
        "each destination would start with the smaller limit",
    ),
    _Order(
        "destination_concurrency",
        "concurrency",
        "a single slow destination could block all other mail",
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
            f"{section.stuck_seconds:g} is below {ANSWER_SECONDS:g} seconds, the time that a peer "
            "has to answer a whole message: a late answer makes a duplicate; "
            f"set {ANSWER_SECONDS:g} or more"
        )
        found.append(("stuck_seconds", problem))
    if section.retry_longest_seconds > section.life_hours * _HOUR:
        problem = (
            f"above outbound.life_hours ({section.life_hours:g}): mail could be given up before "
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
            "domain hosted here: its mail never leaves; remove the route",
        )
        for domain in settings.outbound.routes
        if domain.lower() in here
    ]
    found += _mailbox_doubts(settings, connection, here)
    return [f"{settings.origin}: {key}: {problem}" for key, problem in found]


def _mailbox_doubts(
    settings: Settings, connection: Connection, here: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Doubts about settings that name a mailbox, and about the state of that mailbox."""
    mssante = f"mssante --config {shlex.quote(str(settings.origin))}"
    postmaster = settings.operator.postmaster
    owner = resolve(connection, [postmaster]).get(postmaster) if postmaster else None
    if postmaster and owner is None:
        problem = (
            f"{postmaster} is not a mailbox here: undeliverable DSNs have no reader; run: "
            f"{mssante} mailbox add "
            f"{shlex.quote(postmaster)} --type ORG --finess NUMBER, or set another mailbox"
        )
        yield "operator.postmaster", problem
    if owner is not None and owner.status != MailboxState.ACTIVE:
        remedy = {
            "suspended": f"run: {mssante} mailbox resume {shlex.quote(postmaster)}, or set",
            "deleted": f"run: {mssante} mailbox restore {shlex.quote(postmaster)}, or set",
        }.get(owner.status, "set")
        problem = (
            f"{postmaster} is {owner.status}: undeliverable DSNs and answers to our notices have "
            f"no reader, and no anchor is sent from it; {remedy} another mailbox"
        )
        yield "operator.postmaster", problem
    for place in settings.audit.anchors_to:
        address = place.removeprefix(MAIL)
        if place.startswith(MAIL) and address.rpartition("@")[2].lower() in here:
            problem = (
                f"{address} is hosted here: whoever owns this machine could change the anchors "
                "too; set a mailbox at another operator"
            )
            yield "audit.anchors_to", problem


def doubts_of_list(settings: Settings, white_list: WhiteList) -> list[str]:
    """Doubts by comparison with the white list: routes to domains or CNs that it does not have."""
    section = settings.outbound
    found = [
        (
            f"routes.{domain}",
            "domain not on the white list: no mail is sent there; correct or remove it",
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
            fix = f"did you mean {listed[near[0]]}?" if near else "correct or remove it"
            found.append(
                (f"operator_routes.{cn}", f"CN not on the white list: route never used; {fix}")
            )
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
                problem = f"{host} is in inbound.listen: mail loop; set the host of that operator"
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
