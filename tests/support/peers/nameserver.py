"""Name server on loopback with zones of the test; it counts the questions."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SILENCE = "silence"
"""No answer."""


@dataclass(frozen=True)
class Node:
    """Records of a name, in the form of a zone file.  `fate`: type to a fixed answer.

    `cut`: the answer has only the alias, not its target, like a server that does not recurse.
    """

    mx: tuple[str, ...] = ()
    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    cname: str = ""
    ttl: int = 60
    fate: Mapping[str, dns.rcode.Rcode | str] = field(default_factory=dict)
    cut: bool = False


Zones = Mapping[str, Node | list[str] | dns.rcode.Rcode]
"""Name to records (a list: of MX), or to a response code; other names are NXDOMAIN."""

_MAX_ALIASES = 20  # longer than a resolver follows


@dataclass
class NameServer:
    """Name server.  `zones` may change at any time.  `asked`: number of each (name, type)."""

    zones: Zones
    negative_ttl: int | None = 60  # TTL in the SOA; None: no SOA
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    resolver: dns.asyncresolver.Resolver = field(
        default_factory=lambda: dns.asyncresolver.Resolver(configure=False)
    )

    def respond(self, query: dns.message.QueryMessage) -> dns.message.Message | None:
        """Answer to a question; None for no answer."""
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        (question,) = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[question.name.to_text(omit_final_dot=True), kind] += 1
        name = question.name
        for _ in range(_MAX_ALIASES):
            node = self._node(name)
            if isinstance(node, dns.rcode.Rcode):
                answer.set_rcode(node)
                break
            fate = node.fate.get(kind)
            if isinstance(fate, str):
                return None
            if fate is not None:
                answer.set_rcode(fate)
                break
            if not node.cname:
                records = {"MX": node.mx, "A": node.a, "AAAA": node.aaaa}.get(kind, ())
                if records:
                    answer.answer.append(
                        dns.rrset.from_text_list(name, node.ttl, "IN", kind, records)
                    )
                break
            answer.answer.append(dns.rrset.from_text(name, node.ttl, "IN", "CNAME", node.cname))
            if node.cut:
                return answer
            name = dns.name.from_text(node.cname)
        if self.negative_ttl is not None and not any(
            rrset.rdtype != dns.rdatatype.CNAME for rrset in answer.answer
        ):
            soa = f"ns. root. 1 3600 600 86400 {self.negative_ttl}"
            answer.authority.append(dns.rrset.from_text(".", 86400, "IN", "SOA", soa))
        return answer

    def _node(self, name: dns.name.Name) -> Node | dns.rcode.Rcode:
        found = self.zones.get(name.to_text(omit_final_dot=True), dns.rcode.NXDOMAIN)
        return Node(mx=tuple(found)) if isinstance(found, list) else found


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        assert isinstance(query, dns.message.QueryMessage)
        answer = self.server.respond(query)
        if answer is not None:
            self.transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server(zones: Zones) -> AsyncIterator[NameServer]:
    """Serve zones; yields the server, whose resolver uses it."""
    server = NameServer(zones)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Protocol(server), local_addr=("127.0.0.1", 0)
    )
    server.resolver.nameservers = ["127.0.0.1"]
    server.resolver.port = transport.get_extra_info("sockname")[1]
    server.resolver.lifetime = 10
    try:
        yield server
    finally:
        transport.close()
