"""Forms of log-in names and of names of persons, programs, groups and tenants. Pure."""

import re
import unicodedata
from typing import Final

from foundation.privacy import mask
from mailstore.errors import InvalidName

LONGEST_LOGIN: Final = 128
LONGEST_NAME: Final = 128
_LOGIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,126}[a-z0-9])?")
_TENANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def parse_login(text: str) -> str:
    """Return the log-in name in lower case. Raises InvalidName.

    ASCII, so that it can be typed at any machine and no two names look alike.
    """
    login = text.strip().lower()
    if not _LOGIN.fullmatch(login):
        raise InvalidName(
            f"{text!r} is not a log-in name: expected 1 to {LONGEST_LOGIN} letters without accents,"
            " digits, dots, hyphens, underscores, + or @, with a letter or digit at both ends"
        )
    if mask(login) != login:
        raise InvalidName(
            "the log-in name has the form of a patient's identifier, which is masked everywhere: "
            "nobody could be found by it in the audit trail"
        )
    return login


def login_key(text: str) -> str:
    """The spelling of a typed log-in name by which accounts are found.

    Never fails: a malformed one, even with NUL, is empty, as no account's is.
    """
    key = text.strip().lower()
    return key if _LOGIN.fullmatch(key) else ""


def page_key(text: str) -> str:
    """The place in a listing behind which a page starts; empty, its start, for an unusable one."""
    return text.lower() if text.isprintable() else ""


def parse_tenant_name(text: str) -> str:
    """Return the short name of a tenant in lower case. Raises InvalidName."""
    name = text.strip().lower()
    if not _TENANT.fullmatch(name):
        raise InvalidName(
            f"{text!r} is not a name of a tenant: expected 1 to 64 letters without accents, digits"
            " or hyphens, such as chu-lyon"
        )
    return name


def tenant_key(text: str) -> str:
    """The spelling of a typed tenant name by which tenants are found; never fails."""
    key = text.strip().lower()
    return key if _TENANT.fullmatch(key) else ""


def parse_name(text: str, of: str, *, empty: bool = False) -> str:
    """Return a name (NFC, blanks tidied). `of`: its place, for the message. Raises InvalidName.

    `empty`: whether it may be empty.
    """
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name and not empty:
        raise InvalidName(f"the {of} is empty")
    if len(name) > LONGEST_NAME:
        raise InvalidName(f"the {of} has {len(name)} characters; {LONGEST_NAME} are allowed")
    # Surrogates stand for octets that are not UTF-8: no database takes them.
    if not name.isprintable():
        raise InvalidName(f"the {of} {name!a} has characters that cannot be seen")
    return name
