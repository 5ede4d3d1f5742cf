"""Effects of a bucket's rules on bodies: loss, waste of space, none."""

import pytest

from mailstore.s3.bucket_rules import effects_of_rules

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
DAYS = "<Expiration><Days>30</Days></Expiration>"
OLD = (
    "<NoncurrentVersionExpiration><NoncurrentDays>14</NoncurrentDays></NoncurrentVersionExpiration>"
)


def lifecycle(what: str, prefix: str = "", status: str = "Enabled", namespace: str = "") -> bytes:
    rule = f"<Rule><ID>tidy</ID>{prefix}<Status>{status}</Status>{what}</Rule>"
    return f"<LifecycleConfiguration{namespace}>{rule}</LifecycleConfiguration>".encode()


@pytest.mark.parametrize(
    ("rules", "loses"),
    [
        (lifecycle(DAYS), True),
        (lifecycle(DAYS, namespace=NAMESPACE), True),
        (lifecycle(DAYS, "<Prefix></Prefix>"), True),
        (lifecycle(DAYS, "<Prefix>ours/</Prefix>"), True),
        (lifecycle(DAYS, "<Filter><Prefix>our</Prefix></Filter>"), True),
        (lifecycle(DAYS, "<Filter><Prefix>ours/0</Prefix></Filter>"), True),
        (lifecycle("<Expiration><Date>2030-01-01</Date></Expiration>"), True),
        (lifecycle(DAYS, "<Filter><Prefix>theirs/</Prefix></Filter>"), False),
        (lifecycle(DAYS, "<Filter><Prefix>ours2/</Prefix></Filter>"), False),
        (lifecycle(DAYS, "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>"), False),
        (lifecycle(DAYS, status="Disabled"), False),
        (lifecycle(OLD), False),
        (
            lifecycle(
                "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>"
                "</Expiration>"
            ),
            False,
        ),
        (
            lifecycle(
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>"
                "</AbortIncompleteMultipartUpload>"
            ),
            False,
        ),
        (
            lifecycle(
                "<Transition><Days>1</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition>"
            ),
            True,
        ),
        (
            lifecycle(
                "<Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>"
            ),
            False,
        ),
    ],
)
def test_rules_that_lose_bodies(rules: bytes, *, loses: bool) -> None:
    found = effects_of_rules("ours", lifecycle=rules)
    assert bool(found.losses) is loses
    assert all("lifecycle rule tidy" in one and "ours/" in one for one in found.losses)


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_versions_keep_what_is_freed_unless_a_rule_ends_them(status: str) -> None:
    versioning = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
    (doubt,) = effects_of_rules("ours", versioning=versioning.encode()).doubts
    assert f"versioning of the bucket is on ({status})" in doubt
    assert "NoncurrentVersionExpiration" in doubt
    elsewhere = lifecycle(OLD, "<Prefix>theirs/</Prefix>")
    assert effects_of_rules("ours", versioning=versioning.encode(), lifecycle=elsewhere).doubts == (
        doubt,
    )
    assert (
        effects_of_rules("ours", versioning=versioning.encode(), lifecycle=lifecycle(OLD)).doubts
        == ()
    )


def test_object_lock_keeps_what_is_freed() -> None:
    rule = (
        "<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>90</Days></DefaultRetention></Rule>"
    )
    lock = f"<ObjectLockConfiguration{NAMESPACE}>{rule}</ObjectLockConfiguration>"
    (doubt,) = effects_of_rules("", lock=lock.encode()).doubts
    assert "for 90 days" in doubt
    bare = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"
    assert effects_of_rules("", lock=bare + b"</ObjectLockConfiguration>").doubts == ()


def test_a_bucket_without_any_of_it() -> None:
    found = effects_of_rules("", versioning=b"<VersioningConfiguration/>")
    assert (found.losses, found.doubts) == ((), ())


@pytest.mark.parametrize("answer", [b"", b"{}", b"<a", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;'])
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(ValueError, match="no XML"):
        effects_of_rules("", lifecycle=answer)
