"""Refresh of the white list: its sources in turn, its verification, its adoption."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.lists.hierarchy import NOW
from tests.support.lists.list_site import ListSite, white_list
from tests.support.peers.https_server import HttpsServer, authorities, host, reply, serving
from whitelist.errors import ListReason, ListRefused
from whitelist.national.archive import ListSource
from whitelist.national.newest import ConfirmedList
from whitelist.national.signer import ExpectedSigner
from whitelist.refresh.list_refresh import ListRefresher

HOUR = timedelta(hours=1)
NOWHERE = "https://127.0.0.1:1/list.xml"


@pytest.fixture
def site(tmp_path: Path) -> ListSite:
    found = ListSite(tmp_path)
    found.put(white_list("a.fr", "b.fr"))
    return found


def refused(refresher: ListRefresher) -> ListRefused:
    with pytest.raises(ListRefused) as caught:
        refresher.check()
    assert refresher.problem == str(caught.value)
    return caught.value


def test_a_file_is_adopted_once_and_confirmed_each_time(site: ListSite) -> None:
    refresher = site.refresher()
    first = refresher.check()
    assert (first.changed, first.source) == (True, ListSource.FILE)
    site.now += HOUR
    again = refresher.check()
    assert again.changed is False
    assert refresher.archive.last_check() == site.now
    own = ConfirmedList(first.white_list.digest, site.now)
    assert refresher.archive.known().own == own


def test_a_failure_leaves_the_list_and_a_success_ends_the_problem(site: ListSite) -> None:
    refresher = site.refresher()
    digest = refresher.check().white_list.digest
    site.put(b"<html>")
    refused(refresher)
    active = refresher.archive.active()
    assert active is not None
    assert active.digest == digest
    site.put(white_list("a.fr", "b.fr", "c.fr", at=NOW))
    assert refresher.check().changed
    assert refresher.problem == ""


def test_a_list_of_the_future_is_refused(site: ListSite) -> None:
    site.put(white_list("a.fr", at=NOW + timedelta(days=1, seconds=1)))
    assert refused(site.refresher()).reason is ListReason.FUTURE
    site.now += HOUR
    assert site.refresher().check().changed


def test_a_dead_url_is_tried_three_times(site: ListSite) -> None:
    failed = refused(site.refresher(NOWHERE, file=False))
    assert failed.reason is ListReason.UNREACHABLE
    assert site.pauses == [0.75, 1.5]  # 1 s and 2 s, each shortened by a quarter


def test_a_file_in_place_of_a_dead_url_confirms_nothing(site: ListSite) -> None:
    # DOMAIN §9.12: the file may be older than the list at the URL.
    refresher = site.refresher(NOWHERE)
    with capture_logs() as logs:
        assert refresher.check().source is ListSource.FILE
    (told,) = (line for line in logs if line["event"] == "whitelist.unreachable")
    assert told["using"] == "list.xml"
    assert refresher.archive.known().own is None


def test_a_bad_list_of_the_url_is_not_replaced_by_the_file(site: ListSite, tmp_path: Path) -> None:
    with _https(tmp_path, b"<html>") as (url, _):
        failed = refused(_trusting(site.refresher(url)))
    assert failed.reason is ListReason.NOT_WELL_FORMED
    assert site.pauses == []


def test_an_unchanged_list_is_fetched_once_and_verified_each_time(
    site: ListSite, tmp_path: Path
) -> None:
    with _https(tmp_path, white_list("a.fr")) as (url, server):
        refresher = _trusting(site.refresher(url, file=False))
        assert refresher.check().changed
        assert refresher.check().changed is False
        refresher.sources = replace(refresher.sources, expected_signer=ExpectedSigner("other"))
        assert refused(refresher).reason is ListReason.SIGNER_NOT_CONFIGURED
    assert [request["If-None-Match"] for request in server.requests] == [None, '"1"', '"1"']


def test_the_stamp_follows_the_file(site: ListSite) -> None:
    assert site.refresher(NOWHERE, file=False).source_stamp() == ()
    refresher = site.refresher()
    before = refresher.source_stamp()
    assert refresher.source_stamp() == before != ()
    site.put(white_list("a.fr"))
    assert refresher.source_stamp() != before


def _trusting(refresher: ListRefresher) -> ListRefresher:
    """Let it trust the server's authorities too, which are valid today and not at NOW."""
    anchors = (*refresher.trust.anchors, authorities().root.certificate)
    intermediates = (*refresher.trust.intermediates, authorities().intermediate.certificate)
    refresher.trust = replace(refresher.trust, anchors=anchors, intermediates=intermediates)
    return refresher


@contextmanager
def _https(folder: Path, body: bytes) -> Iterator[tuple[str, HttpsServer]]:
    """Serve `body` with a validator."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers["If-None-Match"] == '"1"':
            reply(handler, 304)
        else:
            reply(handler, 200, body, ETag='"1"')

    with serving(folder, answer, host("localhost")) as server:
        yield server.url, server
