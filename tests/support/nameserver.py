"""A name server on loopback with the zones a test gives it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zones = Mapping[str, list[str] | dns.rcode.Rcode]
"""By domain: its MX records as `10 host.`, or the code to answer with."""


class _Server(asyncio.DatagramProtocol):
    def __init__(self, zones: Zones) -> None:
        self.zones = zones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        (question,) = query.question
        found = self.zones.get(question.name.to_text(omit_final_dot=True), dns.rcode.NXDOMAIN)
        if isinstance(found, dns.rcode.Rcode):
            answer.set_rcode(found)
        elif found and question.rdtype == dns.rdatatype.MX:
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", "MX", found))
        self.transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server(zones: Zones) -> AsyncIterator[dns.asyncresolver.Resolver]:
    """Serve zones; gives a resolver that asks there."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Server(zones), local_addr=("127.0.0.1", 0)
    )
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    resolver.lifetime = 2
    try:
        yield resolver
    finally:
        transport.close()
