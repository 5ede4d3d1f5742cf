"""Difference of two white lists, in domains and in the names that may speak for them.

Pure. Names are compared as parsed (DOMAIN §9.8): another spelling of a name, or another order of
the entries, is no change. Contacts and descriptions are ignored.
"""

from dataclasses import dataclass

from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName

Names = tuple[DistinguishedName, ...]


@dataclass(frozen=True, slots=True)
class RecertifiedDomain:
    """A domain of both lists with other names; both tuples are in the order of their text."""

    domain: str
    added: Names
    removed: Names


@dataclass(frozen=True, slots=True)
class ListDifference:
    """Domains of only the old or only the new list, and domains with other names; all sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    recertified: tuple[RecertifiedDomain, ...]


def compare_lists(old: WhiteList, new: WhiteList) -> ListDifference:
    """Return the difference from `old` to `new` (DOMAIN §9.12)."""
    before, after = _domains(old), _domains(new)
    changed = [domain for domain in before & after if old.names_of(domain) != new.names_of(domain)]
    return ListDifference(
        added=tuple(sorted(after - before)),
        removed=tuple(sorted(before - after)),
        recertified=tuple(
            RecertifiedDomain(
                domain,
                added=_sorted(new.names_of(domain) - old.names_of(domain)),
                removed=_sorted(old.names_of(domain) - new.names_of(domain)),
            )
            for domain in sorted(changed)
        ),
    )


def summary(found: ListDifference, limit: int = 3) -> str:
    """Describe the `limit` common changes of names, for a person.

    Domains with the same change of names count as a single change, shown with their number and an
    example.
    """
    changes: dict[tuple[Names, Names], list[str]] = {}
    for one in found.recertified:
        changes.setdefault((one.removed, one.added), []).append(one.domain)
    ranked = sorted(changes.items(), key=lambda change: (-len(change[1]), change[1]))
    told = [
        f"{len(domains)} domains such as {domains[0]} {_change(*names)}"
        for names, domains in ranked[:limit]
    ]
    if len(ranked) > limit:
        rest = sum(len(domains) for _, domains in ranked[limit:])
        told.append(f"{rest} domains change in {len(ranked) - limit} other ways")
    return "; ".join(told)


def _change(removed: Names, added: Names) -> str:
    lost, gained = (" and ".join(map(str, names[:3])) for names in (removed, added))
    if not removed:
        return f"gain {gained}"
    return f"change from {lost} to {gained}" if added else f"lose {lost}"


def _domains(white_list: WhiteList) -> set[str]:
    return {entry.domain for entry in white_list.document.entries}


def _sorted(names: frozenset[DistinguishedName]) -> Names:
    return tuple(sorted(names, key=str))
