"""Table [trust] of the configuration: sources of revocation."""

from pathlib import Path

import pytest

from mssante_operator.settings.model import load
from tests.support.machines.configuration import GOOD, TRUST, refusal, write


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ocsp = true", "trust: ocsp is on, but ocsp_urls is empty"),
        ("ocsp = true\nocsp_urls = []", "trust: ocsp is on, but ocsp_urls is empty"),
        ('ocsp_urls = ["ocsp.esante.gouv.fr"]', "trust.ocsp_urls.0: expected http://"),
        ('ocsp_urls = ["https://a.fr/"]', "trust.ocsp_urls.0: expected http://"),
        ('ocsp_urls = ["http:///ocsp"]', "trust.ocsp_urls.0: expected http://"),
        ("crl_refresh_hours = 0.0", "trust.crl_refresh_hours: must be above 0"),
    ],
)
def test_who_is_asked_for_revocation(tmp_path: Path, lines: str, message: str) -> None:
    assert refusal(tmp_path, GOOD.replace(TRUST, f"{TRUST}{lines}\n")).startswith(message)
    good = 'ocsp = true\nocsp_urls = ["http://ocsp.esante.gouv.fr", "http://127.0.0.1:80/ocsp"]\n'
    settings = load(write(tmp_path, GOOD.replace(TRUST, TRUST + good)))
    assert settings.trust.ocsp_urls[0] == "http://ocsp.esante.gouv.fr"
    assert settings.trust.crl_refresh_hours == 24
