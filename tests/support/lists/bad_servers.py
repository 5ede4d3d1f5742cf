"""Answers of servers that flood or drip."""

from http.server import BaseHTTPRequestHandler

from tests.support.peers.https_server import HttpsServer
from whitelist.fetch.http import CacheValidators

BODY = b"<ListeBlancheMSSante/>" * 10_000
NONE = CacheValidators()
Handler = BaseHTTPRequestHandler


def flood(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:  # until the client hangs up
        handler.wfile.write(BODY)


def dripping(server: HttpsServer, handler: Handler, octet: bytes) -> None:
    while not server.ending.wait(0.05):
        handler.wfile.write(octet)


def drip_body(server: HttpsServer, handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    dripping(server, handler, b"x")


def drip_chunk_size(server: HttpsServer, handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    dripping(server, handler, b"0")


def drip_status(server: HttpsServer, handler: Handler) -> None:
    dripping(server, handler, b"H")


def drip_continue(server: HttpsServer, handler: Handler) -> None:
    dripping(server, handler, b"HTTP/1.1 100 Continue\r\n\r\n")


def drip_header(server: HttpsServer, handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    dripping(server, handler, b"x")
