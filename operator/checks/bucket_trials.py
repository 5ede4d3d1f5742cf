"""Trials of a bucket: access rights on a test object, and the bucket's settings.

Needs obstore.  The test object is `probe`, which the daemon also writes at times.
"""

from typing import Final

from mailstore.errors import NotFound, StoreRefuses, StoreUnavailable
from mailstore.s3.bucket import Bucket, BucketPlace, BucketTimeouts
from mailstore.s3.bucket_rules import effects_of_rules, upload_of
from mailstore.s3.bucket_settings import credentials_of, request_settings
from mailstore.s3.signing import Credentials

from ..assembly.clock import utc_now
from .bucket import BucketFindings

_PROBE: Final = "probe"
# Configuration of the bucket that is read, and the right that is needed for it.
_SETTINGS: Final = {
    "versioning": "s3:GetBucketVersioning",
    "object-lock": "s3:GetBucketObjectLockConfiguration",
    "lifecycle": "s3:GetLifecycleConfiguration",
}
_ABSENT: Final = frozenset({400, 404, 405, 501})  # not set, or not supported by this store


def try_bucket(place: BucketPlace, look: BucketFindings) -> None:
    """Add the findings of all trials to `look`.  Blocks."""
    _try_rights(place, look)
    _ask_settings(place, look)


def _try_rights(place: BucketPlace, look: BucketFindings) -> None:
    bucket = Bucket(place, BucketTimeouts(request=10.0, retry=10.0, retries=1))
    try:
        try:
            bucket.put(_PROBE, b"probe")
            bucket.read(_PROBE, 0, 1)
        except StoreRefuses as error:
            look.loses(
                f"{error}: rights missing; give the access key s3:PutObject and s3:GetObject"
            )
            return
        try:
            bucket.delete(_PROBE)
        except StoreRefuses as error:
            look.doubt(f"{error}: space is never freed; give the access key s3:DeleteObject")
    except (NotFound, StoreUnavailable) as error:
        look.doubt(f"rights not checked: {error}")


def _ask_settings(place: BucketPlace, look: BucketFindings) -> None:
    credentials = credentials_of(place)
    if credentials is None:
        look.doubt(
            "versions, object lock and lifecycle rules of the bucket not checked; this needs "
            "access_key_file and secret_key_file; allowed rules: docs/operate.md"
        )
        return
    answers: dict[str, bytes] = {}
    refused = []
    try:
        for name, right in _SETTINGS.items():
            answer = request_settings(place, credentials, utc_now(), {name: ""})
            if answer.status == 200:
                answers[name] = answer.body
            elif answer.status in (401, 403):
                refused.append(right)
            elif answer.status not in _ABSENT:
                look.doubt(f"{name} of the bucket not checked: {answer.problem}")
        _judge(place, answers, look)
        _try_abort(place, credentials, look)
    except StoreUnavailable as error:
        look.doubt(f"bucket settings not checked: {error}")
    if refused:
        look.doubt(
            "bucket settings that can lose bodies or keep deleted ones not checked; "
            f"give the access key {', '.join(refused)}"
        )


def _judge(place: BucketPlace, answers: dict[str, bytes], look: BucketFindings) -> None:
    try:
        verdict = effects_of_rules(
            place.prefix,
            versioning=answers.get("versioning"),
            lock=answers.get("object-lock"),
            lifecycle=answers.get("lifecycle"),
        )
    except ValueError as error:
        look.doubt(f"bucket settings not understood: {error}")
        return
    for problem in verdict.losses:
        look.loses(problem)
    for problem in verdict.doubts:
        look.doubt(problem)


def _try_abort(place: BucketPlace, credentials: Credentials, look: BucketFindings) -> None:
    """Start a multipart upload and abort it, as after a failed upload."""
    begun = request_settings(
        place, credentials, utc_now(), {"uploads": ""}, method="POST", key=_PROBE
    )
    if begun.status != 200:
        return  # `_try_rights` has checked the right to put
    try:
        upload = {"uploadId": upload_of(begun.body)}
    except ValueError as error:
        look.doubt(f"end of failed multipart uploads not checked: {error}")
        return
    ended = request_settings(place, credentials, utc_now(), upload, method="DELETE", key=_PROBE)
    if ended.status in (401, 403):
        look.doubt(
            "failed multipart uploads cannot be ended, and keep their space; give the access key "
            "s3:AbortMultipartUpload"
        )
