"""The content of a white list: its entries, as the signed tree gives them.

The schema has no public XSD; this reads what the real list holds (DOMAIN §2.2): one generation
time, and for each domain six children. Elements that are not known are ignored, so that the
publisher may add some (DOMAIN §9.2). One entry with a bad domain or name does not cost the whole
list: it is skipped and named in a warning (DOMAIN §9.10).
"""

import re
import sys
from dataclasses import dataclass
from datetime import datetime

from lxml import etree

from whitelist.errors import InvalidName, ListRefused, Reason
from whitelist.national.reading_time import Patience
from whitelist.pki.distinguished_name import DistinguishedName

NAMESPACE = "https://listeblanche.mssante.fr/schema"
"""XML namespace of every element of the list."""

MAX_VALUE = 4096
"""Longest value of an element, in characters; the longest real one has 156."""
_CHECK_EVERY = 500  # entries

_ROOT = "ListeBlancheMSSante"
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # fmt: skip
_XML_BLANKS = " \t\r\n\xa0"  # the last is not XML's but the list's own
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?=.*[a-z])({_LABEL})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: a domain and a certificate name that may speak for it.

    `domain` is in lower case; `dn_text` is the name as the list spells it and `name` as parsed;
    the rest is as in the list, without outer white space (`updated_at` is its `DateMAJ`).
    """

    domain: str
    dn_text: str
    name: DistinguishedName
    description: str
    responsible_contact: str
    support_contact: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Document:
    """A white list as read: entries in the order of the file, and what was skipped."""

    generated_at: datetime
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]


def read_document(root: etree._Element, patience: Patience | None = None) -> Document:
    """Read the signed tree.

    Raises ListRefused(wrong-schema), naming the place, if the root, the generation time or one of
    an entry's six children is missing, in another namespace, or there twice; and
    ListRefused(too-slow) by `patience`.  Of what only informs, MAX_VALUE characters are kept.
    """
    patience = patience or Patience()
    if root.tag != _tag(_ROOT):
        raise _wrong(f"the root is {root.tag}, not {_tag(_ROOT)}")
    generated_at = _instant(_text(root, "DateDeGeneration", "the list"))
    entries: list[Entry] = []
    warnings: list[str] = []
    names: dict[str, DistinguishedName] = {}
    domains = _child(root, "ListeDomaines", "the list").iterchildren(_tag("Domaine"))
    for number, element in enumerate(domains, start=1):
        if number % _CHECK_EVERY == 0:
            patience.check()
        try:
            entries.append(_entry(element, f"entry {number}", names))
        except _Skipped as skipped:
            warnings.append(f"entry {number} skipped: {skipped}")
    return Document(generated_at, tuple(entries), tuple(warnings))


class _Skipped(Exception):
    """An entry that cannot be used; the message names it and says why."""


def _entry(element: etree._Element, where: str, names: dict[str, DistinguishedName]) -> Entry:
    """Read one entry; `names` keeps parsed names, since some serve thousands of domains."""
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
        raise _Skipped(f"Nom or DNCertificatOperateur has more than {MAX_VALUE} characters")
    # ASCII only, else lower() would turn look-alikes such as U+212A into letters of a domain.
    if not (domain.isascii() and len(domain) <= 253 and _DOMAIN.fullmatch(domain.lower())):
        raise _Skipped(f"Nom {domain[:300]!r} is not a DNS name")
    if dn_text not in names:
        try:
            names[dn_text] = DistinguishedName.parse(dn_text)
        except InvalidName as error:
            raise _Skipped(f"DNCertificatOperateur of {domain}: {error}") from error
    return Entry(
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
    # One more than is kept, so that a name that was cut can be told from one that was not.
    text = (element.text or "").strip(_XML_BLANKS)[: MAX_VALUE + 1]
    # Thousands of entries share their contacts, names and dates: one copy of each is kept.
    return sys.intern(text)


def _instant(text: str) -> datetime:
    try:
        if _DATE_TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:  # a well-written date that does not exist: as bad as one badly written
        pass
    raise _wrong(f"DateDeGeneration {text!r} is not a date and time with a time zone")


def _wrong(problem: str) -> ListRefused:
    return ListRefused(Reason.WRONG_SCHEMA, f"{problem}; was the schema of the list changed?")
