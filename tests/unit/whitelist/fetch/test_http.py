"""Fetching a list from a real HTTPS server, good or hostile, and from files (DOMAIN §2.1, §9.1)."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.lists.bad_servers import (
    drip_body,
    drip_chunk_size,
    drip_continue,
    drip_header,
    drip_status,
    flood,
)
from tests.support.peers.https_server import (
    HttpsServer,
    host,
    other_authorities,
    reply,
    serving,
    trust_pem,
)
from whitelist.errors import FetchFailed
from whitelist.fetch.http import CacheValidators, FetchedData, NotModified, client_context, fetch

BODY = b"<ListeBlancheMSSante/>" * 10_000
NONE = CacheValidators()
Handler = BaseHTTPRequestHandler


def ask(
    url: str,
    conditions: CacheValidators = NONE,
    *,
    timeout: float = 10,
    deadline: float = 20,
    max_bytes: int = 1_000_000,
) -> FetchedData | NotModified:
    return fetch(
        url,
        tls=client_context(trust_pem()),
        conditions=conditions,
        timeout=timeout,
        deadline=deadline,
        max_bytes=max_bytes,
    )


Serve = Callable[[Callable[[Handler], None]], HttpsServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server named as in its certificate; it ends with the test."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(tmp_path, answer, host("localhost")))


def refused(url: str, **options: float) -> FetchFailed:
    """Fetch, and expect a refusal that names the server."""
    with pytest.raises(FetchFailed) as caught:
        ask(url, **options)  # type: ignore[arg-type]  # seconds and octets alike
    assert not caught.value.too_large
    assert caught.value.detail.startswith(f"{url}: ")
    return caught.value


# Good answers


def test_a_list_is_fetched(serve: Serve) -> None:
    # DOMAIN §9.1
    fields = {"ETag": '"1"', "Last_Modified": "Fri, 28 Feb 2025 15:42:07 GMT"}
    server = serve(lambda handler: reply(handler, 200, BODY, **fields))
    assert ask(server.url) == FetchedData(
        BODY, CacheValidators('"1"', "Fri, 28 Feb 2025 15:42:07 GMT")
    )
    [request] = server.requests
    assert request["Host"] == server.url.split("/")[2]
    assert request["Accept-Encoding"] == "identity"
    assert request["User-Agent"] == "mssante"
    assert request["If-None-Match"] is None
    assert request["If-Modified-Since"] is None


@pytest.mark.parametrize(
    ("field", "sent_back", "value"),
    [
        ("ETag", "If-None-Match", 'W/"28 fevrier"'),
        ("Last_Modified", "If-Modified-Since", "Fri, 28 Feb 2025 15:42:07 GMT"),
    ],
)
def test_the_same_list_again_is_not_modified(
    serve: Serve, field: str, sent_back: str, value: str
) -> None:
    def answer(handler: Handler) -> None:
        if handler.headers[sent_back] == value:
            reply(handler, 304)
        else:
            reply(handler, 200, BODY, **{field: value})

    server = serve(answer)
    first = ask(server.url)
    assert isinstance(first, FetchedData)
    assert ask(server.url, first.conditions) == NotModified()
    assert len(server.requests) == 2


def test_a_changed_list_comes_with_its_own_conditions(serve: Serve) -> None:
    server = serve(lambda handler: reply(handler, 200, b"new", ETag='"2"'))
    assert ask(server.url, CacheValidators('"1"', "x")) == FetchedData(
        b"new", CacheValidators('"2"')
    )


def test_path_and_query_are_asked_for_as_they_are(serve: Serve) -> None:
    server = serve(lambda handler: reply(handler, 200, handler.path.encode()))
    base = server.url.removesuffix("/list.xml")
    for url, target in {
        base: b"/",
        f"{base}?a=1": b"/?a=1",
        f"{base}/a%20b/c.xml?d=e&f#part": b"/a%20b/c.xml?d=e&f",
    }.items():
        assert ask(url) == FetchedData(target, NONE)


def test_a_body_of_unknown_length(serve: Serve) -> None:
    def chunked(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(BODY), 50_000):
            part = BODY[start : start + 50_000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")

    assert ask(serve(chunked).url) == FetchedData(BODY, NONE)


def test_a_body_as_large_as_may_be(serve: Serve) -> None:
    server = serve(lambda handler: reply(handler, 200, BODY))
    assert ask(server.url, max_bytes=len(BODY)) == FetchedData(BODY, NONE)


@pytest.mark.parametrize("value", ["é", "x" * 201, '"a\x7f"', "a\r\n b", ""])
def test_what_is_not_fit_to_be_sent_back_is_no_condition(serve: Serve, value: str) -> None:
    server = serve(lambda handler: reply(handler, 200, b"x", ETag=value, Last_Modified=value))
    assert ask(server.url) == FetchedData(b"x", NONE)


# Bad answers


@pytest.mark.parametrize("status", [201, 204, 206, 300, 400, 403, 404, 410, 500, 503])
def test_other_answers_are_refused(serve: Serve, status: int) -> None:
    server = serve(lambda handler: reply(handler, status, b"" if status == 204 else BODY))
    assert f"answers {status} instead of 200" in refused(server.url).detail


def test_not_modified_is_no_answer_to_an_unconditional_request(serve: Serve) -> None:
    assert "answers 304" in refused(serve(lambda handler: reply(handler, 304)).url).detail


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(serve: Serve, status: int) -> None:
    server = serve(lambda handler: reply(handler, status, b"", Location="/elsewhere.xml"))
    assert "redirects to '/elsewhere.xml', which is not followed" in refused(server.url).detail
    assert len(server.requests) == 1


def test_a_compressed_body_was_not_asked_for(serve: Serve) -> None:
    server = serve(lambda handler: reply(handler, 200, b"\x1f\x8b", Content_Encoding="gzip"))
    assert "compressed" in refused(server.url).detail


def test_a_body_that_breaks_off(serve: Serve) -> None:
    def answer(handler: Handler) -> None:
        reply(handler, 200, b"half", Content_Length="8")
        handler.close_connection = True

    assert "breaks off after 4 of 8 octets" in refused(serve(answer).url).detail


def test_a_chunked_body_that_breaks_off(serve: Serve) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"8\r\nhalf")
        handler.close_connection = True

    assert "IncompleteRead" in refused(serve(answer).url).detail


def test_an_answer_that_is_not_http(serve: Serve) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(b"220 peer ESMTP\r\n")

    server = serve(answer)
    assert "BadStatusLine" in refused(server.url).detail


def test_no_answer_at_all(serve: Serve) -> None:
    def answer(handler: Handler) -> None:
        handler.close_connection = True

    assert "RemoteDisconnected" in refused(serve(answer).url).detail


def too_large(url: str) -> None:
    with pytest.raises(FetchFailed) as caught:
        ask(url, max_bytes=100_000)
    assert caught.value.too_large
    assert str(caught.value) == f"{url}: more than 100000 octets"


def test_a_body_without_end(serve: Serve) -> None:
    too_large(serve(flood).url)


def test_a_body_announced_too_large_is_not_read(serve: Serve) -> None:
    def answer(handler: Handler) -> None:
        reply(handler, 200, b"", Content_Length="100001")
        server.ending.wait()

    server = serve(answer)
    too_large(server.url)


@pytest.mark.parametrize(
    "drip", [drip_body, drip_chunk_size, drip_status, drip_continue, drip_header]
)
def test_an_answer_that_drips_ends_at_the_deadline(
    serve: Serve, drip: Callable[[HttpsServer, Handler], None]
) -> None:
    server = serve(lambda handler: drip(server, handler))
    begun = time.monotonic()
    assert "no end of it within 0.5 s" in refused(server.url, timeout=5, deadline=0.5).detail
    assert 0.5 <= time.monotonic() - begun < 4


@pytest.mark.integration
def test_silence_after_a_drip_ends_at_the_deadline(serve: Serve) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        silent = time.monotonic() + 1.2
        while time.monotonic() < silent and not server.ending.wait(0.05):
            handler.wfile.write(b"x")
        server.ending.wait()

    server = serve(answer)
    begun = time.monotonic()
    refused(server.url, timeout=1.5, deadline=1.5)
    assert 1.5 <= time.monotonic() - begun < 2.5, "silence was granted its whole timeout"


def test_a_flood_ends_at_the_deadline(serve: Serve) -> None:
    server = serve(flood)
    assert "no end of it within 0.2 s" in refused(server.url, deadline=0.2, max_bytes=10**10).detail


def test_a_silent_server_ends_at_the_timeout(serve: Serve) -> None:
    def answer(_: Handler) -> None:
        server.ending.wait()

    server = serve(answer)
    begun = time.monotonic()
    assert "no answer for 0.3 s" in refused(server.url, timeout=0.3, deadline=10).detail
    assert 0.3 <= time.monotonic() - begun < 4


def test_a_server_that_never_shakes_hands() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://localhost:{listener.getsockname()[1]}/"
        assert "no answer for 0.3 s" in refused(url, timeout=0.3).detail


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "ConnectionRefusedError" in refused(f"https://localhost:{port}/").detail


# Trust


def test_a_server_of_another_authority(tmp_path: Path) -> None:
    # DOMAIN §2.1: only the explicit anchors, even where all names are the same
    credential = host("localhost", other_authorities())
    with serving(tmp_path, lambda handler: reply(handler, 200, BODY), credential) as server:
        assert "its certificate is not trusted" in refused(server.url).detail
    assert server.requests == []


def test_a_server_of_another_name(tmp_path: Path) -> None:
    with serving(
        tmp_path, lambda handler: reply(handler, 200, BODY), host("elsewhere.test")
    ) as server:
        assert "Hostname mismatch" in refused(server.url).detail
    assert server.requests == []


def test_the_context_trusts_the_given_authorities_alone() -> None:
    context = client_context(trust_pem())
    assert context.cert_store_stats() == {"x509": 2, "crl": 0, "x509_ca": 2}
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    with pytest.raises((ValueError, ssl.SSLError)):
        client_context("")


def test_a_server_of_old_tls_is_refused() -> None:
    context = client_context(trust_pem())
    hello = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    versions = hello.read().split(b"\x00\x2b", 1)[1]  # RFC 8446 §4.2.1: supported_versions
    offered = versions[3 : 3 + versions[2]]
    assert sorted(offered[i : i + 2] for i in range(0, len(offered), 2)) == [
        b"\x03\x03",
        b"\x03\x04",
    ]


@pytest.mark.parametrize("careless", ["certificate", "host name"])
def test_a_context_that_does_not_check_is_a_mistake_of_the_caller(careless: str) -> None:
    context = client_context(trust_pem())
    context.check_hostname = False
    if careless == "certificate":
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="must check"):
        fetch(
            "https://localhost/", tls=context, conditions=NONE, timeout=1, deadline=1, max_bytes=1
        )


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/list.xml",
        "HTTP://localhost/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "//localhost/",
        "localhost",
        "https://",
        "https:///list.xml",
        "https://localhost:port/",
        "https://localhost:99999/",
        "https://[::1/",
        "",
    ],
)
def test_only_https_urls(url: str) -> None:
    assert "URL" in refused(url).detail


@pytest.mark.parametrize("url", ["https://a b/", "https://a/\r\nX: y", "https://é.fr/", "\t"])
def test_a_url_with_other_characters(url: str) -> None:
    with pytest.raises(FetchFailed, match="blanks or other characters to encode") as caught:
        ask(url)
    assert not caught.value.too_large


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(FetchFailed, match="user name, which is not supported") as caught:
        ask("https://me:secret@localhost/")
    assert "secret" not in str(caught.value)


def test_a_host_name_that_cannot_be() -> None:
    assert "a..b cannot be a host name" in refused("https://a..b/").detail
