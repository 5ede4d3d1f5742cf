"""What the white list costs: loading the real one, its index in memory, a lookup (`make bench`).

The real list is read beside the checkout; without it, a list of as many domains made by the tests.
"""

import json
import resource
import sys
import time
import tracemalloc
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from mssante_operator.setup.testbed.certificate_profile import LIST_SIGNER
from tests.support.lists.hierarchy import NOW, listed, signed_list, trust
from tests.support.lists.real import REAL_LIST, real_octets, real_trust
from whitelist.national.lookup import WhiteList
from whitelist.national.reader import read_list
from whitelist.pki.trust_store import TrustStore

LOOKUPS = 200_000


@dataclass(frozen=True)
class Figures:
    """CPU seconds to load, peak of the process and growth by the load in MB, lookup in µs."""

    real: bool
    domains: int
    load_cpu_s: float
    peak_mb: float
    before_mb: float
    lookup_us: float
    index_mb_10000_domains: float


def synthetic(domains: int) -> bytes:
    """A signed list of so many domains over a few hundred names, as the real one has."""
    return signed_list(
        listed(
            f"d{n}.mssante.fr",
            f"CN=smtp{n % 400}.mssante.fr,OU=1750000001,O=CHU {n % 400},ST=Paris (75),C=FR",
        )
        for n in range(domains)
    )


def source() -> tuple[bytes, TrustStore, datetime]:
    """The octets to load, what to trust, as of when."""
    if REAL_LIST.is_file():
        return real_octets(), real_trust(), datetime(2025, 3, 1, tzinfo=UTC)
    return synthetic(5_000), trust(), NOW


def lookup(white_list: WhiteList) -> float:
    """Microseconds for one question."""
    domain = next(iter(white_list.document.entries)).domain
    (name, *_) = white_list.names_of(domain)
    began = time.perf_counter()
    for _ in range(LOOKUPS):
        white_list.covers(name, domain)
    return (time.perf_counter() - began) / LOOKUPS * 1e6


def index_megabytes() -> float:
    """What an index of 10 000 domains keeps in memory."""
    data, authorities = synthetic(10_000), trust()
    tracemalloc.start()
    kept = read_list(data, authorities, LIST_SIGNER.common_name, NOW)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.domains == 10_000
    return size / 1e6


def measure() -> Figures:
    """All of it.  The peak is the process's: run it in one of its own."""
    data, authorities, at = source()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.process_time()
    loaded = read_list(data, authorities, LIST_SIGNER.common_name, at)
    cpu = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(
        real=REAL_LIST.is_file(),
        domains=loaded.domains,
        load_cpu_s=round(cpu, 2),
        peak_mb=round(peak, 1),
        before_mb=round(before, 1),
        lookup_us=round(lookup(loaded), 2),
        index_mb_10000_domains=round(index_megabytes(), 1),
    )


if __name__ == "__main__":
    found = asdict(measure())
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        name = Path(REAL_LIST).name if found["real"] else "synthetic"
        sys.stdout.write(f"white list ({name}):\n")
        sys.stdout.writelines(f"  {key}: {value}\n" for key, value in found.items())
