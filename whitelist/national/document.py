"""Content of a white list: its entries, read from the signed tree.

The schema has no public XSD; this module reads the content of the real list (DOMAIN §2.2): a
generation time, and six children for each domain. Unknown elements are ignored, so that the
publisher may add some (DOMAIN §9.2). An entry with a bad domain or name does not cost the whole
list: the entry is skipped with a warning (DOMAIN §9.10).
"""

import re
import sys
from dataclasses import dataclass
from datetime import datetime

from lxml import etree

from whitelist.errors import InvalidName, ListReason, ListRefused
from whitelist.national.reading_time import CpuLimit
from whitelist.pki.distinguished_name import DistinguishedName

NAMESPACE = "https://listeblanche.mssante.fr/schema"
"""XML namespace of every element of the list."""

MAX_VALUE = 4096
"""Longest value of an element, in characters; the longest real value has 156."""
_CHECK_EVERY = 500  # entries

_ROOT = "ListeBlancheMSSante"
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # fmt: skip
_XML_BLANKS = " \t\r\n\xa0"  # the last is not a blank in XML, but occurs in the list
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?=.*[a-z])({_LABEL})")


@dataclass(frozen=True, slots=True)
class ListEntry:
    """An entry: a domain and a certificate name that may speak for it.

    `domain` is in lower case; `dn_text` is the name as spelled in the list, `name` as parsed; other
    fields are as in the list, without outer white space (`updated_at` is `DateMAJ`).
    """

    domain: str
    dn_text: str
    name: DistinguishedName
    description: str
    responsible_contact: str
    support_contact: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class ListDocument:
    """A parsed white list: entries in the file's order, and a warning for each skipped entry."""

    generated_at: datetime
    entries: tuple[ListEntry, ...]
    warnings: tuple[str, ...]


def read_document(root: etree._Element, cpu_limit: CpuLimit | None = None) -> ListDocument:
    """Parse the signed tree.

    Raises ListRefused(wrong-schema), naming the place, if the root, the generation time or any of
    an entry's six children is missing, in another namespace, or repeated; ListRefused(too-slow) by
    `cpu_limit`. Informative fields are cut to MAX_VALUE characters.
    """
    cpu_limit = cpu_limit or CpuLimit()
    if root.tag != _tag(_ROOT):
        raise _wrong(f"the root is {root.tag}, not {_tag(_ROOT)}")
    generated_at = _instant(_text(root, "DateDeGeneration", "the list"))
    entries: list[ListEntry] = []
    warnings: list[str] = []
    names: dict[str, DistinguishedName] = {}
    domains = _child(root, "ListeDomaines", "the list").iterchildren(_tag("Domaine"))
    for number, element in enumerate(domains, start=1):
        if number % _CHECK_EVERY == 0:
            cpu_limit.check()
        try:
            entries.append(_entry(element, f"entry {number}", names))
        except _SkippedEntry as skipped:
            warnings.append(f"entry {number} skipped: {skipped}")
    return ListDocument(generated_at, tuple(entries), tuple(warnings))


class _SkippedEntry(Exception):
    """An unusable entry; the message names it and says why."""


def _entry(element: etree._Element, where: str, names: dict[str, DistinguishedName]) -> ListEntry:
    """Parse an entry; `names` caches parsed names, since some serve thousands of domains."""
    domain, description, dn_text, responsible, support, updated_at = (
        _text(element, name, where)
        for name in (
            "Nom",
            "Description",
            "DNCertificatOperateur",
            "ResponsableContact",
            "SupportContact",
            "DateMAJ",
        )
    )
    if max(len(domain), len(dn_text)) > MAX_VALUE:
        raise _SkippedEntry(f"Nom or DNCertificatOperateur has more than {MAX_VALUE} characters")
    # ASCII only: lower() would turn look-alikes such as U+212A into letters of a domain.
    if not (domain.isascii() and len(domain) <= 253 and _DOMAIN.fullmatch(domain.lower())):
        raise _SkippedEntry(f"Nom {domain[:300]!r} is not a DNS name")
    if dn_text not in names:
        try:
            names[dn_text] = DistinguishedName.parse(dn_text)
        except InvalidName as error:
            raise _SkippedEntry(f"DNCertificatOperateur of {domain}: {error}") from error
    return ListEntry(
        domain.lower(),
        dn_text,
        names[dn_text],
        *(text[:MAX_VALUE] for text in (description, responsible, support, updated_at)),
    )


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _child(parent: etree._Element, name: str, where: str) -> etree._Element:
    found = list(parent.iterchildren(_tag(name)))
    if len(found) != 1:
        raise _wrong(f"{where} has {len(found)} {name} instead of one")
    return found[0]


def _text(parent: etree._Element, name: str, where: str) -> str:
    element = _child(parent, name, where)
    if len(element):
        raise _wrong(f"{name} of {where} holds markup instead of text")
    # A character more than is kept, so that a cut name is recognised by its length.
    text = (element.text or "").strip(_XML_BLANKS)[: MAX_VALUE + 1]
    # Thousands of entries share their contacts, names and dates: each text is stored once.
    return sys.intern(text)


def _instant(text: str) -> datetime:
    try:
        if _DATE_TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:  # well-formed but no existing date
        pass
    raise _wrong(f"DateDeGeneration {text!r} is not a date and time with a time zone")


def _wrong(problem: str) -> ListRefused:
    return ListRefused(ListReason.WRONG_SCHEMA, f"{problem}; was the schema of the list changed?")
