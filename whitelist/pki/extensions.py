"""Extensions of certificates and revocation lists, and what reading them may raise."""

from typing import TypeVar

from cryptography import x509

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

UNREADABLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for damage of various kinds; not all are ValueError."""


def extension_of(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    """Give the value of the extension of a kind, None without."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
