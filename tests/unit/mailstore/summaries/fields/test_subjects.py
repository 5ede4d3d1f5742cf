import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.fields.subjects import base_subject


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Résultat", "Résultat"),
        ("Re: Résultat", "Résultat"),
        ("RE : FW: fwd:  Re[2]: Résultat  (fwd) (FWD)", "Résultat"),
        ("[liste] Re: [autre] Résultat", "Résultat"),
        ("Re: [liste]", "[liste]"),
        ("[a] [b]", "[b]"),
        ("[Fwd: Re: Résultat]", "Résultat"),
        ("[fwd: [fwd: a]]", "a"),
        ("Re:", ""),
        ("", ""),
        ("Rest: a", "Rest: a"),
        ("a\tb   c", "a b c"),
        ("[FIN]", "[FIN]"),
        ("(fwd)", ""),
    ],
)
def test_the_base_subject(subject: str, base: str) -> None:
    assert base_subject(subject) == base


@given(st.text(alphabet="reRE:fwd[]() a", max_size=100))
def test_a_base_subject_is_its_own_base(subject: str) -> None:
    base = base_subject(subject)
    assert base_subject(base) == base
    assert base_subject(f"Re: {subject}") == base
