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
        raise ValueError(
            "expected http://HOST or http://HOST:PORT/PATH, not https:// (answers are signed)"
        )
    return text


PlainUrl = Annotated[str, AfterValidator(_check_plain_url)]


class TrustSection(Section):
    """Trusted authorities of peers and of the list's signer.  No other authority is trusted."""

    anchors: list[str] = Field(
        min_length=1,
        description="PEM files: root certificates of IGC-Santé.",
        examples=[["pki/root.pem"]],
    )
    intermediates: list[str] = Field(
        default_factory=list,
        description="PEM files: intermediate authorities, which issue the certificates of "
        "operators.",
        examples=[["pki/intermediate.pem"]],
    )
    revocation: RevocationPolicy = Field(
        RevocationPolicy.REFUSE,
        strict=False,
        description="If a valid revocation list (CRL) is missing for an authority of a peer's "
        'chain: "refuse" with 451 4.7.1, or "accept" with an alarm. A revoked certificate '
        'is refused with 554. "off": no check of revocation at all.',
    )
    crl_files: list[str] = Field(
        default_factory=list,
        description="Local CRL files, PEM or DER; read again after each change.",
        examples=[["pki/intermediate.crl"]],
    )
    crl_urls: list[PlainUrl] = Field(
        default_factory=list,
        description="URLs of CRLs, in addition to the URLs in the certificates of the "
        "authorities and in ours. National: http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG.crl",
    )
    crl_refresh_hours: Hours = Field(
        24.0,
        description="Hours between two downloads from each URL of a CRL; shorter if only a "
        "quarter of the CRL's validity is left. After a failure: 30 s, then up to 30 min.",
    )
    ocsp: bool = Field(
        default=False,
        description="true: if the issuer of a peer's certificate has no valid CRL here, ask the "
        "OCSP responders of ocsp_urls. An answer is used until its nextUpdate. Needs HTTP "
        "access to them; unused if revocation is off.",
    )
    ocsp_urls: list[PlainUrl] = Field(
        default_factory=list,
        description="OCSP responders, in order of preference. The responder in a peer's "
        "certificate is never asked. National: http://ocsp.esante.gouv.fr",
    )

    @model_validator(mode="after")
    def _has_a_responder(self) -> Self:
        if self.ocsp and not self.ocsp_urls:
            raise ValueError(
                "ocsp is on, but ocsp_urls is empty; add for example "
                'ocsp_urls = ["http://ocsp.esante.gouv.fr"], or set ocsp = false'
            )
        return self
