"""Mail addresses in SMTP paths, by the grammar of RFC 5321 §4.1.2.

Pure.  The local part is kept exactly as it came; the domain is compared in lower case.  Source
routes are read and dropped (RFC 5321 §4.1.1.3).  A blank after the colon is tolerated, because old
clients send it.  Address literals are refused: a trust space of listed domains has none.  The only
address without a domain is the postmaster's, and only as a recipient (RFC 5321 §4.5.1).
"""

import re
from dataclasses import dataclass
from typing import Final

from foundation.ins import PATIENT_DOMAIN
from relay.smtp.errors import SyntaxRefused

# Named after the productions of RFC 5321 §4.1.2, with the UTF-8 of RFC 6531 §3.3.  Left out: the C1
# controls and Unicode's line ends, which RFC 5198 §2 forbids and which would act on terminals and
# logs; and surrogates, by which Python carries octets that are not UTF-8.
UTF8_NON_ASCII: Final = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
_ATEXT: Final = rf"[A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{UTF8_NON_ASCII}]"
_DOT_STRING: Final = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_QUOTED_STRING: Final = rf'"(?:[ !#-\[\]-~{UTF8_NON_ASCII}]|\\[ -~])*"'
_SUB_DOMAIN: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*"
_MAILBOX: Final = re.compile(rf"(?P<local>{_DOT_STRING}|{_QUOTED_STRING})@(?P<domain>{_DOMAIN})")
_PATH: Final = re.compile(
    rf"<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
    rf"(?P<local>{_DOT_STRING}|{_QUOTED_STRING})@(?P<domain>{_DOMAIN})>"
)
_POSTMASTER: Final = re.compile("<postmaster>", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class SmtpAddress:
    """A mailbox address; `local` as it was written, `domain` in lower case, empty in POSTMASTER."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def masked(self) -> str:
        """The address for logs: a patient's INS is health data and is masked (DOMAIN §1.5)."""
        if self.domain == PATIENT_DOMAIN:
            return f"***@{self.domain}"
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local part can only travel with SMTPUTF8 (RFC 6531 §3.4)."""
        return not self.local.isascii()


POSTMASTER: Final = SmtpAddress("postmaster", "")
"""The recipient of mail to the host itself, whatever its domains (RFC 5321 §4.5.1)."""


def _build(match: re.Match[str]) -> SmtpAddress:
    local, domain = match["local"], match["domain"].lower()
    # RFC 5321 §4.5.3.1: limits in octets.
    if len(local.encode()) > 64 or len(domain) > 255:
        raise SyntaxRefused("Address too long", code=553, enhanced="5.1.3")
    return SmtpAddress(local, domain)


def parse_address(text: str) -> SmtpAddress:
    """Read a bare `local@domain`.  Raises SyntaxRefused."""
    match = _MAILBOX.fullmatch(text)
    if match is None:
        raise SyntaxRefused("Not a mail address", code=553, enhanced="5.1.3")
    return _build(match)


def parse_path(argument: str, keyword: str) -> tuple[SmtpAddress | None, str]:
    """Read `FROM:<path> parameters` or `TO:<path> parameters` (RFC 5321 §4.1.1.2, §4.1.1.3).

    Returns the address, None for the null reverse-path `<>`, and the unparsed parameters.
    `TO:<Postmaster>`, in any case, gives POSTMASTER (RFC 5321 §4.1.1.3).  Raises SyntaxRefused.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise SyntaxRefused(f"Syntax: {keyword}<address> [parameters]")
    path = argument[len(keyword) :].lstrip(" ")
    if path == "<>" or path.startswith("<> "):
        return None, path[2:].strip(" ")
    match = _PATH.match(path)
    postmaster = _POSTMASTER.match(path) if keyword == "TO:" else None
    found = match or postmaster
    if found is None:
        raise SyntaxRefused(f"Syntax: {keyword}<address> [parameters]", code=553, enhanced="5.1.3")
    rest = path[found.end() :]
    if rest and not rest.startswith(" "):
        raise SyntaxRefused(f"Syntax: {keyword}<address> [parameters]")
    return _build(match) if match else POSTMASTER, rest.strip(" ")
