"""Signatures of S3 requests: the example of S3's documentation."""

from datetime import UTC, datetime

from mailstore.s3.signing import Credentials, signed, target

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
AT = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_example_of_get_bucket_lifecycle() -> None:
    host = "examplebucket.s3.amazonaws.com"
    fields = signed("GET", host, "/", {"lifecycle": ""}, "us-east-1", EXAMPLE, AT)
    assert fields["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


def test_a_token_is_signed_and_nothing_of_it_is_shown() -> None:
    temporary = Credentials("key", "secret", "token")
    fields = signed("GET", "h", "/", {}, "r", temporary, AT)
    assert fields["x-amz-security-token"] == "token"
    assert "x-amz-security-token," in fields["authorization"]
    assert not {"key", "secret", "token"} & set(repr(temporary))
    assert repr(temporary) == "Credentials()"


def test_what_is_sent_is_what_is_signed() -> None:
    assert target("/a b/ü", {"z": "1/2", "a": ""}) == "/a%20b/%C3%BC?a=&z=1%2F2"
