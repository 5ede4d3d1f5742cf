"""Reader: from octets or a file to a verified white list: signature, content, index.

There is no other way in. Each fault is a `ListRefused`, and the list in force stays.
"""

import hashlib
from datetime import datetime
from pathlib import Path

from whitelist.errors import ListReason, ListRefused
from whitelist.national.document import read_document
from whitelist.national.lookup import WhiteList
from whitelist.national.reading_time import CpuLimit
from whitelist.national.signature import verify_signature
from whitelist.national.signed_file import MAX_LIST_BYTES
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.trust_store import TrustStore


def read_list(
    data: bytes,
    trust: TrustStore,
    signer: str | ExpectedSigner,
    at: datetime,
    *,
    loose_department: bool = False,
) -> WhiteList:
    """Verify and index the octets of a list file, as of the aware instant `at`.

    `signer` is the expected signer, or only its common name (`alb.mssante.fr` for the national
    list). Raises ListRefused with a reason for each list that must not be used.
    """
    cpu_limit = CpuLimit()
    signed = verify_signature(data, trust, signer, at, cpu_limit)
    digest = hashlib.sha256(data).hexdigest()
    document = read_document(signed.root, cpu_limit)
    return WhiteList.build(document, signed.signer, digest, loose_department=loose_department)


def load_file(
    path: Path,
    trust: TrustStore,
    signer: str | ExpectedSigner,
    at: datetime,
    *,
    loose_department: bool = False,
) -> WhiteList:
    """Read a list from a file; as `read_list`. ListRefused(unreadable) names the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise ListRefused(
            ListReason.UNREADABLE,
            f"{path} cannot be read ({error.strerror}); give the path of a white list file",
        ) from error
    return read_list(data, trust, signer, at, loose_department=loose_department)
