"""The recipients of DSNs (RFC 3461 §4.1, §5.2), and messages that never get an answer."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.dsn.builder import build_report
from relay.dsn.model import Action
from relay.dsn.rules import (
    FULL_LIMIT,
    Original,
    RecipientResult,
    is_report,
    notify_text,
    wanted,
)
from relay.smtp.errors import SyntaxRefused
from relay.smtp.failure_reason import Cause, FailureReason
from relay.smtp.outcome import State
from relay.smtp.parameters import DsnNotify, DsnReturn
from tests.support.delivery.dsn_results import (
    DELIVERED,
    GIVEN_UP,
    HANDED_ON,
    HERE,
    LATE,
    LETTER,
    NOW,
    ORIGINAL,
    PEER,
    POSTMASTER,
    REFUSED,
    changed,
    noticed,
    result,
    told,
)
from tests.support.delivery.reports import octets_of, read_report

MDN = b"Content-Type: multipart/report; report-type=disposition-notification;\r\n boundary=x\r\n"
DSN = b"Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n"


# NOTIFY by outcome.


@pytest.mark.parametrize(
    ("notify", "asked"),
    [
        ("", {Action.FAILED, Action.DELAYED}),
        ("NEVER", set()),
        ("FAILURE", {Action.FAILED}),
        ("DELAY", {Action.DELAYED}),
        ("SUCCESS", {Action.DELIVERED, Action.RELAYED}),
        ("SUCCESS,FAILURE", {Action.DELIVERED, Action.RELAYED, Action.FAILED}),
        ("FAILURE,DELAY", {Action.FAILED, Action.DELAYED}),
        ("SUCCESS,FAILURE,DELAY", set(Action)),
    ],
)
@pytest.mark.parametrize(
    ("became", "action"),
    [
        (DELIVERED, Action.RELAYED),
        (HANDED_ON, None),  # the peer sends the DSN itself, RFC 3461 §5.2.1
        (HERE, Action.DELIVERED),
        (REFUSED, Action.FAILED),
        (LATE, Action.DELAYED),
        (GIVEN_UP, Action.FAILED),
    ],
    ids=["relayed", "handed-on", "here", "refused", "late", "given-up"],
)
def test_senders_hear_of_what_they_asked_for(
    notify: str, asked: set[Action], became: RecipientResult, action: Action | None
) -> None:
    facts = told(ORIGINAL, changed(became, notify=notify))
    if action in asked:
        assert facts is not None
        assert [recipient.action for recipient in facts.recipients] == [action]
    else:
        assert facts is None


@pytest.mark.parametrize("became", [DELIVERED, HERE, REFUSED, LATE, GIVEN_UP])
@pytest.mark.parametrize("notify", ["", "NEVER", "SUCCESS,FAILURE,DELAY"])
@pytest.mark.parametrize(
    "original",
    [
        replace(ORIGINAL, sender=None),
        replace(ORIGINAL, sender=""),
        replace(ORIGINAL, sender=None, header=DSN),
        replace(ORIGINAL, sender=None, header=MDN),
        replace(ORIGINAL, header=DSN),
        replace(ORIGINAL, header=MDN),  # forbidden by RFC 8098 §3, but some programs do so
    ],
    ids=["null", "empty", "dsn", "mdn", "dsn-with-sender", "mdn-with-sender"],
)
def test_reports_are_never_answered(
    original: Original, notify: str, became: RecipientResult
) -> None:
    # RFC 3461 §5.2, RFC 3464 §2, RFC 8098 §2.1 and §3
    assert told(original, changed(became, notify=notify)) is None
    notice = noticed(original, changed(became, notify=notify))
    assert (notice is not None) == (became in {REFUSED, GIVEN_UP})


@pytest.mark.parametrize(
    "header",
    [
        b"",
        LETTER,
        b"Auto-Submitted: auto-generated\r\n" + LETTER,  # results sent by software
        b"Auto-Submitted: auto-replied\r\n" + LETTER,
        b"Content-Type: multipart/report; report-type=feedback-report\r\n",  # RFC 5965
        b"Content-Type: text/plain; report-type=delivery-status\r\n",
        b"X: multipart/report\r\nSubject: Content-Type: multipart/report\r\n",
        b"Disposition-Notification-To: <dr@a.fr>\r\n",  # a request for an MDN, not an MDN
    ],
)
def test_all_other_mail_is_answered(header: bytes) -> None:
    assert not is_report(header)
    assert told(replace(ORIGINAL, header=header), REFUSED) is not None
    assert noticed(replace(ORIGINAL, header=header), REFUSED) is None


@pytest.mark.parametrize(
    "header",
    [
        MDN,
        DSN,
        b"X: y\r\ncontent-TYPE : MULTIPART/Report;\r\n\tb=x; Report-Type=Delivery-Status\r\n",
        b'Content-Type: multipart/report; report-type="disposition-notification"\r\n',
        b"Content-Type:multipart/report\r\n",
        b"Content-Type: multipart/report; report-type*=utf-8''delivery-status\r\n",
        b"Content-Type: text/plain\r\nContent-Type: multipart/report\r\n",
        b"Content-Type: multipart/report; report-type=delivery-status",
    ],
)
def test_reports_are_known_by_their_type(header: bytes) -> None:
    assert is_report(header)


@pytest.mark.fuzz
@given(
    st.one_of(
        st.binary(),
        st.builds(lambda rest: b"Content-Type: multipart/report" + rest, st.binary(max_size=200)),
    )
)
@example(b"Content-Type: multipart/report" + b';";' * 80_000)
def test_no_header_section_is_too_broken_to_be_judged(header: bytes) -> None:
    assert is_report(header) in {True, False}


def test_notify_is_kept_as_text_and_read_back() -> None:
    for asked in (
        {DsnNotify.NEVER},
        {DsnNotify.DELAY, DsnNotify.SUCCESS},
        set(DsnNotify) - {DsnNotify.NEVER},
    ):
        assert wanted(notify_text(asked)) == asked
    assert (
        notify_text({DsnNotify.DELAY, DsnNotify.SUCCESS, DsnNotify.FAILURE})
        == "SUCCESS,FAILURE,DELAY"
    )
    assert notify_text(None) == ""
    assert wanted("") == {DsnNotify.FAILURE, DsnNotify.DELAY}


# The text of the DSN.


@pytest.mark.parametrize(
    ("became", "status", "diagnostic", "cause"),
    [
        # No reply.
        (("mx.b.fr: Connection refused", "connection"), "4.4.1", "x-mssante", Cause.UNREACHABLE),
        # Banner, EHLO or STARTTLS refused: may pass, so not permanent.
        (("mx.b.fr: 554 5.3.2 No service", "connection"), "5.3.2", "smtp", Cause.OTHER),
        (("mx.b.fr: 421 4.3.2 Busy", "connection"), "4.3.2", "smtp", Cause.OTHER),
        (("mx.b.fr offers no STARTTLS", "no-starttls"), "4.7.4", "x-mssante", Cause.UNSAFE),
        (("mx.b.fr: TLS failed: alert", "tls"), "4.7.5", "x-mssante", Cause.UNSAFE),
        # Certificate.
        (("server refused by rule name: x", "server-name"), "4.7.5", "x-mssante", Cause.UNSAFE),
        # MAIL, RCPT, DATA, and the end of the message.
        ("550 5.7.1 Sender not listed", "5.7.1", "smtp", Cause.REFUSED),
        ("552 5.3.4 Too big", "5.3.4", "smtp", Cause.TOO_BIG),
        ("550 5.1.1 Nobody", "5.1.1", "smtp", Cause.ADDRESS),
        ("452 4.2.2 Full", "4.2.2", "smtp", Cause.FULL),
        ("554 5.5.1 No recipients", "5.5.1", "smtp", Cause.OTHER),
        ("554 5.6.0 Virus found", "5.6.0", "smtp", Cause.FORM),
        ("421 4.4.2 Too slow", "4.4.2", "smtp", Cause.UNREACHABLE),
        ("550 no enhanced code", "5.0.0", "smtp", Cause.OTHER),
        # Malformed reply, timeout, closed connection.
        (("mx.b.fr: Malformed SMTP response", "connection"), "4.4.1", "x-mssante",
         Cause.UNREACHABLE),
        (("the conversation took too long", "timeout"), "4.4.2", "x-mssante", Cause.UNREACHABLE),
        (("mx.b.fr: Connection lost", "connection"), "4.4.1", "x-mssante", Cause.UNREACHABLE),
        # Before any connection.
        (("MX of b.fr could not be found", "no-route"), "4.4.4", "x-mssante", Cause.UNREACHABLE),
        (("b.fr is not on the white list now", "not-listed"), "4.7.1", "x-mssante",
         Cause.NOT_LISTED),
    ],
)  # fmt: skip
def test_each_stage_at_which_it_can_fail_has_its_status(
    became: str | tuple[str, str], status: str, diagnostic: str, cause: Cause
) -> None:
    # One case for each stage of an attempt, from the route to the end of DATA.
    reply, label = (became, "") if isinstance(became, str) else became
    reason = FailureReason(label) if label else None
    state = State.FAILED if reply.startswith("5") else State.WAITING
    one = result(PEER, state, reply=reply, reason=reason, last_attempt=NOW)
    facts = told(ORIGINAL, one)
    assert facts is not None
    assert facts.recipients[0].cause is cause
    (fields,) = read_report(octets_of(build_report(facts))).recipients
    assert fields["Action"] == "failed"
    assert fields["Status"] == status
    assert fields["Diagnostic-Code"].startswith(f"{diagnostic}; ")
    assert fields["Last-Attempt-Date"] == "Mon, 23 Nov 2026 12:00:00 +0000"
    assert "Will-Retry-Until" not in fields


def test_a_delay_is_told_with_its_times() -> None:
    late = changed(LATE, last_attempt=NOW, remote="mx.b.fr")
    facts = told(ORIGINAL, late)
    assert facts is not None
    (fields,) = read_report(octets_of(build_report(facts))).recipients
    assert fields == {
        "Final-Recipient": "rfc822;claire@b.fr",
        "Action": "delayed",
        "Status": "4.2.1",
        "Remote-MTA": "dns; mx.b.fr",
        "Diagnostic-Code": "smtp; 450 4.2.1 Suspended",
        "Last-Attempt-Date": "Mon, 23 Nov 2026 12:00:00 +0000",
        "Will-Retry-Until": "Sat, 28 Nov 2026 08:00:00 +0000",
    }


def test_a_delay_has_the_class_of_one_whatever_the_peer_says() -> None:
    facts = told(
        ORIGINAL,
        changed(LATE, reply="mx.b.fr: 554 5.3.2 No service", reason=FailureReason.CONNECTION),
    )
    assert facts is not None
    assert facts.recipients[0].status == "4.3.2"


def test_who_was_given_up_unheard_has_run_out_of_time() -> None:
    facts = told(ORIGINAL, result(PEER, State.WAITING))
    assert facts is not None
    (one,) = facts.recipients
    assert (one.action, one.status, one.cause) == (Action.FAILED, "4.4.7", Cause.UNREACHABLE)


def test_what_an_operator_dropped_says_so() -> None:
    facts = told(ORIGINAL, result(PEER, State.FAILED, reason=FailureReason.DROPPED))
    assert facts is not None
    report = read_report(octets_of(build_report(facts)))
    assert report.recipients[0]["Status"] == "5.0.0"
    assert "L'administrateur de votre messagerie a retiré ce message" in report.words


def test_several_fates_share_a_report_and_those_nobody_asked_for_are_left_out() -> None:
    became = (
        changed(REFUSED, address="r@b.fr", orcpt="rfc822;old+2Br@b.fr"),
        changed(REFUSED, address="never@b.fr", notify="NEVER"),
        changed(LATE, address="l@b.fr"),
        changed(DELIVERED, address="d@b.fr", notify="SUCCESS"),
        changed(DELIVERED, address="quiet@b.fr"),
        changed(HANDED_ON, address="h@b.fr", notify="SUCCESS"),
    )
    facts = told(ORIGINAL, *became)
    assert facts is not None
    report = read_report(octets_of(build_report(facts)))
    assert [
        (fields["Final-Recipient"], fields["Action"], fields["Status"])
        for fields in report.recipients
    ] == [
        ("rfc822;r@b.fr", "failed", "5.1.1"),
        ("rfc822;l@b.fr", "delayed", "4.2.1"),
        ("rfc822;d@b.fr", "relayed", "2.1.9"),
    ]
    assert report.recipients[0]["Original-Recipient"] == "rfc822;old+r@b.fr"
    assert report.message["Original-Envelope-Id"] == "QQ1"
    assert report.header["To"] == "<dr@a.fr>"
    assert report.header["From"] == "<postmaster@a.fr>"  # ours; the peer's would be a forgery
    assert report.header["Message-ID"] == "<id1@smtp.a.fr>"
    assert report.original == LETTER


@pytest.mark.parametrize(
    ("ret", "became", "size", "returned"),
    [
        ("FULL", REFUSED, FULL_LIMIT, DsnReturn.FULL),
        ("FULL", GIVEN_UP, 5000, DsnReturn.FULL),
        ("FULL", REFUSED, FULL_LIMIT + 1, DsnReturn.HDRS),
        ("HDRS", REFUSED, 5000, DsnReturn.HDRS),
        (None, REFUSED, 5000, DsnReturn.HDRS),
        ("FULL", LATE, 5000, DsnReturn.HDRS),
        ("FULL", changed(DELIVERED, notify="SUCCESS"), 5000, DsnReturn.HDRS),
    ],
)
def test_the_whole_message_goes_back_only_where_it_failed(
    ret: str | None, became: RecipientResult, size: int, returned: DsnReturn
) -> None:
    # RFC 3461 §4.3
    facts = told(replace(ORIGINAL, ret=ret, size=size), became)
    assert facts is not None
    assert facts.returned is returned


def test_one_failure_among_others_returns_the_whole_message() -> None:
    full = replace(ORIGINAL, ret="FULL")
    facts = told(full, LATE, changed(REFUSED, address="x@b.fr"))
    assert facts is not None
    assert facts.returned is DsnReturn.FULL


def test_parameters_that_cannot_be_told_do_not_keep_a_failure_untold() -> None:
    facts = told(replace(ORIGINAL, envid="a+0D"), changed(REFUSED, orcpt="rfc822;a\r\nX: y"))
    assert facts is not None
    assert facts.envid is None
    assert facts.recipients[0].orcpt is None
    build_report(facts)


def test_a_sender_that_is_no_address_is_refused_when_the_report_is_written() -> None:
    facts = told(replace(ORIGINAL, sender="dr@a.fr>\r\nBcc: x"), REFUSED)
    assert facts is not None
    with pytest.raises(SyntaxRefused):
        build_report(facts)


def test_the_writer_of_a_receipt_is_the_postmaster_of_the_mailbox() -> None:
    receipt = told(ORIGINAL, changed(HERE, notify="SUCCESS"))
    postmaster = told(ORIGINAL, changed(HERE, notify="SUCCESS", address="postmaster"))
    assert receipt is not None
    assert postmaster is not None
    assert (receipt.domain, postmaster.domain) == ("b.fr", "smtp.a.fr")


# Notices to the postmaster.


def test_a_report_that_failed_comes_to_the_postmaster_without_anything_of_the_message() -> None:
    ins = "123456789012345@patient.mssante.fr"
    lost = result(ins, State.FAILED, reply=f"550 5.1.1 <{ins}> unknown", last_attempt=NOW)
    original = replace(ORIGINAL, sender=None, header=DSN + b"Subject: secret\r\n", ret="FULL")
    facts = noticed(original, changed(lost, orcpt=f"rfc822;{ins}"))
    assert facts is not None
    octets = octets_of(build_report(facts))
    report = read_report(octets)
    assert b"123456789012345" not in octets
    assert b"secret" not in octets
    assert report.original_type == ""
    assert report.header["To"] == "<admin@a.fr>"
    assert "message id0" in report.words
    assert report.recipients == [
        {
            "Final-Recipient": "rfc822;***@patient.mssante.fr",
            "Action": "failed",
            "Status": "5.1.1",
            "Diagnostic-Code": "smtp; 550 5.1.1 <***@patient.mssante.fr> unknown",
            "Last-Attempt-Date": "Mon, 23 Nov 2026 12:00:00 +0000",
        }
    ]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("x@b.fr", "x@b.fr"),
        ('"1 2"@patient.mssante.fr', "***@patient.mssante.fr"),
        ('"12@patient.mssante.fr"@b.fr', "***@b.fr"),
        ("list+12=patient.mssante.fr@b.fr", "***@b.fr"),
        ("é@patient.mssante.fr", "***@patient.mssante.fr"),
    ],
)
def test_a_notice_names_no_patient_however_the_address_is_written(address: str, shown: str) -> None:
    facts = noticed(replace(ORIGINAL, sender=None), changed(REFUSED, address=address))
    assert facts is not None
    (fields,) = read_report(octets_of(build_report(facts))).recipients
    assert fields["Final-Recipient"] == f"rfc822;{shown}"


def test_a_notice_of_a_notice_is_not_sent() -> None:
    lost = changed(REFUSED, address=str(POSTMASTER))
    original = replace(ORIGINAL, sender=None, header=DSN)
    assert noticed(original, lost) is None
    facts = noticed(original, lost, REFUSED)
    assert facts is not None
    assert [recipient.address for recipient in facts.recipients] == [PEER]


def test_the_postmaster_hears_even_of_those_marked_never() -> None:
    # RFC 3461 §6.1: NOTIFY of a DSN is NEVER; a notice has no sender to notify
    assert noticed(replace(ORIGINAL, sender=None), changed(REFUSED, notify="NEVER")) is not None
