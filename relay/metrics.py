"""Metrics of the relay.  Labels are few and bounded: never an address, a peer's name or an id.

With PROMETHEUS_MULTIPROC_DIR set before this module is imported, all processes of the daemon add to
the same counters, and the admin endpoint sums them.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from foundation import metric_files

metric_files.install()

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

SESSIONS: Final = Counter("mssante_sessions", "SMTP connections accepted from peers")
OPEN: Final = Gauge(
    "mssante_sessions_open", "SMTP connections from peers now", multiprocess_mode="livesum"
)
HANDSHAKES_FAILED: Final = Counter(
    "mssante_tls_handshakes_failed", "Inbound TLS handshakes that failed"
)
TURNED_AWAY: Final = Counter(
    "mssante_connections_turned_away", "Connections over a limit: all, address", ["limit"]
)
CUT: Final = Counter(
    "mssante_sessions_cut", "Sessions that we ended with a reply, by its codes", ["reply"]
)
ACCEPTED: Final = Counter(
    "mssante_messages_accepted", "Messages from peers acknowledged after being made durable"
)
REFUSED: Final = Counter(
    "mssante_refused", "Commands or messages refused, by rule and reply code", ["rule", "code"]
)
COMMIT_SECONDS: Final = Histogram(
    "mssante_commit_seconds", "Time to make one group of messages durable", buckets=_SECONDS
)
DELIVERED: Final = Counter(
    "mssante_recipients_delivered",
    "Recipients delivered, to a mailbox here or to a peer; by operator if to a peer",
    ["to", "operator"],
)
ATTEMPTS: Final = Counter("mssante_delivery_attempts", "Delivery attempts ended", ["operator"])
DEFERRED: Final = Counter(
    "mssante_deliveries_deferred", "Delivery attempts put off", ["operator", "reason"]
)
FAILED: Final = Counter(
    "mssante_recipients_failed", "Recipients refused for good by a peer", ["operator"]
)
EXPIRED: Final = Counter(
    "mssante_recipients_expired", "Recipients given up after the queue's life", ["operator"]
)
DELAYED: Final = Counter(
    "mssante_deliveries_delayed", "Deliveries found late, whose senders are told", ["operator"]
)
DELIVERY_SECONDS: Final = Histogram(
    "mssante_delivery_seconds",
    "Time from acceptance until a peer took a message, by class of traffic",
    ["traffic"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400, 432_000),
)
ATTEMPT_SECONDS: Final = Histogram(
    "mssante_attempt_seconds",
    "Time that an attempt took, waiting for a connection included, by class of traffic",
    ["traffic"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900),
)
