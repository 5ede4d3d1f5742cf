"""TLS contexts of both directions: our certificate, and trust in the configured hierarchy only.

Inbound, a client certificate is requested and any certificate passes the handshake.  A missing,
untrusted or unlisted certificate is refused in SMTP with its reason, because TLS 1.3 hides a
refused handshake from the peer (`relay.policy.any_certificate`).  Outbound, the server's chain must
be trusted; its name is judged by the white list, not by the host name (DOMAIN §3.3).
"""

import shlex
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from relay.policy.any_certificate import CannotOpen, take_any_certificate
from whitelist.errors import TrustFileError
from whitelist.pki.trust_store import TrustStore

_log = structlog.get_logger(__name__)

# TLS 1.2 suites: ephemeral key exchange and authenticated encryption only, after ANSSI's advice
# (DOMAIN §8).  TLS 1.3 suites all qualify.
DEFAULT_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
# Groups of the same advice, in OpenSSL's names, the fastest first.
DEFAULT_GROUPS: Final = ("X25519", "prime256v1", "secp384r1", "secp521r1")
FAILED_SECONDS: Final = 10.0  # until unusable files are tried again
# Groups that OpenSSL knows, but not as curves; older versions of Python 3.11 ask for curves.
_NOT_CURVES: Final = ("X25519", "X448")

FilesStamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Paths of our certificate (PEM, followed by its chain) and private key (PEM)."""

    certificate: Path
    key: Path

    def stamp(self) -> FilesStamp:
        """A stamp that changes when a file does, at the cost of a stat."""
        return _stamp(self.certificate), _stamp(self.key)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class DerOnlySSLObject(ssl.SSLObject):
    """A TLS connection that gives its peer's certificate in DER only.

    Event loops ask for the decoded form at the end of each handshake, though nothing reads it, and
    making it takes a tenth of a millisecond.
    """

    def getpeercert(self, binary_form: bool = False) -> Any:  # noqa: FBT001, FBT002 - ssl's own
        """The peer's certificate in DER, or None; always None without `binary_form`."""
        return super().getpeercert(binary_form=True) if binary_form else None


class ReloadingContext:
    """A TLS context that follows its files: a renewed certificate serves the next handshake.

    Made by `make`: `server_context` or `client_context`, which raises TrustFileError if the files
    are unusable at the start.  If they become unusable later (half a renewal), the old context
    stays in force.
    """

    def __init__(
        self,
        make: Callable[[Identity, TrustStore], ssl.SSLContext],
        identity: Identity,
        trust: TrustStore,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._make = make
        self._identity = identity
        self._trust = trust
        self._seen: FilesStamp = identity.stamp()
        self._failed: tuple[FilesStamp | None, float] = None, 0.0
        self._context = make(identity, trust)

    def __call__(self) -> ssl.SSLContext:
        """The context for a handshake now."""
        stamp = self._identity.stamp()
        if stamp != self._seen:
            self._renew(stamp)
        return self._context

    def _renew(self, stamp: FilesStamp) -> None:
        """Load the files; files that failed are not tried again too often."""
        failed, again = self._failed
        if stamp == failed and self._monotonic() < again:
            return
        try:
            self._context = self._make(self._identity, self._trust)
        except TrustFileError as error:
            if stamp != failed:
                _log.error("tls.not_renewed", why=str(error))
            self._failed = stamp, self._monotonic() + FAILED_SECONDS
        else:
            # Only loaded files count as seen: the disk may have failed for a moment.
            self._seen = stamp
            _log.info("tls.renewed", certificate=str(self._identity.certificate))


def server_context(
    identity: Identity, trust: TrustStore, suites: str = DEFAULT_SUITES
) -> ssl.SSLContext:
    """The context for connections from peers.  Raises TrustFileError.

    Sessions may be resumed by ticket; the peer's certificate comes from the ticket, judged again.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity, trust, suites)
    context.verify_mode = ssl.CERT_OPTIONAL
    # One ticket is enough: the next connection gets its own.  For each ticket OpenSSL parses the
    # peer's certificate again, an eighth of the cost of a handshake.
    context.num_tickets = 1
    context.sslobject_class = DerOnlySSLObject
    try:
        take_any_certificate(context)
    except CannotOpen as error:
        _log.warning("tls.strict_handshake", why=str(error))
    return context


def client_context(
    identity: Identity, trust: TrustStore, suites: str = DEFAULT_SUITES
) -> ssl.SSLContext:
    """The context for connections to peers.  Raises TrustFileError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, identity, trust, suites)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def check_suites(suites: str) -> None:
    """Raise ValueError for suites that OpenSSL does not know, or that are not safe to offer.

    Each suite must have forward secrecy and authenticate the server.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(suites)
    except ssl.SSLError:
        raise ValueError(f"OpenSSL knows no cipher suite of {suites!r}") from None
    weak = [
        suite["name"]
        for suite in context.get_ciphers()
        if suite["protocol"] != "TLSv1.3"
        and (suite["kea"] not in {"kx-ecdhe", "kx-dhe"} or suite["auth"] == "auth-null")
    ]
    if weak:
        raise ValueError(f"no forward secrecy or no authentication: {', '.join(weak[:5])}")


def check_group(group: str) -> None:
    """Raise ValueError for a group that OpenSSL does not know."""
    if group in _NOT_CURVES:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(group)
    except (ValueError, ssl.SSLError):
        raise ValueError(
            f"OpenSSL knows no group {group!r}; known are {', '.join(DEFAULT_GROUPS)}"
        ) from None


def openssl_configuration(groups: Sequence[str]) -> str:
    """The OpenSSL configuration that offers these groups only, in this order.

    Python's ssl can name one group only.  A process whose OPENSSL_CONF names a file with this text
    uses the groups in each of its contexts.
    """
    return (
        "openssl_conf = mssante\n[mssante]\nssl_conf = ssl\n[ssl]\nsystem_default = defaults\n"
        f"[defaults]\nGroups = {':'.join(groups)}\n"
    )


class _KeyEncrypted(Exception):
    """OpenSSL asks for a password."""


def _no_password() -> str:
    """Replaces the prompt on the terminal, where a daemon would wait for ever."""
    raise _KeyEncrypted


def _context(
    protocol: ssl._SSLMethod, identity: Identity, trust: TrustStore, suites: str
) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suites)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_verify_locations(cadata=trust.pem)
    try:
        context.load_cert_chain(identity.certificate, identity.key, _no_password)
    except _KeyEncrypted as error:
        plain = identity.key.with_name(f"{identity.key.stem}-plain{identity.key.suffix}")
        raise TrustFileError(
            identity.key,
            "is encrypted, and nobody is there to type its password",
            "run: openssl rsa -in "
            f"{shlex.quote(str(identity.key))} -out {shlex.quote(str(plain))} "
            "(openssl pkey if it is no RSA key), chmod 600, and name that file",
        ) from error
    except (OSError, ssl.SSLError) as error:
        raise TrustFileError(
            identity.certificate,
            f"cannot be used with the key {identity.key} ({error.strerror or error})",
            "give a PEM certificate and its own unencrypted PEM key",
        ) from error
    return context
