"""Table [trust] of the configuration file: authorities, and sources of revocation lists.

The descriptions are the documentation: `mssante config reference` prints them.
"""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic.functional_validators import AfterValidator

from whitelist.pki.crl import RevocationPolicy

from .base import Hours, Section


def _check_plain_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or parts.username or " " in text:
        raise ValueError("expected http://HOST or http://HOST:PORT/PATH (answers are signed)")
    return text


PlainUrl = Annotated[str, AfterValidator(_check_plain_url)]


class TrustSection(Section):
    """Authorities that peers and the list's signer must chain to; no others are trusted."""

    anchors: list[str] = Field(
        min_length=1,
        description="PEM files: roots of IGC-Santé.",
        examples=[["pki/root.pem"]],
    )
    intermediates: list[str] = Field(
        default_factory=list,
        description="PEM files: the authorities below them that issue certificates of operators.",
        examples=[["pki/intermediate.pem"]],
    )
    revocation: RevocationPolicy = Field(
        RevocationPolicy.REFUSE,
        strict=False,
        description="Without a revocation list (CRL) in date for each authority of a peer's chain: "
        '"refuse" with 451 4.7.1, "accept" with an alarm, or "off": never look. A certificate on '
        "a list at hand is refused with 554 unless off.",
    )
    crl_files: list[str] = Field(
        default_factory=list,
        description="CRLs put here by the site, PEM or DER; read again when they change.",
        examples=[["pki/intermediate.crl"]],
    )
    crl_urls: list[PlainUrl] = Field(
        default_factory=list,
        description="Addresses of CRLs, besides those that the authorities' certificates and our "
        "own name. National: http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG.crl",
    )
    crl_refresh_hours: Hours = Field(
        24.0,
        description="How often each address of a CRL is asked, by itself; more often with a "
        "quarter of its CRL's validity left. After a failure: after 30 s, then up to 30 min.",
    )
    ocsp: bool = Field(
        default=False,
        description="Where no revocation list in date is at hand from the authority that issued a "
        "peer's certificate, ask the OCSP responders of ocsp_urls; an answer holds until the "
        "nextUpdate in it. Needs HTTP to them; unused if revocation is off.",
    )
    ocsp_urls: list[PlainUrl] = Field(
        default_factory=list,
        description="Responders that are asked, in this order; never the one that a peer's "
        "certificate names. National: http://ocsp.esante.gouv.fr",
    )

    @model_validator(mode="after")
    def _has_a_responder(self) -> Self:
        if self.ocsp and not self.ocsp_urls:
            raise ValueError(
                "ocsp is on and ocsp_urls is empty: nobody would be asked; add for instance "
                'ocsp_urls = ["http://ocsp.esante.gouv.fr"], or set ocsp = false'
            )
        return self
