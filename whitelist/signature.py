"""The signature of the white list: who signed it, and what exactly was signed.

A file of the right shape (`whitelist.shape`) is accepted if its signer chains to the configured
IGC-Santé authorities, is valid, and bears the configured common name, since any IGC-Santé
certificate could otherwise sign a list (DOMAIN §2.5, §9.4); then signxml checks signature and
digest. Only the tree that signxml rebuilds from the signed octets leaves this module: nothing an
attacker wraps around or beside signed content is ever looked at.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidDigest, InvalidSignature, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from whitelist.certificates import read_der
from whitelist.errors import ListRefused, Reason
from whitelist.names import fold
from whitelist.shape import ADVICE, embedded_certificate, parser
from whitelist.trust import CertificateFacts, ChainStatus, ChainVerdict, TrustStore

_REASON_OF_CHAIN = {
    ChainStatus.UNTRUSTED: Reason.SIGNER_UNTRUSTED,
    ChainStatus.EXPIRED: Reason.SIGNER_EXPIRED,
    ChainStatus.NOT_YET_VALID: Reason.SIGNER_NOT_YET_VALID,
    ChainStatus.WEAK: Reason.SIGNER_WEAK,
    ChainStatus.REVOKED: Reason.SIGNER_REVOKED,
    ChainStatus.NO_CRL: Reason.SIGNER_NO_CRL,
}


@dataclass(frozen=True, slots=True)
class SignedTree:
    """What was signed, and by whom; `root` is rebuilt from the signed octets alone."""

    root: etree._Element
    signer: CertificateFacts


def verify_signature(data: bytes, trust: TrustStore, signer: str, at: datetime) -> SignedTree:
    """Verify the file `data` as of the aware instant `at`; `signer` is the expected common name.

    Raises ListRefused, and nothing else whatever the octets, with the first reason met in this
    order: those of `shape.embedded_certificate`, the signer (readable, trusted, valid, fit to
    sign, of the expected name), the signature, the content.
    """
    try:
        certificate = read_der(embedded_certificate(data))
        facts = CertificateFacts.from_certificate(certificate)
    except ValueError as error:
        raise ListRefused(
            Reason.SIGNER_UNREADABLE, f"the signer's certificate is unusable: {error}; {ADVICE}"
        ) from error
    _accept_chain(trust.verify(certificate, at))
    _accept_use(certificate, facts)
    name = facts.subject.common_name
    if name is None or fold(name) != fold(signer):
        raise ListRefused(
            Reason.SIGNER_NOT_CONFIGURED,
            f"signed by {facts.subject}, but only CN={signer} may sign the list; "
            "if its publisher changed that name, change the configured signer",
        )
    return SignedTree(_signed_root(data, certificate, at), facts)


def _accept_chain(chain: ChainVerdict) -> None:
    if not chain.trusted:
        raise ListRefused(
            _REASON_OF_CHAIN[chain.status],
            f"the signer is not to be trusted: {chain.detail}; "
            "check the configured authorities and the time of verification",
        )


def _accept_use(certificate: x509.Certificate, facts: CertificateFacts) -> None:
    """Require an RSA key that may sign; extended key usages are not looked at (DOMAIN §2.5)."""
    try:
        key, extensions = certificate.public_key(), certificate.extensions
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise ListRefused(
            Reason.SIGNER_UNREADABLE, f"signer {facts.subject}: {error}; {ADVICE}"
        ) from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise ListRefused(
            Reason.ALGORITHM,
            f"signer {facts.subject}: its key is not RSA of 2048 bits or more; {ADVICE}",
        )
    for usage in (extension.value for extension in extensions):
        if isinstance(usage, x509.KeyUsage) and not (
            usage.digital_signature or usage.content_commitment
        ):
            raise ListRefused(
                Reason.SIGNER_KEY_USAGE,
                f"signer {facts.subject}: its key usage does not allow signatures; {ADVICE}",
            )


def _signed_root(data: bytes, certificate: x509.Certificate, at: datetime) -> etree._Element:
    """Let signxml check signature and digest, pinned to the accepted shape and certificate."""
    try:
        result = XMLVerifier().verify(
            data,
            x509_cert=certificate,
            parser=parser(),
            expect_config=SignatureConfiguration(
                location="./",
                expect_references=1,
                signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
                digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
                verification_time=at,
            ),
        )
    except (InvalidDigest, etree.C14NError) as error:  # what was signed had a canonical form
        raise ListRefused(
            Reason.CONTENT_ALTERED, f"the content is not what was signed; {ADVICE}"
        ) from error
    except InvalidSignature as error:
        raise ListRefused(
            Reason.SIGNATURE_INVALID,
            f"the signature was not made with the key of the certificate in it; {ADVICE}",
        ) from error
    except (SignXMLException, etree.LxmlError, ValueError) as error:
        raise ListRefused(
            Reason.SIGNATURE_SHAPE, f"the signature cannot be processed: {error}; {ADVICE}"
        ) from error
    if isinstance(result, list) or result.signed_xml is None:
        raise ListRefused(
            Reason.SIGNATURE_SHAPE, f"the signature covers something else than a tree; {ADVICE}"
        )
    return result.signed_xml
