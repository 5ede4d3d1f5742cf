"""Queries to a verified white list, such as the names that may speak for a domain.

Domains match exactly, in any letter case, never by suffix or wildcard (DOMAIN §9.11); names match
as parsed (`whitelist.pki.distinguished_name`). A domain may have several names and a name thousands
of domains (DOMAIN §9.7, §9.20). A list is immutable: a newer list replaces it as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Self

from whitelist.national.document import ListDocument, ListEntry
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import CertificateFacts

_NOTHING: Mapping[DistinguishedName, ListEntry] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WhiteList:
    """A verified list, indexed both ways; `digest` is the SHA-256 of its file in hexadecimal.

    With `loose_department`, names that differ only by the blank in `Paris (75)` are equal.
    """

    document: ListDocument
    signer: CertificateFacts
    digest: str
    loose_department: bool
    _by_domain: Mapping[str, Mapping[DistinguishedName, ListEntry]] = field(repr=False)
    _by_name: Mapping[DistinguishedName, frozenset[str]] = field(repr=False)

    @classmethod
    def build(
        cls,
        document: ListDocument,
        signer: CertificateFacts,
        digest: str,
        *,
        loose_department: bool = False,
    ) -> Self:
        """Index a document; of entries with the same domain and name, the first is kept."""
        by_domain: dict[str, dict[DistinguishedName, ListEntry]] = {}
        by_name: dict[DistinguishedName, set[str]] = {}
        for entry in document.entries:
            name = entry.name.with_loose_department() if loose_department else entry.name
            by_domain.setdefault(entry.domain, {}).setdefault(name, entry)
            by_name.setdefault(name, set()).add(entry.domain)
        frozen = {name: frozenset(domains) for name, domains in by_name.items()}
        return cls(document, signer, digest, loose_department, by_domain, frozen)

    @property
    def generated_at(self) -> datetime:
        """Time of generation by the publisher (aware)."""
        return self.document.generated_at

    @property
    def warnings(self) -> tuple[str, ...]:
        """Skipped parts of the file, a line each."""
        return self.document.warnings

    @property
    def entries(self) -> int:
        """Number of used entries, repeated entries included."""
        return len(self.document.entries)

    @property
    def domains(self) -> int:
        """Number of listed domains."""
        return len(self._by_domain)

    @property
    def dn_strings(self) -> int:
        """Number of different spellings of certificate names in the file."""
        return len({entry.dn_text for entry in self.document.entries})

    @property
    def names(self) -> int:
        """Number of listed certificate names; spellings of the same name count once."""
        return len(self._by_name)

    def names_of(self, domain: str) -> frozenset[DistinguishedName]:
        """Return the certificate names that may speak for `domain`; empty if it is not listed."""
        return frozenset(self._entries_of(domain))

    def lists(self, name: DistinguishedName) -> bool:
        """True if `name` is listed for any domain."""
        return self._key(name) in self._by_name

    def covers(self, name: DistinguishedName, domain: str) -> bool:
        """True if `name` may speak for `domain`."""
        return self._key(name) in self._entries_of(domain)

    def domains_of(self, name: DistinguishedName) -> frozenset[str]:
        """Return the domains, in lower case, for which `name` may speak."""
        return self._by_name.get(self._key(name), frozenset())

    def entry_for(self, name: DistinguishedName, domain: str) -> ListEntry | None:
        """Return the entry by which `name` may speak for `domain`, as evidence; None without."""
        return self._entries_of(domain).get(self._key(name))

    def _key(self, name: DistinguishedName) -> DistinguishedName:
        return name.with_loose_department() if self.loose_department else name

    def _entries_of(self, domain: str) -> Mapping[DistinguishedName, ListEntry]:
        # lower() turns some look-alikes into ASCII letters (U+212A into k): these never match.
        return self._by_domain.get(domain.lower(), _NOTHING) if domain.isascii() else _NOTHING
