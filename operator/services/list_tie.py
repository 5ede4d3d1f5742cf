"""Tie of a hosted domain to our certificate by the national white list (DOMAIN §9.34)."""

from whitelist.errors import TrustFileError

from ..errors import OperatorError
from ..settings.model import Settings


def untied(settings: Settings, domain: str) -> str:
    """Why peers would refuse mail of this domain; empty if the list ties it to our certificate.

    A list or certificate that cannot be read is a reason too, and no error.
    """
    # Most commands never ask: these imports would take a quarter of their time.
    from whitelist.national.adoption import own_domains  # noqa: PLC0415 - start-up time
    from whitelist.pki.certificates import read_pem  # noqa: PLC0415 - start-up time
    from whitelist.pki.distinguished_name import DistinguishedName  # noqa: PLC0415 - start-up time

    from ..assembly.trust import (  # noqa: PLC0415 - start-up time
        open_trust,
        open_trust_state,
        own_identity,
    )

    try:
        own = read_pem(own_identity(settings).certificate.read_bytes())[0]
        name = DistinguishedName.from_certificate(own)
        snapshot = open_trust_state(settings, open_trust(settings)).snapshot
    except (OSError, ValueError, OperatorError, TrustFileError) as error:
        return f"the white list could not be asked about {domain}: {error}"
    if snapshot.loaded is None:
        return f"there is no white list yet, so {domain} cannot be found on it"
    return next((one.detail for one in own_domains(snapshot.loaded, [domain], name)), "")
