"""Replies read for DSNs: the code decides, the enhanced code is trusted if it agrees."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.dsn.status import judge
from relay.smtp.failure_reason import Cause, FailureReason


@pytest.mark.parametrize(
    ("reply", "status", "cause"),
    [
        ("550 5.1.1 No such mailbox here", "5.1.1", Cause.ADDRESS),
        ("553 5.1.3 Not a mail address", "5.1.3", Cause.ADDRESS),
        ("550 5.1.6 Moved away", "5.1.6", Cause.ADDRESS),
        ("556 5.1.10 Domain takes no mail", "5.1.10", Cause.DOMAIN),
        ("550 5.1.2 Bad system", "5.1.2", Cause.DOMAIN),
        ("550 5.1.8 Sender's domain unknown", "5.1.8", Cause.REFUSED),
        ("550 5.2.1 Mailbox closed", "5.2.1", Cause.CLOSED),
        ("552 5.2.2 Mailbox full", "5.2.2", Cause.FULL),
        ("452 4.2.2 Mailbox full", "4.2.2", Cause.FULL),
        ("552 5.2.3 Too big for it", "5.2.3", Cause.TOO_BIG),
        ("552 5.3.4 Message over the limit", "5.3.4", Cause.TOO_BIG),
        ("421 4.3.2 Service is stopping", "4.3.2", Cause.OTHER),
        ("554 5.4.6 Routing loop", "5.4.6", Cause.OTHER),
        ("451 4.4.1 No answer", "4.4.1", Cause.UNREACHABLE),
        ("553 5.6.7 peer does not offer SMTPUTF8", "5.6.7", Cause.FORM),
        ("550 5.7.1 Relaying denied", "5.7.1", Cause.REFUSED),
        ("550 5.999.999 x", "5.999.999", Cause.OTHER),
        ("550-5.1.1 first line", "5.1.1", Cause.ADDRESS),
        ("550 5.1.1", "5.1.1", Cause.ADDRESS),
    ],
)
def test_a_reply_with_an_enhanced_code_gives_it(reply: str, status: str, cause: Cause) -> None:
    for permanent in (True, False):  # the reply itself decides
        found = judge(reply, None, permanent=permanent)
        assert (found.status, found.cause, found.text) == (status, cause, reply)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("550", "5.0.0"),
        ("550 ", "5.0.0"),
        ("550 User unknown", "5.0.0"),
        ("450 Try later", "4.0.0"),
        ("550 4.1.1 which is it?", "5.0.0"),  # RFC 2034 §4: the two must agree
        ("450 5.1.1 which is it?", "4.0.0"),
        ("550 2.1.5 x", "5.0.0"),
        ("550 5.1.1x", "5.0.0"),
        ("550 5.1.1.1 x", "5.0.0"),
        ("550 5.01.1 x", "5.0.0"),  # RFC 3463 §2
        ("550 5.1000.1 x", "5.0.0"),
        ("550 5.1 x", "5.0.0"),
        ("550  5.1.1 x", "5.0.0"),
        ("550 5.1.1\r\n5.2.2 x", "5.0.0"),
        ("550 ٥.1.1 x", "5.0.0"),
    ],
)
def test_what_is_no_enhanced_code_falls_back_on_the_code(reply: str, status: str) -> None:
    assert judge(reply, None, permanent=True).status == status


@pytest.mark.parametrize(
    "text", ["", "garbage", "999 x", "5500 x", "250 2.0.0 x", "354 go", "٥50 x"]
)
def test_what_is_no_refusal_falls_back_on_the_fate(text: str) -> None:
    assert judge(text, None, permanent=True).status == "5.0.0"
    assert judge(text, None, permanent=False).status == "4.0.0"


@pytest.mark.parametrize(
    ("reason", "waiting", "failed", "cause"),
    [
        (FailureReason.CONNECTION, "4.4.1", "5.4.1", Cause.UNREACHABLE),
        (FailureReason.TIMEOUT, "4.4.2", "5.4.2", Cause.UNREACHABLE),
        (FailureReason.EXPIRED, "4.4.7", "5.4.7", Cause.UNREACHABLE),
        (FailureReason.NO_STARTTLS, "4.7.4", "5.7.4", Cause.UNSAFE),
        (FailureReason.TLS, "4.7.5", "5.7.5", Cause.UNSAFE),
        (FailureReason.SERVER_NAME, "4.7.5", "5.7.5", Cause.UNSAFE),
        (FailureReason.SERVER_CHAIN, "4.7.5", "5.7.5", Cause.UNSAFE),
        (FailureReason.NOT_LISTED, "4.7.1", "5.7.1", Cause.NOT_LISTED),
        (FailureReason.PROTOCOL, "4.5.0", "5.5.0", Cause.OTHER),
        (FailureReason.UNKNOWN_OUTCOME, "4.4.2", "5.4.2", Cause.UNCERTAIN),
        (FailureReason.DROPPED, "4.0.0", "5.0.0", Cause.DROPPED),
        (FailureReason.STORE, "4.3.0", "5.3.0", Cause.UNREADABLE),
        (FailureReason.BODY_MISSING, "4.3.0", "5.3.0", Cause.UNREADABLE),
        (FailureReason.BODY_KEY_MISSING, "4.3.0", "5.3.0", Cause.UNREADABLE),
    ],
)
def test_without_a_reply_the_reason_of_the_attempt_counts(
    reason: FailureReason, waiting: str, failed: str, cause: Cause
) -> None:
    for permanent, status in ((False, waiting), (True, failed)):
        found = judge("no route to host", reason, permanent=permanent)
        assert (found.status, found.cause, found.host) == (status, cause, "")


def test_a_domain_that_takes_no_mail_is_another_thing_than_one_that_is_not_found() -> None:
    # RFC 7505 §4.1
    lost = judge("MX of b.fr could not be found", FailureReason.NO_ROUTE, permanent=False)
    assert (lost.status, lost.cause) == ("4.4.4", Cause.UNREACHABLE)
    null = judge("b.fr takes no mail (null MX, RFC 7505)", FailureReason.NO_ROUTE, permanent=True)
    assert (null.status, null.cause) == ("5.1.10", Cause.DOMAIN)


def test_a_reply_in_the_error_of_an_attempt_names_its_host() -> None:
    found = judge(
        "mx1.b.fr: 421 4.3.2 Service is stopping", FailureReason.CONNECTION, permanent=False
    )
    assert (found.status, found.text, found.host) == (
        "4.3.2",
        "421 4.3.2 Service is stopping",
        "mx1.b.fr",
    )
    refused = judge("mx1.b.fr: Connection refused", FailureReason.CONNECTION, permanent=False)
    assert (refused.status, refused.host) == ("4.4.1", "")


@pytest.mark.fuzz
@given(
    text=st.one_of(
        st.text(),
        st.from_regex(r"([a-z.]{1,9}: )?[0-9]{3}[ -]([0-9]{1,4}\.){0,3}[0-9]* ?.*", fullmatch=True),
    ),
    reason=st.sampled_from([None, *FailureReason]),
    permanent=st.booleans(),
)
@example(text="550 5.1.1" + " " * 9, reason=None, permanent=False)
def test_whatever_is_said_gives_a_status(
    text: str, reason: FailureReason | None, permanent: bool
) -> None:
    # RFC 3464 §2.3.4
    found = judge(text, reason, permanent=permanent)
    assert re.fullmatch(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}", found.status, re.ASCII)
    assert text.endswith(found.text)
