"""Tie of a hosted domain to our certificate by the national white list (DOMAIN §9.34)."""

from whitelist.errors import TrustFileError
from whitelist.national.adoption import own_domains
from whitelist.pki.certificates import read_pem
from whitelist.pki.distinguished_name import DistinguishedName

from ..assembly.trust import open_trust, open_trust_state, own_identity
from ..errors import OperatorError
from ..settings.model import Settings


def untied(settings: Settings, domain: str) -> str:
    """Why peers would refuse mail of this domain; empty if the list ties it to our certificate.

    A list or certificate that cannot be read is a reason too, and no error.
    """
    try:
        own = read_pem(own_identity(settings).certificate.read_bytes())[0]
        name = DistinguishedName.from_certificate(own)
        snapshot = open_trust_state(settings, open_trust(settings)).snapshot
    except (OSError, ValueError, OperatorError, TrustFileError) as error:
        return f"the white list could not be asked about {domain}: {error}"
    if snapshot.loaded is None:
        return f"there is no white list yet, so {domain} cannot be found on it"
    return next((one.detail for one in own_domains(snapshot.loaded, [domain], name)), "")
