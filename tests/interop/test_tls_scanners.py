"""Findings of two TLS scanners, testssl.sh and sslyze, on our port; they show no certificate.

Each accepted finding is listed here with its reason; any other finding fails.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines.daemon import Daemon, federation, lay_out, served
from tests.support.rules import needs

_FOLDER = Path(sys.prefix) / "tls-scanners"
TESTSSL = _FOLDER / "testssl.sh" / "usr/bin/testssl"
SSLYZE = _FOLDER / "sslyze" / "bin/sslyze"
NAME = "smtp.a.mssante.fr"
_PROGRAMS = ("usr/bin", "bin", "usr/sbin", "sbin")
_INSTALL = "tools/install-tls-scanners.sh .venv/tls-scanners .venv/bin/python"

# testssl.sh, worse than LOW: finding, and why it is accepted.
_TESTSSL_STANDING = {
    "engine_problem": "of its own openssl",
    # testssl.sh does not wait for TLS 1.3 tickets, so this finding is random; sslyze waits.
    "sessionresumption_ticket": "its client leaves too early",
    "sessionresumption_ID": "its client leaves too early",
    "cert_validityPeriod": "certificates of IGC-Santé last three years (DOMAIN U1.4)",
    "cert_extlifeSpan": "as cert_validityPeriod: its name since 3.2",
    "starttls_injection": "3.2 needs socat for it; tests/dialogues have it",
    "cert_revocation": "a test certificate names no list of revocations; one of IGC-Santé does",
}
# sslyze, against Mozilla's `intermediate` profile, which is for web sites.
_SSLYZE_STANDING = {
    "maximum_certificate_lifespan": "as above",
    "tls_curves": "secp521r1 is among the groups that ANSSI advises, Mozilla wants fewer",
}
_SSLYZE_SCANS = (
    *("--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--elliptic_curves"),
    *("--certinfo", "--resum", "--early_data", "--reneg", "--fallback", "--ems", "--compression"),
    *("--heartbleed", "--openssl_ccs", "--robot", "--mozilla_config", "intermediate"),
)
_MODERN = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}


@pytest.fixture(scope="module")
def operator_a(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with served(lay_out(tmp_path_factory.mktemp("a"), "a", workers=1)) as daemon:
        yield daemon


def authority(folder: Path) -> Path:
    """PEM file of the root that both scanners trust."""
    path = folder / "root.pem"
    path.write_bytes(federation().space.hierarchy.root.certificate_pem)
    return path


@pytest.mark.skipif(not TESTSSL.exists(), reason=needs.program("testssl", "testssl.sh", _INSTALL))
@pytest.mark.timeout(400)
def test_testssl(operator_a: Daemon, tmp_path: Path) -> None:
    package, report = TESTSSL.parents[2], tmp_path / "report.json"
    libraries = sorted({str(path.parent) for path in package.rglob("*.so.*")})
    # Without single ciphers and the simulation of browsers, which take minutes.
    parts = ("--protocols", "--std", "-f", "--server-preference", "--server-defaults")
    done = subprocess.run(
        [
            *(TESTSSL, *parts, "--vulnerable", "--starttls", "smtp"),
            *("--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"),
            *("--add-ca", authority(tmp_path), "--jsonfile", report, f"{NAME}:{operator_a.port}"),
        ],
        env={
            # ps, dig and hexdump are installed with it if the system lacks them.
            "PATH": os.pathsep.join([*(str(package / part) for part in _PROGRAMS), os.defpath]),
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "TESTSSL_INSTALL_DIR": str(package / "etc/testssl"),
            "TERM": "dumb",
        },
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    found = {row["id"]: row for row in json.loads(report.read_text())}
    # Proof that it ran to the end: protocols and last line.
    assert found["TLS1_3"]["severity"] == "OK", done.stdout
    assert found["TLS1_2"]["severity"] == "OK", done.stdout
    assert found["RC4"]["severity"] == "OK", done.stdout
    assert found["cert_chain_of_trust"]["severity"] == "OK", done.stdout
    worse = {name for name, row in found.items() if row["severity"] not in {"OK", "INFO", "LOW"}}
    assert worse <= set(_TESTSSL_STANDING), [found[name] for name in worse]


def results(scan: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and result of each check of sslyze."""
    for name, part in scan.items():
        if part["status"] != "NOT_SCHEDULED":
            assert part["status"] == "COMPLETED", (name, part["error_trace"])
            yield name, part["result"]


@pytest.mark.skipif(not SSLYZE.exists(), reason=needs.installed("sslyze", _INSTALL))
def test_sslyze(operator_a: Daemon, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(SSLYZE, "--starttls", "smtp", "--sni", NAME, *_SSLYZE_SCANS),
            *("--certinfo_ca_file", authority(tmp_path), "--json_out", report),
            f"127.0.0.1:{operator_a.port}",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    (target,) = json.loads(report.read_text())["server_scan_results"]
    assert target["connectivity_result"]["client_auth_requirement"] == "OPTIONAL"
    scan = dict(results(target["scan_result"]))
    for name in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert scan[f"{name}_cipher_suites"]["accepted_cipher_suites"] == []
    accepted = {
        suite["cipher_suite"]["name"]
        for name in ("tls_1_2", "tls_1_3")
        for suite in scan[f"{name}_cipher_suites"]["accepted_cipher_suites"]
    }
    assert accepted == _MODERN
    assert {curve["name"] for curve in scan["elliptic_curves"]["supported_curves"]} == {
        *("X25519", "secp256r1", "secp384r1", "secp521r1")
    }
    (shown,) = scan["certificate_info"]["certificate_deployments"]
    assert shown["received_chain_has_valid_order"]
    assert not shown["verified_chain_has_sha1_signature"]
    assert [
        path["trust_store"]["name"]
        for path in shown["path_validation_results"]
        if path["was_validation_successful"]
    ] == ["Supplied CA file"]
    assert scan["tls_compression"] == {"supports_compression": False}
    assert scan["tls_1_3_early_data"] == {"supports_early_data": False}
    assert scan["openssl_ccs_injection"] == {"is_vulnerable_to_ccs_injection": False}
    assert scan["tls_fallback_scsv"] == {"supports_fallback_scsv": True}
    assert scan["heartbleed"] == {"is_vulnerable_to_heartbleed": False}
    assert scan["robot"] == {"robot_result": "NOT_VULNERABLE_RSA_NOT_SUPPORTED"}
    assert scan["tls_extended_master_secret"] == {"supports_ems_extension": True}
    renegotiation = scan["session_renegotiation"]
    assert renegotiation["supports_secure_renegotiation"]
    assert not renegotiation["is_vulnerable_to_client_renegotiation_dos"]
    assert scan["session_resumption"]["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
    _, _, verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    assert set(re.findall(r"^ +\* (\w+):", verdict, re.MULTILINE)) == set(_SSLYZE_STANDING), verdict
