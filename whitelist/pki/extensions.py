"""Extensions of certificates and revocation lists, and errors of their parsing."""

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
"""Errors that cryptography raises for damaged input; not all are ValueError."""


def extension_of(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    """Return the value of the extension of type `kind`, None without."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
