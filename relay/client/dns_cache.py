"""DNS cache: each answer is kept for its TTL.

Negative answers are cached too, as long as the SOA says (RFC 2308 §5), but for some minutes at
most.  A failure of a name server is cached for seconds, so that a backlog does not hammer it (RFC
2308 §7).  Concurrent questions for the same name share a query.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.resolver

_LONGEST: Final = 3600.0  # seconds an answer is kept at most, whatever its TTL
_LONGEST_NEGATIVE: Final = 300.0
_TROUBLE: Final = 15.0
_MAX_ALIASES: Final = 8  # aliases that the server leaves to us, RFC 1034 §3.6.2
_MAX_KEPT: Final = 10_000  # answers; the national list has some 5,000 domains

_Question = tuple[dns.name.Name, dns.rdatatype.RdataType]


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """Answer of DNS: records in the order given; no records; or no such name (`exists` False).

    `trouble`: why there is no answer; this may change at any moment.
    """

    records: tuple[dns.rdata.Rdata, ...] = ()
    exists: bool = True
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: DnsAnswer
    until: float


class DnsCache:
    """Caches the answers of `resolver`, which has its own timeouts; `clock`: monotonic seconds."""

    def __init__(
        self,
        resolver: dns.asyncresolver.Resolver,
        clock: Callable[[], float],
        *,
        max_kept: int = _MAX_KEPT,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._max_kept = max_kept
        self._kept: OrderedDict[_Question, _Kept] = OrderedDict()  # least recently used first
        self._asking: dict[_Question, asyncio.Task[DnsAnswer]] = {}

    async def ask(self, name: str, kind: dns.rdatatype.RdataType) -> DnsAnswer:
        """Return the records of a type for a name, aliases followed.  No error of DNS raises.

        The name is absolute, whatever search list the system has.
        """
        try:
            question = dns.name.from_text(name), kind
        except dns.exception.DNSException as error:
            return DnsAnswer(trouble=f"{name!r} is no name in DNS: {error}")
        kept = self._kept.get(question)
        if kept is not None and self._clock() < kept.until:
            self._kept.move_to_end(question)
            return kept.answer
        asking = self._asking.get(question)
        if asking is None:
            asking = asyncio.create_task(self._find_out(question))
            self._asking[question] = asking
            asking.add_done_callback(lambda _: self._asking.pop(question))
        return await asyncio.shield(asking)  # a cancelled caller must not cancel the others

    async def _find_out(self, question: _Question) -> DnsAnswer:
        answer, seconds = await self._query(*question)
        self._kept.pop(question, None)
        if seconds > 0:
            self._kept[question] = _Kept(answer, self._clock() + seconds)
            while len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        return answer

    async def _query(
        self, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> tuple[DnsAnswer, float]:
        """Query the resolver; return the answer and its time in the cache, in seconds."""
        holds = _LONGEST
        for _ in range(_MAX_ALIASES):
            try:
                found = await self._resolver.resolve(name, kind, raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN as error:
                response = error.response(name)  # type: ignore[no-untyped-call]  # dnspython
                until = response.resolve_chaining().minimum_ttl
                return DnsAnswer(exists=False), min(holds, until, _LONGEST_NEGATIVE)
            except (dns.exception.DNSException, OSError) as error:
                return DnsAnswer(trouble=str(error)), _TROUBLE
            chain = found.chaining_result
            holds = min(holds, chain.minimum_ttl)
            if chain.answer is not None:
                return DnsAnswer(tuple(chain.answer)), holds
            if chain.canonical_name == name:
                return DnsAnswer(), min(holds, _LONGEST_NEGATIVE)
            name = chain.canonical_name  # an alias whose target this server did not resolve
        return DnsAnswer(trouble=f"over {_MAX_ALIASES} aliases in a row"), _TROUBLE
