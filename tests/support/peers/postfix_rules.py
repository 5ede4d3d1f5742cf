"""Postfix with our rules, as far as its configuration allows, for comparison of dialogues.

The fingerprint of a peer's certificate admits the peer and gives its domain.  Recipients are known,
unknown, closed, suspended or without replies.  Each dialogue has its own port, with its own limits.
Accepted mail is discarded.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from cryptography.hazmat.primitives.hashes import SHA256

from relay.policy.sizes import report_limit
from tests.support.machines.operators import (
    ACTIVE,
    ALIAS,
    CLOSED,
    NO_REPLY,
    OURS,
    REFUSED,
    SUSPENDED,
    trust_space,
)
from tests.support.peers.postfix import MASTER, started

_MAIN = """\
myorigin = {domain}
virtual_transport = discard
virtual_mailbox_maps = inline:{{MAILBOXES}}
virtual_alias_maps =
smtpd_banner = $myhostname ESMTP
smtpd_tls_security_level = encrypt
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_tls_fingerprint_digest = sha256
smtpd_delay_reject = no
smtpd_helo_required = yes
smtpd_restriction_classes = from_b, from_c, foreign, unlisted, no_reply
no_reply = check_sender_access inline:{{{{<>=OK}}}},
    check_sender_access static:{{550 5.7.1 Nobody reads this mailbox}}
from_b = check_sender_access inline:{{{{b.mssante.fr=OK}}, {{<>=OK}}}}, foreign
from_c = check_sender_access inline:{{{{c.mssante.fr=OK}}, {{<>=OK}}}}, foreign
foreign = check_sender_access static:{{550 5.7.1 Sender domain is not listed with it}}
unlisted = check_sender_access static:{{554 5.7.1 Certificate is not on the list}}
smtpd_sender_restrictions = check_ccert_access inline:{{PEERS}}, unlisted
parent_domain_matches_subdomains =
smtpd_relay_restrictions = reject_unauth_destination
relay_domains_reject_code = 550
smtpd_recipient_restrictions = check_recipient_access
    inline:{{{{CLOSED=550 5.2.1 Mailbox closed}}, {{SUSPENDED=450 4.2.1 Mailbox suspended}},
    {{REFUSED=550 5.2.1 Mailbox suspended}}, {{NO_REPLY=no_reply}}}}
message_size_limit = 1400000
virtual_mailbox_limit = 0
smtpd_recipient_limit = 1000
smtpd_error_sleep_time = 0
smtpd_client_event_limit_exceptions =
smtpd_forbid_bare_newline = reject
smtpd_forbid_bare_newline_exclusions =
strict_rfc821_envelopes = yes
strict_smtputf8 = yes
smtpd_discard_ehlo_keywords = etrn
"""
_OLD_LIST = "check_sender_access static:{451 4.7.1 The list may be old, try again later}"
_NO_LIST = "check_sender_access static:{451 4.7.1 No list, try again later}"
_AUTHORS = (
    r"regexp:{ {!/^From:/ DUNNO}, {/@b\.mssante\.fr>/ DUNNO}, {/^/ REJECT Author is not listed} }"
)
_OWN_AUTHORS = r"regexp:{ {/^From:.*@a\.mssante\.fr/ REJECT Author is ours} }"

# Settings of a dialogue as settings of Postfix: of smtpd, and of cleanup behind it.
_OF_SMTPD = {
    "max_recipients": "smtpd_recipient_limit",
    "max_errors": "smtpd_hard_error_limit",
    "max_commands": "smtpd_junk_command_limit",
    "max_messages": "smtpd_client_message_rate_limit",
}
_OF_CLEANUP = {
    "max_header_bytes": "header_size_limit",
    "max_received": "hopcount_limit",
}
# Postfix counts no fields, and has no quota of a domain.
_NONE = {"peer", "max_header_fields", "domain_quota"}


def _options(settings: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    smtpd: dict[str, str] = {}
    cleanup: dict[str, str] = {}
    for name, value in settings.items():
        match name, value:
            case "list", "none":
                smtpd["smtpd_sender_restrictions"] = _NO_LIST
            case "list", "old":
                smtpd["foreign"] = smtpd["unlisted"] = _OLD_LIST
            case "header_from", "refuse":
                cleanup["header_checks"] = _AUTHORS
            case "own_header_from", "refuse":
                cleanup["header_checks"] = _OWN_AUTHORS
            case (
                "max_message_bytes",
                octets,
            ):  # Postfix has one limit, we have another limit for reports
                smtpd["message_size_limit"] = str(report_limit(int(octets)))
            case "postmaster", address:
                smtpd["virtual_alias_maps"] = f"inline:{{postmaster@{OURS}={address}}}"
            case _ if name in _OF_SMTPD:
                smtpd[_OF_SMTPD[name]] = value
            case _ if name in _OF_CLEANUP:
                cleanup[_OF_CLEANUP[name]] = value
            case _:
                assert name in _NONE, f"no setting of Postfix is known for {name}"
    return smtpd, cleanup


def _master(ports: Mapping[str, int], dialogues: Mapping[str, Mapping[str, str]]) -> str:
    lines = MASTER.splitlines()[1:]
    for name, port in ports.items():
        smtpd, cleanup = _options(dialogues[name])
        smtpd["cleanup_service_name"] = f"cleanup-{name}"
        lines.append(f"127.0.0.1:{port} inet n - n - - smtpd{_overriding(smtpd)}")
        lines.append(f"cleanup-{name} unix n - - - 0 cleanup{_overriding(cleanup)}")
    lines.append("discard unix - - n - - discard")
    return "\n".join(lines) + "\n"


def _overriding(options: Mapping[str, str]) -> str:
    return "".join(f"\n  -o {{ {name} = {value} }}" for name, value in options.items())


def _fingerprint(operator: str) -> str:
    octets = trust_space().operators[operator].certificate.fingerprint(SHA256())
    return octets.hex(":").upper()


@contextmanager
def _reserved(count: int) -> Iterator[list[int]]:
    """Reserve ports of loopback, on which only Postfix may listen meanwhile."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            # Postfix sets this option too, so without a reservation two servers could share a port.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]


@contextmanager
def ruled(dialogues: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, int]]:
    """Run Postfix for dialogues (name to settings); yields name to port."""
    space = trust_space()
    peers = ", ".join(f"{{{{{_fingerprint(name)} = from_{name}}}}}" for name in "bc")
    others = (f"cardiologie@{OURS}", f"plein@{OURS}")
    mailboxes = (ACTIVE, *others, SUSPENDED, CLOSED, REFUSED, NO_REPLY, ALIAS)
    main = (
        _MAIN.replace("PEERS", peers)
        .replace("MAILBOXES", ", ".join(f"{one}=x" for one in mailboxes))
        .replace("CLOSED", CLOSED)
        .replace("SUSPENDED", SUSPENDED)
        .replace("REFUSED", REFUSED)
        .replace("NO_REPLY", NO_REPLY)
    )
    with _reserved(len(dialogues)) as numbers:
        ports = dict(zip(dialogues, numbers, strict=True))
        master = _master(ports, dialogues)
        with started(OURS, space.operators["a"], space.space.hierarchy, main, master):
            yield ports
