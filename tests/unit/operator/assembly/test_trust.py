"""Sources of lists, from [whitelist] and [trust]."""

from datetime import timedelta
from pathlib import Path

from mssante_operator.assembly.trust import crl_sources, list_sources
from mssante_operator.settings.model import load
from tests.support.machines.configuration import GOOD, TRUST, write
from whitelist.national.signer import ExpectedSigner
from whitelist.refresh.crl_refresh import CrlSources
from whitelist.refresh.list_refresh import ListSources


def test_a_file_of_the_list_is_relative_to_the_configuration(tmp_path: Path) -> None:
    assert list_sources(load(write(tmp_path, GOOD))) == ListSources(
        url="",
        file=tmp_path / "list.xml",
        file_text="list.xml",
        fetch_timeout=60,
        expected_signer=ExpectedSigner("alb.mssante.fr"),
        loose_department=False,
        max_shrink=0.2,
    )


def test_every_key_of_the_list_counts(tmp_path: Path) -> None:
    lines = """\
url = "https://host/list.xml"
signer = "other"
fetch_timeout_seconds = 7
loose_department = true
max_shrink = 0.5
"""
    text = GOOD.replace('file = "list.xml"\n', lines)
    assert list_sources(load(write(tmp_path, text))) == ListSources(
        url="https://host/list.xml",
        file=None,
        file_text="",
        fetch_timeout=7,
        expected_signer=ExpectedSigner("other"),
        loose_department=True,
        max_shrink=0.5,
    )


def test_every_key_of_the_revocation_lists_counts(tmp_path: Path) -> None:
    lines = """\
crl_files = ["a.crl", "/b.crl"]
crl_urls = ["http://host/c.crl"]
crl_refresh_hours = 6.0
"""
    text = GOOD.replace(TRUST, TRUST + lines)
    assert crl_sources(load(write(tmp_path, text))) == CrlSources(
        files=(tmp_path / "a.crl", Path("/b.crl")),
        urls=("http://host/c.crl",),
        own_certificate=tmp_path / "pki" / "server.pem",
        interval=timedelta(hours=6),
    )
