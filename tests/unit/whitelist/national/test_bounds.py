"""Hostile lists cost little, by any signer, and are refused before their content is read."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import Lifetime
from mssante_operator.setup.testbed.signed_list import unsigned_list
from tests.support.lists import forge
from tests.support.lists.hierarchy import NOW, SIGNER, listed, signed_list, spare_key, trust
from whitelist.errors import ListReason, ListRefused
from whitelist.national.document import MAX_VALUE
from whitelist.national.reader import read_list
from whitelist.national.reading_time import CpuLimit
from whitelist.national.signature import verify_signature
from whitelist.national.signed_file import MAX_LIST_BYTES, MAX_MARKS

MARKS = "\u0316\u0301"  # NFC sorts runs of these, character by character
GROWTH = """
import resource, sys
from tests.unit.whitelist.national.test_bounds import HOSTILE, refused
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = HOSTILE[sys.argv[1]]()
before = peak()
refused(data)
print((peak() - before) // 1024)
"""


def refused(data: bytes) -> ListReason:
    with pytest.raises(ListRefused) as caught:
        read_list(data, trust(), SIGNER, NOW)
    assert len(caught.value.detail) <= 2000
    return caught.value.reason


def body(filling: bytes) -> bytes:
    return b"<ListeBlancheMSSante>" + filling + b"</ListeBlancheMSSante>"


HOSTILE: dict[str, Callable[[], bytes]] = {
    "elements": lambda: body(b"<b/>" * (MAX_LIST_BYTES // 4 - 20)),
    "attributes": lambda: body(
        b"".join(b'<b a="" c=""/>' for _ in range(MAX_LIST_BYTES // 14 - 20))
    ),
    "references": lambda: body(b"&amp;" * (MAX_LIST_BYTES // 5 - 20)),
    "allowed": lambda: body(b"<b/>" * (MAX_MARKS - 2)),
    "text": lambda: body(b"x" * (MAX_LIST_BYTES - 100)),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.integration
def test_memory_stays_within_bounds(kind: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", GROWTH, kind],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert int(said.stdout) < 130  # MB; 33 MB of <b/> took 1 100


@pytest.mark.integration
def test_too_many_elements_are_too_large() -> None:
    assert refused(HOSTILE["elements"]()) is ListReason.TOO_LARGE
    assert refused(HOSTILE["attributes"]()) is ListReason.TOO_LARGE


def test_a_strangers_name_costs_nothing() -> None:
    name = x509.NameAttribute(NameOID.LOCALITY_NAME, MARKS * 2_000)
    theirs = Hierarchy.create(NOW).issue_list_signer(
        Lifetime.of_leaf(NOW), subject=x509.Name([name]), key=spare_key()
    )
    data = signed_list([listed("a.mssante.fr", "CN=a,C=FR")], signer=theirs)
    began = time.process_time()
    assert refused(data) is ListReason.SIGNER_UNTRUSTED
    assert time.process_time() - began < 1


def test_content_is_not_read_before_its_signer_is_known() -> None:
    # An unsigned list, whose names cost the square of their length, with the signer's own public
    # certificate: only the signature is missing.
    entries = [listed(f"d{n}.mssante.fr", f"CN={MARKS * 10_000}{n},C=FR") for n in range(20)]
    genuine = signed_list([listed("a.mssante.fr", "CN=a,C=FR")])
    signature = genuine[genuine.index(b"<Signature") : genuine.index(b"</ListeBlanche")]
    unsigned = unsigned_list(entries, NOW)
    data = unsigned.replace(b"</ListeBlancheMSSante>", signature + b"</ListeBlancheMSSante>")
    began = time.process_time()
    assert refused(data) is ListReason.CONTENT_ALTERED
    assert time.process_time() - began < 1


def test_a_signed_value_that_is_too_long_costs_its_entry_alone() -> None:
    entries = [
        listed("long.mssante.fr", f"CN={MARKS * 20_000},C=FR"),
        listed("blank.mssante.fr", "CN=blank.fr,C=FR" + " " * MAX_VALUE + ",O=X"),
        listed("told.mssante.fr", "CN=told.fr,C=FR", "x" * 10_000),
        listed("x" * 5000 + ".mssante.fr", "CN=d.fr,C=FR"),
        listed("good.mssante.fr", "CN=good.fr,C=FR"),
    ]
    began = time.process_time()
    found = read_list(signed_list(entries), trust(), SIGNER, NOW)
    assert time.process_time() - began < 2
    assert {entry.domain for entry in found.document.entries} == {
        "told.mssante.fr",
        "good.mssante.fr",
    }
    assert [len(entry.description) for entry in found.document.entries] == [MAX_VALUE, 15]
    assert [warning.split(" skipped")[0] for warning in found.warnings] == [
        "entry 1",
        "entry 2",
        "entry 4",
    ]
    assert max(map(len, found.warnings)) < 1000


def test_a_value_of_the_signature_is_bounded() -> None:
    long = forge.signature().replace("<X509Certificate>", "<X509Certificate>" + " " * 20_000)
    assert refused(forge.placed(long)) is ListReason.SIGNATURE_SHAPE


def test_time_runs_out() -> None:
    ticks = iter(range(100))
    patience = CpuLimit(1, lambda: float(next(ticks)))
    with pytest.raises(ListRefused, match="too-slow"):
        verify_signature(signed_list([]), trust(), SIGNER, NOW, patience)
