"""A bucket that loses bodies is refused at start and by `config check`; other traits are doubts."""

from pathlib import Path

import pytest

from mailstore.s3.bucket import Bucket, BucketPlace
from mssante_operator.checks.bucket import check, check_bucket
from mssante_operator.settings.model import Settings, SettingsError, load
from tests.support.machines.cluster import keep_in_bucket
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.storage.object_server import ObjectServer

EXPIRES = (
    "<LifecycleConfiguration><Rule><ID>tidy</ID><Filter><Prefix></Prefix></Filter>"
    "<Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>"
    "</LifecycleConfiguration>"
)
VERSIONS = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@pytest.fixture
def place(object_server: ObjectServer) -> BucketPlace:
    return object_server.place(prefix="a")


@pytest.fixture
def operator_a(tmp_path: Path, place: BucketPlace) -> Daemon:
    daemon = lay_out(tmp_path / "a", "a")
    keep_in_bucket(daemon, place)
    return daemon


@pytest.fixture
def settings(operator_a: Daemon) -> Settings:
    return load(operator_a.config)


def test_a_bucket_without_rules(
    settings: Settings, place: BucketPlace, object_server: ObjectServer
) -> None:
    look = check_bucket(settings)
    assert (look.losses, look.doubts) == ([], [])
    assert [found.key for found in Bucket(place).list()] == []
    assert object_server.uploads(place.bucket) == 0


def test_versions_are_a_doubt_that_says_what_to_set(
    operator_a: Daemon, place: BucketPlace, object_server: ObjectServer
) -> None:
    object_server.configure(place.bucket, "versioning", VERSIONS)
    said = operator_a.run("config", "check")
    (line,) = [
        line for line in said.splitlines() if "versioning of the bucket is on (Enabled)" in line
    ]
    assert "DOUBT" in line
    assert "NoncurrentVersionExpiration" in line


def test_a_rule_that_expires_bodies_is_refused(
    operator_a: Daemon, place: BucketPlace, object_server: ObjectServer
) -> None:
    object_server.configure(place.bucket, "lifecycle", EXPIRES)
    said = operator_a.run("config", "check", code=1)
    (line,) = [line for line in said.splitlines() if "lifecycle rule tidy deletes bodies" in line]
    assert "NO" in line
    assert "lifecycle rule tidy deletes bodies" in operator_a.run("serve", code=1)


@pytest.mark.parametrize(
    ("method", "words", "right"),
    [("PUT", "/probe", "s3:PutObject"), ("GET", "/probe", "s3:GetObject")],
)
def test_rights_without_which_mail_cannot_be_kept(
    settings: Settings, object_server: ObjectServer, method: str, words: str, right: str
) -> None:
    object_server.fail(403, method, words)
    try:
        with pytest.raises(SettingsError, match=f"403 TestFault.*{right}"):
            check(settings)
    finally:
        object_server.fail(200, "NONE")


@pytest.mark.parametrize(
    ("status", "method", "words", "says"),
    [
        (403, "DELETE", "/probe", "s3:DeleteObject"),
        (403, "DELETE", "uploadId", "s3:AbortMultipartUpload"),
        (403, "GET", "versioning", "s3:GetBucketVersioning"),
        (403, "GET", "lifecycle", "s3:GetLifecycleConfiguration"),
        (403, "GET", "object-lock", "s3:GetBucketObjectLockConfiguration"),
        (503, "PUT", "/probe", "rights not checked"),
        (503, "GET", "lifecycle", "lifecycle of the bucket not checked: 503 TestFault"),
    ],
)
def test_what_is_refused_or_away_otherwise_is_a_doubt(
    settings: Settings, object_server: ObjectServer, status: int, method: str, words: str, says: str
) -> None:
    object_server.fail(status, method, words)
    try:
        assert [one for one in check(settings) if says in one]
    finally:
        object_server.fail(200, "NONE")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_store_that_has_no_such_settings(
    settings: Settings, object_server: ObjectServer, status: int
) -> None:
    object_server.fail(status, "GET", "lifecycle")
    try:
        assert not [one for one in check(settings) if "lifecycle" in one]
    finally:
        object_server.fail(200, "NONE")


@pytest.mark.parametrize("status", [301, 400])
def test_another_region_is_told_as_such(
    operator_a: Daemon, place: BucketPlace, object_server: ObjectServer, status: int
) -> None:
    object_server.fail(status, "GET", place.bucket, code="AuthorizationHeaderMalformed")
    try:
        assert "set storage.s3.region" in operator_a.run("config", "check", code=1)
    finally:
        object_server.fail(200, "NONE")


def test_the_credentials_of_a_machine_cannot_ask(
    operator_a: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = operator_a.config.read_text()
    for name in ("access", "secret"):
        text = text.replace(f'{name}_key_file = "{name}"\n', "")
    operator_a.config.write_text(text)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-environment")
    settings = load(operator_a.config)
    assert not [one for one in check(settings) if "not checked" in one]


def test_an_answer_that_is_no_xml_is_a_doubt(
    settings: Settings, object_server: ObjectServer
) -> None:
    object_server.fail(200, "POST", "uploads", code="%26")
    try:
        assert [one for one in check(settings) if "the answer is no XML" in one]
    finally:
        object_server.fail(200, "NONE")
