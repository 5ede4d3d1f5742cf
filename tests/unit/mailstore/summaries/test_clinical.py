"""Clinical facts (DOMAIN §7) in made messages and in those derived from ANS's examples."""

import re

import pytest

from mailstore.summaries.document_types import DOCUMENT_TYPES
from mailstore.summaries.model import ClinicalFacts
from tests.support.mime import DATA, needs_clinical_data, summary_of, with_crlf


def facts(header: str, body: str = "x\n") -> ClinicalFacts:
    return summary_of(f"{header}\n{body}").clinical


def derived(name: str) -> ClinicalFacts:
    return summary_of(with_crlf((DATA / "derived" / name).read_bytes())).clinical


@pytest.mark.parametrize("name", ["IHE_XDM.zip", "IHE_XDM.ZIP", "ihe_xdm.Zip"])
def test_the_archive_is_known_by_its_name_in_any_case(name: str) -> None:
    found = facts(
        f"Content-Type: application/zip\nContent-Disposition: attachment; filename={name}\n"
    )
    assert found.xdm
    assert found.classes == ("xdm",)


def test_another_archive_is_none() -> None:
    assert not facts("Content-Type: application/zip; name=IHE_XDM.zip.exe\n").xdm


def test_the_subject_of_a_document_has_its_text() -> None:
    found = facts("Subject: XDM/1.0/DDM+=?utf-8?q?Compte_rendu_=C3=A9?= DUPONT\n")
    assert found.xdm_subject == "Compte rendu é DUPONT"


def test_codes_have_their_labels() -> None:
    found = facts("X-MSS-CODECDA: 34112-3, PRESC-BIO,unknown,,34112-3\n")
    assert [code for code, _ in found.codes] == ["34112-3", "PRESC-BIO", "unknown"]
    assert found.codes[0][1] == DOCUMENT_TYPES["34112-3"]
    assert found.codes[2][1] == ""


@pytest.mark.parametrize(("value", "said"), [("O", True), ("n", False), ("?", None), ("", None)])
def test_a_qualified_ins_is_said_or_not(value: str, said: bool | None) -> None:
    assert facts(f"X-MSS-INS: {value}\n").ins_qualified is said


def test_the_product_is_known() -> None:
    assert facts("X-MSS-NIL: DEV935997\n").product == "DEV935997"


@pytest.mark.parametrize(
    ("header", "closes"),
    [
        ("Subject: [FIN]\n", True),
        ("X-MSS-MES: FIN\n", True),
        ("Subject: Re: [FIN]\n", False),
        ("Subject: [fin]\n", False),
        ("X-MSS-MES: other\n", False),
    ],
)
def test_an_exchange_with_a_patient_is_closed(header: str, closes: bool) -> None:
    assert facts(header).closing is closes


def test_a_request_for_a_receipt_is_known() -> None:
    assert facts("Disposition-Notification-To: a@b.fr\n").asks_receipt


def mdn(disposition: str, more: str = "") -> ClinicalFacts:
    return facts(
        "Content-Type: multipart/report; boundary=b\n",
        "--b\nContent-Type: message/disposition-notification\n\n"
        f"Original-Message-ID: <1@b.fr>\nDisposition: {disposition}\n{more}\n--b--\n",
    )


@pytest.mark.parametrize(
    ("disposition", "more", "kind", "error"),
    [
        ("automatic-action/MDN-sent-automatically; processed", "", "processed", None),
        ("manual-action/MDN-sent-manually; displayed", "", "displayed", None),
        ("a/b; processed/Error: 902^Patient inconnu", "", "processed", 902),
        ("a/b; processed/error", "Error: 904 INS\n", "processed", 904),
        ("a/b; processed/Error: inconnue", "", "processed", 906),
        ("a/b; processed/warning", "", "processed", None),
        ("a/b; failed", "Failure: 100 segment\n", "failed", 100),
    ],
)
def test_a_receipt_tells_success_or_the_code_of_an_error(
    disposition: str, more: str, kind: str, error: int | None
) -> None:
    found = mdn(disposition, more)
    assert found.receipt is not None
    assert found.receipt.disposition == kind
    assert found.receipt.original == "1@b.fr"
    assert found.receipt.error == found.integration_error == error


def test_a_notification_without_a_disposition_is_no_receipt() -> None:
    assert mdn("").receipt is None


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("[KO Intégration système !][902] XDM/1.0/DDM+Compte rendu", 902),
        ("[KO Intégration système !] XDM/1.0/DDM+Compte rendu", 906),
        ("[KO] pour demain", None),
        ("Re: tout est KO", None),
    ],
)
def test_an_ordinary_mail_may_tell_a_failed_integration(subject: str, code: int | None) -> None:
    assert facts(f"Subject: {subject}\n").integration_error == code


def test_a_delivery_report_tells_its_worst_action() -> None:
    found = facts(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n",
        """--b
Content-Type: message/delivery-status

Reporting-MTA: dns; a.fr

Final-Recipient: rfc822; a@b.fr
Action: delivered
Status: 2.0.0

Final-Recipient: rfc822; c@b.fr
Action: failed (really)
Status: 5.1.1 (unknown)

--b
Content-Type: text/rfc822-headers

Message-ID: <1@a.fr>

--b--
""",
    ).delivery_report
    assert found is not None
    assert (found.action, found.status, found.original) == ("failed", "5.1.1", "1@a.fr")


def test_ordinary_mail_has_no_class() -> None:
    assert facts("Subject: x\n") == ClinicalFacts()
    assert ClinicalFacts().classes == ()


@needs_clinical_data
def test_the_derived_document_is_recognised() -> None:
    found = derived("message-xdm.eml")
    assert found.classes == ("xdm", "xdm-subject")
    assert found.codes == (("96173-0", "Test rapide d'orientation diagnostique"),)
    assert found.ins_qualified
    assert found.asks_receipt


@needs_clinical_data
def test_the_derived_receipts_are_recognised() -> None:
    assert derived("mdn-processed.eml").classes == ("receipt",)
    failed = derived("mdn-ko-902.eml")
    assert failed.classes == ("receipt", "integration-error")
    assert failed.integration_error == 902
    assert failed.receipt is not None
    assert failed.receipt.original == "20240106113700.1@org.test-operateur.mssante.fr"


@needs_clinical_data
def test_labels_are_those_of_the_value_set() -> None:
    text = (DATA / "clinical" / "jdv" / "JDV_J07_XdsTypeCode_CISIS.xml").read_text()
    found = re.findall(r'code="([^"]*)"\s+codeSystem="[^"]*"\s+displayName="([^"]*)"', text)
    assert dict(found) == dict(DOCUMENT_TYPES)
