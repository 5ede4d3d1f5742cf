"""Table [outbound]: mail to other operators."""

from pydantic import Field

from relay.policy import patients

from .base import Count, Hours, Seconds, Section
from .endpoints import DomainRoutes, OperatorRoutes


class OutboundSection(Section):
    """Mail to other operators."""

    concurrency: Count = Field(
        100, description="Deliveries at the same time, to all destinations together."
    )
    destination_concurrency: Count = Field(
        20, description="Deliveries at the same time to one destination, after enough successes."
    )
    destination_concurrency_first: Count = Field(
        5, description="Deliveries at the same time to a destination without any success so far."
    )
    probe_first_seconds: Seconds = Field(
        60.0,
        description="Wait before a probe (a single delivery) to a dead destination (no host "
        "reachable). It doubles up to probe_longest_seconds.",
    )
    probe_longest_seconds: Seconds = Field(600.0, description="Longest wait between two probes.")
    retry_first_seconds: Seconds = Field(
        60.0,
        description="Wait after the first failed attempt. It doubles up to retry_longest_seconds.",
    )
    retry_longest_seconds: Seconds = Field(3600.0, description="Longest wait between two attempts.")
    life_hours: Hours = Field(
        120.0,
        description="Hours after which a waiting message is given up and returned to its sender.",
    )
    failed_days: Count = Field(
        30,
        le=36_500,
        description="Days that a failed message stays in the queue, for a look or a retry by "
        "hand. Its sender already has the DSN.",
    )
    delay_warning_hours: Hours = Field(
        4.0, description="Hours after which the sender of a waiting message gets a delay report."
    )
    unknown_outcome_tries: Count = Field(
        4,
        le=100,
        description="Number of tries if the whole message is sent but the peer gives no usable "
        "reply. Each try may deliver one more copy, so the waits are long: 15 minutes, 1 hour, "
        "then 4 hours. After the last try, the sender is asked to check with the recipient.",
    )
    stuck_seconds: Seconds = Field(
        1800.0,
        description="Time without progress after which an attempt is aborted. A slow peer may "
        "take 25 minutes before its reply about the first recipient (RFC 5321 §4.5.3.2).",
    )
    poll_seconds: Seconds = Field(
        2.0,
        description="Time between two looks for due mail in the queue. New mail leaves at once.",
    )
    patient_max_bytes: Count = Field(
        patients.MAX_BYTES,
        description="Largest message from our users to patient.mssante.fr, in octets.",
    )
    patient_max_counts: patients.Counted = Field(
        patients.Counted.CONTENT,
        strict=False,
        description='Size that patient_max_bytes limits: "content", the message with its '
        'attachments decoded, as in Mon espace santé; "wire", the message as sent, a third '
        "larger.",
    )
    patient_ins_key: bool = Field(
        default=True,
        description="true: check the key (last two digits) of the INS in addresses at "
        "patient.mssante.fr. false: for tests only, because some examples of ANS have a wrong "
        "key.",
    )
    dns_servers: list[str] = Field(
        default_factory=list,
        description="Addresses of the DNS servers. Empty: DNS servers of the system.",
    )
    dns_timeout_seconds: Seconds = Field(
        10.0, description="Timeout of a DNS query, over all servers and tries."
    )
    routes: DomainRoutes = Field(
        default_factory=dict,
        description="Hosts of a recipient domain, in place of DNS: DOMAIN = HOST:PORT, or a "
        "list in order of preference. The certificate check is the same.",
        examples=[{"b.mssante.fr": "127.0.0.1:2526"}],
    )
    operator_routes: OperatorRoutes = Field(
        default_factory=dict,
        description="Hosts for all domains that the white list gives to the certificate with "
        "this CN, except domains in routes: CN = HOST:PORT, or a list.",
        examples=[{"smtp.c.mssante.fr": ["192.0.2.7:25", "192.0.2.8:25"]}],
    )
