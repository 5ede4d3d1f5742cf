"""Trust store: the operator's IGC-Santé authorities, and the verification of chains to them.

The same store verifies peers' certificates and the certificate of the list's signer. A chain goes
from the certificate through the *configured* intermediates to the configured anchors (RFC 5280 §6),
at a given instant, with OpenSSL's strict checks. Then no certificate of the chain may be on a
revocation list, as the policy says (DOMAIN §9.62). Intermediates that a peer sends are ignored, so
that other IGC-Santé ranges do not pass (DOMAIN §3.2). All keys and signatures of the chain must be
strong (`whitelist.pki.certificate_fitness`). No extended key usage is required here (DOMAIN §9.4).
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from whitelist.pki.authorities import read_authorities
from whitelist.pki.certificate_fitness import weakness
from whitelist.pki.chain_revocation import ChainRevocation
from whitelist.pki.crl import RevocationList, RevocationPolicy
from whitelist.pki.distinguished_name import DistinguishedName, label


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """Facts of a certificate for the rules; `fingerprint` is its SHA-256 in lower-case hex."""

    subject: DistinguishedName
    issuer: DistinguishedName
    serial: int
    fingerprint: str
    not_before: datetime
    not_after: datetime

    @classmethod
    def from_certificate(cls, certificate: x509.Certificate) -> Self:
        """Read the facts. Raises InvalidName if a name in the certificate is unusable."""
        return cls(
            subject=DistinguishedName.from_certificate(certificate),
            issuer=DistinguishedName.of_issuer(certificate),
            serial=certificate.serial_number,
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )


class ChainStatus(StrEnum):
    """State of a chain at an instant."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    WEAK = "weak-cryptography"
    WRONG_USE = "wrong-usage"  # of a peer: `whitelist.pki.verdict_cache`
    REVOKED = "revoked"
    NO_CRL = "no-crl"


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """The answer of `TrustStore.verify`; `detail` is a line for logs and operators.

    `crl_until` is the earliest `next_update` of the lists of the chain's authorities, None without
    lists or if lists are ignored. `alarm` names the list that a trusted chain lacks. `client_auth`
    is False for a peer whose extended key usage lacks clientAuth, which is tolerated.
    """

    status: ChainStatus
    detail: str
    crl_until: datetime | None = None
    alarm: str = ""
    client_auth: bool = True

    @property
    def trusted(self) -> bool:
        """True if the chain is valid."""
        return self.status is ChainStatus.TRUSTED


_STATUS_OF_ERROR = {
    SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED: ChainStatus.EXPIRED,
    SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID: ChainStatus.NOT_YET_VALID,
}


_SECOND = timedelta(seconds=1)
_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class TrustStore:
    """Authorities that an operator trusts: root anchors, and intermediates that chain to them.

    `crls` are revocation lists of these authorities, in date or not; only the newest of each
    authority and scope counts. Raises ValueError without an anchor, and CrlRefused for a list that
    `crl.signer_of` refuses. `from_files`, used by the daemon, also checks the files; the
    constructor takes certificates in memory.

    `generation` is a text that differs between stores with different authorities, lists or policy.
    """

    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    crls: tuple[RevocationList, ...] = ()
    revocation: RevocationPolicy = RevocationPolicy.OFF
    generation: str = field(init=False, repr=False, compare=False)
    _anchors: tuple[crypto.X509, ...] = field(init=False, repr=False, compare=False)
    _intermediates: tuple[crypto.X509, ...] = field(init=False, repr=False, compare=False)
    _lists: ChainRevocation = field(init=False, repr=False, compare=False)
    _turns: tuple[datetime, ...] = field(init=False, repr=False, compare=False)
    _weak: Mapping[bytes, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.anchors:
            raise ValueError("no trust anchor: name at least one root certificate of IGC-Santé")
        anchors = tuple(map(crypto.X509.from_cryptography, self.anchors))
        intermediates = tuple(map(crypto.X509.from_cryptography, self.intermediates))
        object.__setattr__(self, "_anchors", anchors)
        object.__setattr__(self, "_intermediates", intermediates)
        lists = ChainRevocation(self.anchors, self.intermediates, self.crls)
        object.__setattr__(self, "_lists", lists)
        object.__setattr__(self, "_turns", _instants_of_change(self.authorities, lists.in_use))
        weak = {
            one.fingerprint(hashes.SHA256()): why
            for one in self.authorities
            if (why := weakness(one, anchor=one in self.anchors))
        }
        object.__setattr__(self, "_weak", weak)
        object.__setattr__(self, "generation", self._digest())

    @classmethod
    def from_files(
        cls,
        anchors: Sequence[Path],
        intermediates: Sequence[Path],
        revocation: RevocationPolicy = RevocationPolicy.OFF,
    ) -> Self:
        """Read PEM files, each of one or more certificates; `with_crls` adds lists.

        Raises TrustFileError as `authorities.read_authorities` does, and ValueError without any
        anchor file.
        """
        return cls(*read_authorities(anchors, intermediates), revocation=revocation)

    def with_crls(self, crls: Iterable[RevocationList]) -> Self:
        """Return a store of the same authorities and policy with these lists instead.

        Raises CrlRefused as the constructor does.
        """
        return replace(self, crls=tuple(crls))

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """All authorities, anchors first."""
        return (*self.anchors, *self.intermediates)

    @property
    def pem(self) -> str:
        """All authorities as PEM text, for `ssl.SSLContext.load_verify_locations(cadata=...)`.

        A TLS handshake with these is only a first filter, since it also accepts intermediates that
        the peer sends: `verify` decides.
        """
        return "".join(
            certificate.public_bytes(Encoding.PEM).decode("ascii")
            for certificate in self.authorities
        )

    def verify(self, certificate: x509.Certificate, at: datetime) -> ChainVerdict:
        """Judge whether `certificate` chains to an anchor, all valid at `at` and not revoked.

        `at` must be aware (ValueError if not). Never raises for any certificate.
        """
        if at.tzinfo is None:
            raise ValueError(f"the instant of verification {at} has no time zone")
        # A new store each time: pyOpenSSL ignores all but the first set_time of a store.
        store = crypto.X509Store()
        for anchor in self._anchors:
            store.add_cert(anchor)
        store.set_time(at.astimezone(UTC))
        store.set_flags(crypto.X509StoreFlags.X509_STRICT)
        try:
            subject = crypto.X509.from_cryptography(certificate)
            context = crypto.X509StoreContext(store, subject, self._intermediates)
            chain = context.get_verified_chain()
        except crypto.X509StoreContextError as error:
            code, _, message = error.errors
            status = _STATUS_OF_ERROR.get(code, ChainStatus.UNTRUSTED)
            at_fault = label(error.certificate.to_cryptography())
            return ChainVerdict(status, f"{message}: {at_fault}, as of {at.isoformat()}")
        except crypto.Error as error:
            detail = f"OpenSSL cannot read the certificate: {error}"
            return ChainVerdict(ChainStatus.UNTRUSTED, detail)
        if weak := weakness(certificate) or self._weakness_above(chain):
            return ChainVerdict(ChainStatus.WEAK, weak)
        held = f"{label(certificate)} chains to an anchor"
        if self.revocation is RevocationPolicy.OFF:
            return ChainVerdict(ChainStatus.TRUSTED, held)
        return self._judge_revocation(certificate, chain[1:], at, held)

    def validity_span(
        self, certificate: CertificateFacts, at: datetime
    ) -> tuple[datetime, datetime]:
        """Return the span around the aware `at`, end excluded, in which `verify` cannot change.

        No authority, list or certificate begins or ends within it.
        """
        own = (certificate.not_before, *_end(certificate.not_after))
        turns = sorted((*self._turns, *own, *_ALWAYS))
        after = min(bisect_right(turns, at), len(turns) - 1)
        return turns[after - 1], turns[after]

    def missing_crls(self, at: datetime) -> tuple[str, ...]:
        """Return the missing revocation lists at the aware `at`, a line for each authority."""
        if self.revocation is RevocationPolicy.OFF:
            return ()
        return tuple(self._lists.missing_crls(at).values())

    def refusal_of_all(self, at: datetime, *, ocsp: bool = False) -> str:
        """Return the reason why missing lists defer all peers at the aware `at`; else ''.

        `ocsp` is True if responders may replace the list of a peer's own issuer.
        """
        if self.revocation is not RevocationPolicy.REFUSE:
            return ""
        lacking = self._lists.missing_crls(at)
        for authority in self._lists.issuing:
            above = authority in self.anchors or self.verify(authority, at).trusted
            if above and (ocsp or authority not in lacking):
                return ""
        return "; ".join(lacking.values())

    def _weakness_above(self, chain: Sequence[crypto.X509]) -> str:
        """Return the weakness of a (configured) authority of the chain, with its name; or ''."""
        if not self._weak:
            return ""
        shown = (one.to_cryptography().fingerprint(hashes.SHA256()) for one in chain[1:])
        return next((self._weak[one] for one in shown if one in self._weak), "")

    def _judge_revocation(
        self, certificate: x509.Certificate, above: list[crypto.X509], at: datetime, held: str
    ) -> ChainVerdict:
        """Judge a valid chain: revoked certificates first, then missing lists."""
        found = self._lists.check([certificate, *(one.to_cryptography() for one in above)], at)
        if found.revoked:
            return ChainVerdict(ChainStatus.REVOKED, found.revoked, found.until)
        if not found.missing:
            detail = f"{held}, and no revocation list names it or its authorities"
            return ChainVerdict(ChainStatus.TRUSTED, detail, found.until)
        if self.revocation is RevocationPolicy.ACCEPT:
            return ChainVerdict(ChainStatus.TRUSTED, held, found.until, alarm=found.missing)
        return ChainVerdict(ChainStatus.NO_CRL, found.missing, found.until)

    def _digest(self) -> str:
        parts = [self.revocation.value]
        parts += [one.fingerprint(hashes.SHA256()).hex() for one in self.authorities]
        parts += sorted(crl.digest for crl in self._lists.in_use)
        return sha256(" ".join(parts).encode()).hexdigest()


def _instants_of_change(
    authorities: Iterable[x509.Certificate], crls: Iterable[RevocationList]
) -> tuple[datetime, ...]:
    """Return the instants at which a verdict may change by the passing of time alone."""
    turns = [turn for crl in crls for turn in (crl.this_update, crl.next_update)]
    for authority in authorities:
        turns += (authority.not_valid_before_utc, *_end(authority.not_valid_after_utc))
    return tuple(turns)


def _end(not_after: datetime) -> tuple[datetime, datetime]:
    """Return both sides of the last second of a validity; OpenSSL counts whole seconds."""
    return not_after, not_after + min(_SECOND, _ALWAYS[1] - not_after)
