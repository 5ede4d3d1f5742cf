"""Table [audit]: places are of known forms, and retention is six months at least."""

from pathlib import Path

import pytest

from mssante_operator.assembly.people.anchor_places import check_places
from mssante_operator.settings.model import SettingsError, load
from tests.support.machines.configuration import GOOD, refusal, write


def test_defaults(tmp_path: Path) -> None:
    section = load(write(tmp_path, GOOD)).audit
    assert (section.keep_days, section.anchor_minutes, section.anchors_to) == (1095, 15, [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("keep_days = 182", "audit.keep_days: must be 183 or more"),  # DOMAIN §9.60
        ("anchor_minutes = 0", "audit.anchor_minutes: must be above 0"),
        ('anchors_to = ["ftp:x"]', "'ftp:x' is no place: give file:PATH"),
        ('anchors_to = ["file:"]', "is no place"),
        ('anchors_to = ["syslog:udp"]', "expected HOST:PORT"),
        ('anchors_to = ["syslog:host"]', "expected HOST:PORT"),
        ('anchors_to = ["mailto:nobody"]', "is no place"),
        ('anchors_to = ["file:a\\u202eb"]', "cannot be seen"),
        ('anchors_to = ["file:a", "file:a"]', "twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, line: str, message: str) -> None:
    assert message in refusal(tmp_path, f"{GOOD}\n[audit]\n{line}\n")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("", "mailto: needs a sender; give operator.postmaster"),
        ('postmaster = "p@a.mssante.fr"', ""),
    ],
)
def test_mail_needs_a_sender(tmp_path: Path, head: str, message: str) -> None:
    text = GOOD.replace("[operator]", f"[operator]\n{head}", 1)
    text += '\n[audit]\nanchors_to = ["mailto:audit@b.mssante.fr"]\n'
    settings = load(write(tmp_path, text))
    if message:
        with pytest.raises(SettingsError, match=message):
            check_places(settings)
    else:
        check_places(settings)
