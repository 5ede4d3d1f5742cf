"""Text of peers in logs and listings has no control or deceptive characters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.visible_text import safe, visible, visible_json
from mssante_operator.cli.output import say, show_json, show_record, show_rows

BAD = [
    *("\x1b[2J", "\x07", "\x7f", "\x9b31m", "\x85", "\u2028", "\ufeff", "\u200b", "\U000e0041"),
    *(chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)),
]


@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_it_shows(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = visible(f"a{bad}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    show_rows([{"name": f"a{bad}b", "names": [f"c{bad}"]}], ("name", "names"), as_json=False)
    show_record({"name": f"a{bad}b"}, as_json=False)
    say(f"a{bad}b")
    show_json({"name": f"a{bad}b"})
    out = capsys.readouterr().out
    assert bad[0] not in out
    assert out.replace("\n", "").isprintable()


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"name": "".join(BAD) + " café\u00a0: 😀"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": "".join(BAD) + " café\u00a0: 😀"}
    assert "café\u00a0: 😀" in out


@given(st.text())
def test_any_text(text: str) -> None:
    shown = visible(text)
    assert shown.replace("\u00a0", "").isprintable() or any(one.isspace() for one in shown)
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text


def test_lines_and_tabs_of_errors_stay() -> None:
    assert safe("Error:\n\tx\x1b") == "Error:\n\tx\\x1b"


def test_blanks_of_french_stay() -> None:
    assert visible("Le message\u00a0: café\u202f!") == "Le message\u00a0: café\u202f!"


def test_listings_have_no_patient(capsys: pytest.CaptureFixture[str]) -> None:
    ins = "279035121518989"
    row = {"a": f"utilisateur {ins} inconnu", "b": (f"{ins}@patient.mssante.fr",), "c": {ins}}
    for as_json in (True, False):
        show_rows([row], ("a", "b", "c"), as_json=as_json)
        show_record(row, as_json=as_json)
    say(f"no {ins}")
    said = capsys.readouterr().out
    assert ins not in said
    assert said.count("***") == 13
