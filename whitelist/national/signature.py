"""Signature check of the white list: the signer, and the exact octets that were signed.

A file of the right shape (`whitelist.national.signed_file`) is accepted if its signer chains to the
configured IGC-Santé authorities, is valid, and is the expected signer
(`whitelist.national.signer`). Then signxml checks signature and digest. The content is read last.
Only the tree that signxml rebuilds from the signed octets leaves this module: content that an
attacker wraps around or beside it is never read.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidDigest, InvalidSignature, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from whitelist.errors import ListReason, ListRefused
from whitelist.national.reading_time import CpuLimit
from whitelist.national.signed_file import ADVICE, embedded_certificate, parser
from whitelist.national.signer import ExpectedSigner, accept_signer
from whitelist.pki.certificates import read_der
from whitelist.pki.trust_store import CertificateFacts, ChainStatus, ChainVerdict, TrustStore

_REASON_OF_CHAIN = {
    ChainStatus.UNTRUSTED: ListReason.SIGNER_UNTRUSTED,
    ChainStatus.EXPIRED: ListReason.SIGNER_EXPIRED,
    ChainStatus.NOT_YET_VALID: ListReason.SIGNER_NOT_YET_VALID,
    ChainStatus.WEAK: ListReason.SIGNER_WEAK,
    ChainStatus.REVOKED: ListReason.SIGNER_REVOKED,
    ChainStatus.NO_CRL: ListReason.SIGNER_NO_CRL,
}


@dataclass(frozen=True, slots=True)
class SignedTree:
    """The signed content and its signer; `root` is rebuilt from the signed octets alone."""

    root: etree._Element
    signer: CertificateFacts


def verify_signature(
    data: bytes,
    trust: TrustStore,
    signer: str | ExpectedSigner,
    at: datetime,
    cpu_limit: CpuLimit | None = None,
) -> SignedTree:
    """Verify the file `data` as of the aware instant `at`; a text is the signer's common name.

    Raises only ListRefused, for any octets, with the first reason in this order: the reasons of
    `signed_file.embedded_certificate`, the signer (readable, trusted, valid, and the reasons of
    `signer.accept_signer`), the signature, the content; or too-slow, by `cpu_limit`.
    """
    cpu_limit = cpu_limit or CpuLimit()
    try:
        certificate = read_der(embedded_certificate(data))
        cpu_limit.check()
        _accept_chain(trust.verify(certificate, at))
        facts = CertificateFacts.from_certificate(certificate)
    except ValueError as error:
        raise ListRefused(
            ListReason.SIGNER_UNREADABLE, f"the signer's certificate is unusable: {error}; {ADVICE}"
        ) from error
    accept_signer(certificate, facts.subject, ExpectedSigner.of(signer), trust)
    cpu_limit.check()
    return SignedTree(_signed_root(data, certificate, at), facts)


def _accept_chain(chain: ChainVerdict) -> None:
    if not chain.trusted:
        raise ListRefused(
            _REASON_OF_CHAIN[chain.status],
            f"the signer is not to be trusted: {chain.detail}; "
            "check the configured authorities and the time of verification",
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
    except (InvalidDigest, etree.C14NError) as error:  # the signed content had a canonical form
        raise ListRefused(
            ListReason.CONTENT_ALTERED, f"the content is not what was signed; {ADVICE}"
        ) from error
    except InvalidSignature as error:
        raise ListRefused(
            ListReason.SIGNATURE_INVALID,
            f"the signature was not made with the key of the certificate in it; {ADVICE}",
        ) from error
    except (SignXMLException, etree.LxmlError, ValueError) as error:
        raise ListRefused(
            ListReason.SIGNATURE_SHAPE, f"the signature cannot be processed: {error}; {ADVICE}"
        ) from error
    if isinstance(result, list) or result.signed_xml is None:
        raise ListRefused(
            ListReason.SIGNATURE_SHAPE, f"the signature covers something else than a tree; {ADVICE}"
        )
    return result.signed_xml
