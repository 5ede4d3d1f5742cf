import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.fields.parameters import read_value
from mailstore.summaries.limits import MAX_PARAMETERS, TooMuch


@pytest.mark.parametrize(
    ("text", "value", "params"),
    [
        ("text/plain", "text/plain", {}),
        ("TEXT/Plain; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}),
        ('a/b; n="x;\\"y"; m = z ', "a/b", {"n": 'x;"y', "m": "z"}),
        ("a/b (comment); n=x (other)", "a/b", {"n": "x"}),
        ("a/b;; ;n=x;", "a/b", {"n": "x"}),
        ("a/b; n=1; n=2", "a/b", {"n": "1"}),
        ("a/b; n=x y.pdf", "a/b", {"n": "x y.pdf"}),
        ('a/b; n="unclosed', "a/b", {"n": "unclosed"}),
        ('a/b; n="=?utf-8?q?=C3=A9?="', "a/b", {"n": "é"}),
        # RFC 2231 §3, §4, §4.1: examples
        ('m/e; URL*0="ftp://"; URL*1="cs.utk.edu/"', "m/e", {"url": "ftp://cs.utk.edu/"}),
        (
            "a/x; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            "a/x",
            {"title": "This is ***fun***"},
        ),
        (
            (
                "a/x; title*0*=us-ascii'en'This%20is%20even%20more%20; "
                'title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2="isn\'t it!"'
            ),
            "a/x",
            {"title": "This is even more ***fun*** isn't it!"},
        ),
        ("a/b; n*1=b; n*0=a; n*3=d", "a/b", {"n": "ab"}),
        ("a/b; n*1=b", "a/b", {"n": ""}),
        ("a/b; n=old; n*=utf-8''%C3%A9", "a/b", {"n": "é"}),
        ("a/b; n*0*=utf-8''%C3; n*1*=%A9", "a/b", {"n": "é"}),
        ("a/b; n*=%E9", "a/b", {"n": "é"}),
    ],
)
def test_parameters_are_read(text: str, value: str, params: dict[str, str]) -> None:
    assert read_value(text) == (value, tuple(params.items()))


def test_more_parameters_than_the_limit_are_too_much() -> None:
    with pytest.raises(TooMuch):
        read_value("a/b" + "".join(f";n*{number}=x" for number in range(MAX_PARAMETERS + 1)))


@given(st.text(alphabet="a/;=*01\"\\ '%C3é()", max_size=200))
def test_any_text_gives_parameters_without_an_error(text: str) -> None:
    _, params = read_value(text)
    assert len(dict(params)) == len(params)
