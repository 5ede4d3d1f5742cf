"""TLS contexts of both directions: our certificate shown, only the configured hierarchy believed.

Inbound the client certificate is requested, not demanded: an untrusted chain ends the handshake, a
missing or unlisted one is answered in SMTP with its reason, because TLS 1.3 hides a refused
handshake from the peer (DESIGN §2.4).  Outbound the server's chain is demanded; its name is judged
by the white list, not by the host name (DOMAIN §3.3).
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from whitelist.errors import TrustFileError
from whitelist.trust import TrustStore

# TLS 1.2 suites: ephemeral key exchange and authenticated encryption only, after ANSSI's advice
# (DOMAIN §8).  TLS 1.3 suites all qualify.
_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"


@dataclass(frozen=True, slots=True)
class Identity:
    """Paths of our certificate (PEM, followed by its chain) and private key (PEM)."""

    certificate: Path
    key: Path


def server_context(identity: Identity, trust: TrustStore) -> ssl.SSLContext:
    """The context for connections from peers.  Raises TrustFileError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity, trust)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(identity: Identity, trust: TrustStore) -> ssl.SSLContext:
    """The context for connections to peers.  Raises TrustFileError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, identity, trust)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(protocol: ssl._SSLMethod, identity: Identity, trust: TrustStore) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_verify_locations(cadata=trust.pem)
    try:
        context.load_cert_chain(identity.certificate, identity.key)
    except (OSError, ssl.SSLError) as error:
        raise TrustFileError(
            identity.certificate,
            f"cannot be used with the key {identity.key} ({error.strerror or error})",
            "give a PEM certificate and its own unencrypted PEM key",
        ) from error
    return context
