"""A TLS handshake that takes any certificate, so that admission can tell the peer why it refuses.

OpenSSL ends the handshake of a client whose chain, usage, key or hash it rejects; TLS 1.3 hides
even that from the client, which only sees a broken connection.  Python's `ssl` cannot ask for a
certificate without that judgement, so OpenSSL is told by its own
`SSL_CTX_set_cert_verify_callback` that each chain is good.  TLS still proves that the client holds
the key; ciphers, groups and our side's security level are untouched.  `relay.policy.admission`
decides, on the verdict of `whitelist.pki.trust_store` (docs/decisions/0041).
"""

import _ssl
import ctypes
import ssl
import sys

_VERIFY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class CannotOpen(Exception):
    """TLS contexts are out of reach in this Python; the message says why."""


def take_any_certificate(context: ssl.SSLContext) -> None:
    """Let handshakes of `context` succeed with any client certificate, or none.

    Raises CannotOpen; the context is then as it was, and OpenSSL goes on judging.
    """
    if sys.implementation.name != "cpython" or sys.version_info >= (3, 15):
        raise CannotOpen("the layout of its TLS contexts is not known")
    try:
        library = ctypes.CDLL(_ssl.__file__)  # brings the OpenSSL that `_ssl` is linked to
        options, install = library.SSL_CTX_get_options, library.SSL_CTX_set_cert_verify_callback
    except (OSError, AttributeError) as error:
        raise CannotOpen(f"its OpenSSL is out of reach ({error})") from error
    options.argtypes, options.restype = [ctypes.c_void_p], ctypes.c_uint64
    install.argtypes, install.restype = [ctypes.c_void_p, _VERIFY, ctypes.c_void_p], None
    # The first member after the head that all objects have (Modules/_ssl.c, PySSLContext).
    found = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if not found or options(found) != context.options & 0xFFFF_FFFF_FFFF_FFFF:
        raise CannotOpen("its TLS contexts are not laid out as expected")
    install(found, _take, None)


def _any(_store: int | None, _argument: int | None) -> int:
    return 1


_take = _VERIFY(_any)  # must live as long as the contexts that point to it
