"""Reports among messages, and the size limits."""

import pytest

from relay.policy.sizes import is_report, limit_of, report_limit


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (b"Content-Type: multipart/report; report-type=delivery-status\r\n", True),
        (b"content-type:\r\n MULTIPART/Report;\r\n\tboundary=x\r\n", True),
        (b"Subject: [KO Int\xc3\xa9gration syst\xc3\xa8me !][902] XDM/1.0/DDM+x\r\n", True),
        (b"Subject: =?iso-8859-1?q?=5BKO_Int=E9gration_syst=E8me_!=5D?=\r\n", True),
        (b"Subject:\r\n =?utf-8?b?W0tPIEludMOpZ3JhdGlvbiBzeXN0w6htZSAhXQ==?=\r\n", True),
        (b"Content-Type: multipart/mixed; boundary=report\r\n", False),
        (b"Subject: RE: [KO Integration systeme !]\r\n", False),
        (b"Content-Type: text/plain\r\nContent-Type: multipart/report\r\n", False),
        (b"\r\nContent-Type: multipart/report\r\n", False),
        (b"", False),
        (b"\xff\0:\r\n", False),
    ],
)
def test_what_is_a_report(section: bytes, expected: bool) -> None:
    # DOMAIN §7.3
    assert is_report(section) is expected


def test_a_report_may_be_larger() -> None:
    # DOMAIN U5
    assert report_limit(36_700_160) == 51_380_224
    assert limit_of(1000, report=True) == 1400
    assert limit_of(1000, report=False) == 1000
