"""[inbound] settings for single peers: quotas, and use of our domains in the header From."""

from pathlib import Path

import pytest

from mssante_operator.assembly import policies
from mssante_operator.settings.model import SettingsError, load
from mssante_operator.settings.quotas import quotas
from relay.policy.header_from import HeaderFromPolicy
from relay.policy.patients import Counted
from relay.policy.quotas import NO_LIMIT, Quota
from tests.support.machines.configuration import GOOD, write
from whitelist.pki.distinguished_name import DistinguishedName

B = DistinguishedName.parse("CN=smtp.b.mssante.fr,O=B,C=FR")
C = DistinguishedName.parse("CN=smtp.c.mssante.fr,O=C,C=FR")


def test_without_the_table_there_is_no_limit(tmp_path: Path) -> None:
    assert quotas(load(write(tmp_path, GOOD))).of(B) == NO_LIMIT


def test_limits_by_peer_and_for_all_others(tmp_path: Path) -> None:
    text = """
[inbound.quotas]
"*" = { messages = 100 }
"SMTP.b.mssante.fr" = { recipients = 50, receipts = 5 }
"""
    found = quotas(load(write(tmp_path, GOOD + text)))
    assert found.of(B) == Quota(None, 50, 5)
    assert found.of(C) == Quota(100, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"b.fr" = { mesages = 1 }', "inbound.quotas.b.fr.mesages: unknown key; did you mean mess"),
        ('"b.fr" = { messages = 0 }', "inbound.quotas.b.fr.messages: "),
        ('"CN=b.fr" = { messages = 1 }', "'CN=b.fr' is not a CN; write only its value"),
        ('"b.fr" = {}\n"B.fr" = {}', "'b.fr' and 'B.fr' are the same; keep one of them"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, f"{GOOD}[inbound.quotas]\n{text}\n"))
    assert message in str(caught.value)


def test_authors_of_ours(tmp_path: Path) -> None:
    policy = policies.policy(load(write(tmp_path, GOOD)))
    assert policy.own_header_from is HeaderFromPolicy.REFUSE
    assert policy.own_header_from_peers == frozenset()
    assert policy.header_from is HeaderFromPolicy.TAG
    text = '[inbound]\nown_header_from = "tag"\nown_header_from_peers = [" SMTP.c.fr"]\n'
    policy = policies.policy(load(write(tmp_path, GOOD + text)))
    assert policy.own_header_from is HeaderFromPolicy.TAG
    assert policy.own_header_from_peers == {"smtp.c.fr"}
    with pytest.raises(SettingsError, match="'CN=x' is not a CN"):
        load(write(tmp_path, GOOD + '[inbound]\nown_header_from_peers = ["CN=x"]\n'))


def test_what_the_limit_for_patients_counts(tmp_path: Path) -> None:
    assert policies.policy(load(write(tmp_path, GOOD))).patient_max_counts is Counted.CONTENT
    text = '[outbound]\npatient_max_counts = "wire"\n'
    policy = policies.policy(load(write(tmp_path, GOOD + text)))
    assert policy.patient_max_counts is Counted.WIRE


def test_a_strangers_time(tmp_path: Path) -> None:
    text = "[inbound]\nstranger_seconds = 7.0\n"
    assert policies.limits(load(write(tmp_path, GOOD + text))).stranger_seconds == 7
