"""Whether anyone in a verified chain is revoked, and which revocation lists that question lacks.

OpenSSL asks every list about every certificate of the chain (RFC 5280 §6.3: signature, scope,
entries), regardless of time, so that a list out of date still says who is revoked; whether lists
are in date is told beside that, and what follows from it is the policy's (DOMAIN §9.62).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from OpenSSL import SSL, crypto

from whitelist.names import label
from whitelist.revocation import RevocationList, signer_of

# The chain has been judged at its instant before it comes here. X509_V_FLAG_NO_CHECK_TIME of
# OpenSSL has no name in pyOpenSSL.
_NO_CHECK_TIME = 0x200000
_FLAGS = (
    crypto.X509StoreFlags.X509_STRICT
    | crypto.X509StoreFlags.CRL_CHECK
    | crypto.X509StoreFlags.CRL_CHECK_ALL
    | _NO_CHECK_TIME
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What lists say of a chain; texts are one line each, empty where there is nothing to say.

    `revoked` names who is revoked, `lacking` the lists without which nobody can tell; `until` is
    the earliest `next_update` of the lists at hand for this chain, None without any.
    """

    revoked: str
    lacking: str
    until: datetime | None


class ChainRevocation:
    """Judges chains below `anchors` by `crls`, of which the newest of each authority counts.

    Raises CrlRefused for a list that `revocation.signer_of` refuses. Several threads may use it.
    """

    def __init__(
        self,
        anchors: Sequence[x509.Certificate],
        intermediates: Sequence[x509.Certificate],
        crls: Iterable[RevocationList],
    ) -> None:
        authorities = (*anchors, *intermediates)
        newest: dict[x509.Certificate, RevocationList] = {}
        for crl in crls:
            signer = signer_of(crl, authorities)
            if signer not in newest or newest[signer].older_than(crl):
                newest[signer] = crl
        self.in_use = tuple(newest.values())
        self._crl_of = {  # a renewed authority has several certificates, and one list
            authority: crl
            for authority in authorities
            for signer, crl in newest.items()
            if _same_authority(authority, signer)
        }
        self._store = crypto.X509Store()  # once for all chains, since lists may be large
        for anchor in anchors:
            self._store.add_cert(crypto.X509.from_cryptography(anchor))
        for crl in self.in_use:
            self._store.add_crl(crl.crl)
        self._store.set_flags(_FLAGS)

    def judge(self, chain: Sequence[crypto.X509], at: datetime) -> Finding:
        """Judge a chain that holds otherwise, from the leaf to its anchor, at the aware `at`."""
        issuers = [one.to_cryptography() for one in chain[1:] or chain]
        crls = [self._crl_of.get(issuer) for issuer in issuers]
        lacking = [_lack(*pair, at) for pair in zip(issuers, crls, strict=True)]
        revoked, unusable = self._ask_openssl(chain)
        return Finding(
            revoked,
            "; ".join(filter(None, lacking)) or unusable,
            min((crl.next_update for crl in crls if crl is not None), default=None),
        )

    def _ask_openssl(self, chain: Sequence[crypto.X509]) -> tuple[str, str]:
        """Say who is revoked, or else why OpenSSL cannot tell."""
        unusable = ""
        for depth, subject in enumerate(chain):
            context = crypto.X509StoreContext(self._store, subject, chain[depth + 1 :])
            try:
                context.verify_certificate()
            except crypto.X509StoreContextError as error:
                code, _, message = error.errors
                found = f"{message}: {label(error.certificate.to_cryptography())}"
                if code == SSL.X509VerificationCodes.ERR_CERT_REVOKED:
                    return found, ""
                unusable = unusable or found  # OpenSSL stops here; those above may be revoked
            else:
                break  # all above was looked at along with it
        return "", unusable


def _same_authority(one: x509.Certificate, other: x509.Certificate) -> bool:
    return (one.subject, one.public_key()) == (other.subject, other.public_key())


def _lack(issuer: x509.Certificate, crl: RevocationList | None, at: datetime) -> str:
    if crl is None:
        return f"no revocation list of {label(issuer)} is at hand"
    return "" if crl.in_date(at) else f"the {crl} is not in date as of {at.isoformat()}"
