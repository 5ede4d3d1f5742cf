"""Addresses of mailboxes: allowed forms, and equality of spellings.

Our addresses are dot-atoms (RFC 5321 §4.1.2), optionally UTF-8 (RFC 6531 §3.3), on an ASCII domain.
Case is never significant, not even in the local part: RFC 5321 §2.4 leaves this to the host of the
mailbox, and no two BAL may differ by case alone.
"""

import re
import unicodedata
from dataclasses import dataclass

from mailstore.errors import InvalidAddress

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# atext of RFC 5322 §3.2.3, and UTF8-non-ascii of RFC 6531 §3.3 without the C1 controls, the spaces
# beyond ASCII and the surrogates, which people can neither type nor see.
_INVISIBLE = r"\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ud800-\udfff"
_ATOM = rf"(?:[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]|[^\x00-\xa0{_INVISIBLE}])+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")


@dataclass(frozen=True, slots=True)
class MailboxAddress:
    """A mailbox address: the local part as given, the domain in lower case."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"

    @property
    def key(self) -> str:
        """The spelling that is the same for equal addresses: NFC, lower case."""
        return address_key(str(self))


def address_key(address: str) -> str:
    """Fold any address, well-formed or not, to the spelling used for mailbox lookup.

    Needless quotes around a local part are removed (RFC 5321 §4.1.2). The key of a key is itself:
    some letters, as T with a diaeresis, have a composed form in lower case alone.
    """
    local_part, _, domain = address.rpartition("@")
    if len(local_part) > 2 and local_part[0] == local_part[-1] == '"':
        bare = re.sub(r"\\(.)", r"\1", local_part[1:-1])
        local_part = bare if _DOT_ATOM.fullmatch(bare) else local_part
    text = f"{local_part}@{domain}"
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def parse_domain(text: str) -> str:
    """Return the domain in lower case. Raises InvalidAddress unless it is an ASCII DNS name."""
    domain = text.strip().lower()
    if len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        raise InvalidAddress(
            f"{text!r} is not a domain: expected a DNS name such as hopital.mssante.fr"
            " (an internationalised one in its xn-- form)"
        )
    return domain


def parse_mailbox_address(text: str) -> MailboxAddress:
    """Parse the address of a new mailbox. Raises InvalidAddress, naming the wrong part.

    Lengths are those of RFC 5321 §4.5.3.1: 64 octets of local part, 254 in all.
    """
    local_part, at, domain = text.strip().rpartition("@")
    if not at:
        raise InvalidAddress(f"{text!r} is not an address: expected local-part@domain")
    if domain != domain.strip():
        raise InvalidAddress(f"{text!r} has a blank after the @")
    address = MailboxAddress(unicodedata.normalize("NFC", local_part), parse_domain(domain))
    if not _DOT_ATOM.fullmatch(address.local_part):
        raise InvalidAddress(
            f"the local part of {text!r} is not a dot-atom: letters, digits, hyphens and the like,"
            " in parts separated by single dots"
        )
    if len(address.local_part.encode()) > 64:
        raise InvalidAddress(f"the local part of {text!r} is longer than 64 octets")
    if len(str(address).encode()) > 254:
        raise InvalidAddress(f"{text!r} is longer than 254 octets")
    return address
