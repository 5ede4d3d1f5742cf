"""The default policy, and verdicts that never contain a patient's INS (DOMAIN §1.5, §7.4)."""

import pytest

from relay.policy.admission import AdmissionPolicy, Stage, admit, examine
from relay.policy.header_from import HeaderFromPolicy
from relay.policy.recipient import RecipientStatus
from relay.smtp.errors import Refused
from tests.support.sessions.attempts import local, to

INS = "279035121518989@patient.mssante.fr"


def test_a_patients_ins_is_never_told() -> None:
    # DOMAIN §1.5: the INS is health data.
    for local_part in ("279035121518988", "27903512151898"):
        recipient = to(RecipientStatus.FOREIGN, f"{local_part}@patient.mssante.fr")
        with pytest.raises(Refused) as caught:
            admit(local(recipient=recipient), Stage.RECIPIENT)
        refused = caught.value
        assert local_part not in f"{refused} {refused.detail} {refused.presented}"
        assert refused.presented == "***@patient.mssante.fr"
    (_, passed) = examine(local(recipient=to(RecipientStatus.FOREIGN, INS)), Stage.RECIPIENT)
    assert passed.rule == "patient"
    assert "2790" not in passed.evidence


def test_patients_count_by_default() -> None:
    # DOMAIN §7.4: 25 MB; §1.5: reject in production
    assert (AdmissionPolicy(1).patient_max_bytes, AdmissionPolicy(1).patient_ins_key) == (
        25 * 1024 * 1024,
        True,
    )


def test_the_default_policy_tags() -> None:
    assert AdmissionPolicy(1).header_from is HeaderFromPolicy.TAG
