"""The author that a message names, against the peer's certificate (DOMAIN §3.2, §9.18).

Two switches: one for the domains of third operators, and one for our own domains, which no peer may
use as an author's (docs/decisions/0036).  Pure.
"""

from relay.policy.facts import (
    AdmissionFacts,
    AdmissionFinding,
    LocalUser,
    Peer,
    name_of,
    not_listed,
    ok,
)
from relay.policy.header_from import HeaderFromPolicy
from relay.smtp.author_domains import UNREADABLE
from relay.smtp.reply import Reply
from whitelist.pki.name_folding import fold

_MAX_SHOWN = 5  # domains in a reply: a hostile header can name tens of thousands


def foreign_authors(a: AdmissionFacts) -> tuple[str, ...]:
    """Domains in the header From and Sender that the sender may not use, sorted."""
    domains = a.header.from_domains if a.header else frozenset[str]()
    return _not_covered(a, domains)


def seen_authors(a: AdmissionFacts) -> tuple[str, ...]:
    """The same, with the domains that only the names show."""
    header = a.header
    return _not_covered(a, header.from_domains | header.shown_domains if header else frozenset())


def _not_covered(a: AdmissionFacts, domains: frozenset[str]) -> tuple[str, ...]:
    if isinstance(a.origin, LocalUser):
        return tuple(sorted(domains - {a.sender.domain if a.sender else ""}))
    name = a.origin.certificate.subject if a.origin.certificate else None
    if name is None or a.white_list is None:
        return tuple(sorted(domains))
    return tuple(sorted(d for d in domains if not a.white_list.covers(name, d)))


def noted_authors(a: AdmissionFacts) -> tuple[str, ...]:
    """The domains that log and journal note for an accepted message; few."""
    own = a.own_authors if a.policy.own_header_from is not HeaderFromPolicy.OFF else ()
    foreign = foreign_authors(a) if a.policy.header_from is not HeaderFromPolicy.OFF else ()
    return tuple(dict.fromkeys((*own, *(d for d in foreign if d not in a.own_authors))))[
        :_MAX_SHOWN
    ]


def own_header_from(a: AdmissionFacts) -> AdmissionFinding | None:
    """No peer uses one of our domains as author, unless the list or the configuration allows it."""
    policy = a.policy.own_header_from
    if a.header is None or not isinstance(a.origin, Peer) or policy is HeaderFromPolicy.OFF:
        return None
    if None in (a.white_list, a.origin.certificate):
        return None
    if not a.own_authors:
        return ok("own-header-from", "no author's domain is one of ours")
    evidence = f"author domains served here: {', '.join(a.own_authors[:_MAX_SHOWN])}"
    if policy is HeaderFromPolicy.TAG:
        return ok("own-header-from", f'{evidence} (tolerated by own_header_from = "tag")')
    name = a.origin.certificate.subject if a.origin.certificate else None
    if name is not None and fold(name.common_name or "") in a.policy.own_header_from_peers:
        return ok("own-header-from", f"{evidence} (own_header_from_peers names this peer)")
    reply = Reply(
        550, "5.7.1", f"Author domain {a.own_authors[0]} is ours, not listed with your certificate"
    )
    presented = ", ".join([*a.own_authors[:_MAX_SHOWN], *filter(None, [name_of(a)])])
    return not_listed("own-header-from", reply, evidence, presented, final=a.list_final)


def header_from(a: AdmissionFacts) -> AdmissionFinding | None:
    """Each author's domain is listed with the peer's certificate; ours are judged before."""
    if a.header is None or a.policy.header_from is HeaderFromPolicy.OFF:
        return None
    if isinstance(a.origin, Peer) and None in (a.white_list, a.origin.certificate):
        return None
    strangers = tuple(d for d in foreign_authors(a) if d not in a.own_authors)
    if not strangers:
        return ok("header-from", "every author's domain belongs to the sender")
    evidence = f"author domains of others: {', '.join(strangers[:_MAX_SHOWN])}"
    if a.policy.header_from is HeaderFromPolicy.TAG:
        return ok("header-from", f'{evidence} (tolerated by header_from = "tag")')
    local = isinstance(a.origin, LocalUser)
    fault = "not that of your address" if local else "not listed with your certificate"
    reply = Reply(550, "5.7.1", f"Author domain {strangers[0]} is {fault}")
    presented = ", ".join([*strangers[:_MAX_SHOWN], *filter(None, [name_of(a)])])
    # No list says which address our own user has, and no list covers an unreadable author.
    final = local or a.list_final or UNREADABLE in strangers
    return not_listed("header-from", reply, evidence, presented, final=final)
