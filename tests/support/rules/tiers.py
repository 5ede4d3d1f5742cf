"""Tier of each test, decided only here; `pytest -m TIER` runs a tier.

The tier of a test is: its mark; else the folder below tests/ with a tier's name; else the entry of
its file in the table; else `integration` if it needs a server (PostgreSQL, S3); else `unit`. A unit
test may start no process, which is checked while it runs (tests/support/rules/guard.py), so a file
that is missing in the table is found.
"""

from collections.abc import Collection
from pathlib import Path

TIERS = {
    "unit": "in this process alone, within moments: `make check`",
    "integration": "starts processes of ours or servers, or takes long",
    "interop": "speaks with programs of others: Exim, Postfix, OpenSMTPD, scanners",
    "crash": "kills, fills disks, cuts power, loses databases",
}

_FILES = {
    "crash": """
        test_commit_in_doubt test_crash test_crash_delivery test_disk test_fuzz_network
        test_losses test_machines_apart test_machines_failover test_machines_outages test_outage
        test_power test_sync_errors
    """,
    "interop": """
        test_clamav test_dialogues_postfix test_interop_exim test_interop_opensmtpd
        test_interop_postfix test_interop_swaks test_metrics_format test_peers_exim
        test_peers_postfix test_rspamd test_tls_scanners
    """,
    # These start processes, or are slow: `make check` has one minute.
    "integration": """
        test_acts test_admission_defaults test_any_certificate test_audit_matrix test_bench
        test_bucket test_bucket_check test_checkout test_checkpoint test_child test_ci_skips
        test_cli test_clock test_cloned_machine test_cluster test_cluster_list test_commands
        test_config_check test_conversation_times test_crl_refresh test_database_check
        test_delivery_faults test_demo test_early_check test_edge test_export test_file_modes
        test_first_hour test_five_days test_folder_user test_forgetting test_forking
        test_handover_faults test_handover_properties test_information test_last_resort
        test_launcher test_lease_machine test_log_writer test_machine test_mail_commands
        test_marking test_measuring test_migrate test_moved_clock test_odd_folders
        test_outbound_check test_outbound_serve test_patient_unseen test_peer_faults test_peers
        test_peers_room test_pooling test_postgresql test_promises test_queue_audit
        test_queue_commands test_quota test_quotas test_rcpt_pipeline test_readme test_reaping
        test_references test_outside test_mutants test_silent_processes test_heartbeat
        test_stack_dump test_spooling test_whitelist_explain test_standby test_reload
        test_report_safety
        test_revocation_sessions test_run_folder test_scanning_sessions test_self_check test_serve
        test_session_memory test_setup test_sharing test_signature test_site test_soak test_steps
        test_store test_strangers_sessions test_targets test_trace test_trace_life
        test_trace_pruning test_upgrade test_upkeep test_upkeep_stores test_wheel test_whitelist
        test_write_lock
        test_bursts test_connection test_delivery test_delivery_list test_dialogues test_handover
        test_list_waking test_listener test_secured test_session test_settling test_shared_list
        test_sweeping test_telling test_unknown_outcomes
    """,
}
_TIER_OF = {f"{name}.py": tier for tier, names in _FILES.items() for name in names.split()}

_SERVERS = frozenset({"object_server", "own_database", "own_server", "postgres_server"})
_SERVED = frozenset({"postgresql", "bucket"})


def listed() -> frozenset[str]:
    """Files in the table."""
    return frozenset(_TIER_OF)


def file_tier(path: Path) -> str | None:
    """Tier of the unmarked tests of a file; None if it depends on the fixtures of each test.

    `path`: relative to the root of the checkout.
    """
    for folder in path.parts[:-1]:
        if folder in TIERS:
            return folder
    return _TIER_OF.get(path.name)


def tier_of(path: Path, fixtures: Collection[str], parameters: Collection[object]) -> str:
    """Tier of an unmarked test, from its file, fixtures and parameter values."""
    if tier := file_tier(path):
        return tier
    kinds = {str(one[0] if isinstance(one, tuple) and one else one) for one in parameters}
    served = _SERVERS.intersection(fixtures) or _SERVED & kinds
    return "integration" if served else "unit"
