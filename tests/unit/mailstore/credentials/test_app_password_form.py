"""Form of app passwords."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.credentials.app_password_form import SECRET_OCTETS, AppPassword

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
PASSWORDS = st.builds(
    AppPassword,
    st.text(BASE32, min_size=10, max_size=10),
    st.text(BASE32, min_size=32, max_size=32),
)


def test_a_new_one_has_160_random_bits() -> None:
    made, other = AppPassword.new(), AppPassword.new()
    assert len(base64.b32decode(made.secret.upper())) == SECRET_OCTETS == 20
    assert made.secret != other.secret
    assert made.lookup != other.lookup
    assert made.secret not in repr(made)
    assert made.text().startswith(f"mssa-{made.lookup}-{made.secret[:4]}-")


@given(password=PASSWORDS, data=st.data())
def test_one_is_read_however_it_is_typed(password: AppPassword, data: st.DataObject) -> None:
    typed = "".join(
        data.draw(st.sampled_from([one, one.upper(), f" {one}", f"{one}-", f"{one}\u00a0"]))
        for one in password.text().replace("-", "")
    )
    assert AppPassword.parse(typed) == password


@given(st.text())
def test_no_text_fails(text: str) -> None:
    found = AppPassword.parse(text)
    if found is not None:
        assert AppPassword.parse(found.text()) == found


@given(password=PASSWORDS, place=st.integers(0, 60), other=st.text(max_size=2))
def test_another_text_is_not_taken_for_it(password: AppPassword, place: int, other: str) -> None:
    text = password.text()
    changed = text[:place] + other + text[place + 1 :]
    found = AppPassword.parse(changed)
    same = "".join(changed.split()).replace("-", "").lower() == text.replace("-", "")
    assert (found == password) == same


@pytest.mark.parametrize("text", ["", "mssa", "x" * 10_000, "mssa-" + "é" * 42, "mssa" + "1" * 42])
def test_other_texts(text: str) -> None:
    assert AppPassword.parse(text) is None
