"""Clinical facts of a message, recognised without opening an archive (DOMAIN §7).

Pure.
"""

import re
from collections.abc import Iterable
from typing import Final

from mailstore.summaries.document_types import DOCUMENT_TYPES
from mailstore.summaries.fields.section import Fields
from mailstore.summaries.model import Attachment, ClinicalFacts, DeliveryReport, Receipt

_ARCHIVE: Final = "ihe_xdm.zip"
_XDM_SUBJECT: Final = re.compile(r"XDM/1\.0/DDM\s*\+\s*(.*)", re.IGNORECASE | re.DOTALL)
_FAILED: Final = re.compile(r"\[KO\b[^\[\]]*\]\s*(?:\[\s*([0-9]{1,4})\s*\])?", re.IGNORECASE)
_CLOSING: Final = "[FIN]"
_MAX_CODES: Final = 100


def clinical_facts(
    fields: Fields,
    subject: str,
    attachments: Iterable[Attachment],
    receipt: Receipt | None,
    delivery_report: DeliveryReport | None,
) -> ClinicalFacts:
    """Return the facts of a message: its header, decoded subject, attachments and reports."""
    failed = _FAILED.match(subject)
    rest = subject[failed.end() :].lstrip() if failed else subject
    xdm = _XDM_SUBJECT.match(rest)
    if failed and not failed[1] and not xdm:
        failed = None  # an ordinary mail that speaks of a KO
    error = receipt.error if receipt else None
    if error is None and failed:
        error = int(failed[1]) if failed[1] else 906
    return ClinicalFacts(
        xdm=any(one.name.lower() == _ARCHIVE for one in attachments),
        xdm_subject=xdm[1].strip() if xdm else "",
        codes=_codes(fields.first("x-mss-codecda")),
        ins_qualified={"O": True, "N": False}.get(fields.first("x-mss-ins").upper()),
        product=fields.first("x-mss-nil"),
        closing=subject == _CLOSING or fields.first("x-mss-mes").upper() == "FIN",
        asks_receipt=bool(fields.first("disposition-notification-to")),
        receipt=receipt,
        delivery_report=delivery_report,
        integration_error=error,
    )


def _codes(value: str) -> tuple[tuple[str, str], ...]:
    codes = dict.fromkeys(one.strip() for one in value.split(",", _MAX_CODES)[:_MAX_CODES])
    return tuple((code, DOCUMENT_TYPES.get(code, "")) for code in codes if code)
