"""/metrics has the format and conventions of Prometheus, checked by promtool."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.delivery.events import WATCHED
from tests.support.machines.daemon import client, free_endpoint, get, lay_out, served
from tests.support.rules import needs
from tests.support.rules.metrics_page import RULES, documented
from tests.support.waiting import until_now

# `make setup` installs it beside the interpreter if the system has none.
PROMTOOL = shutil.which(
    "promtool", path=os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
)
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None,
    reason=needs.program("promtool", "promtool (Debian 13) or prometheus", "make setup"),
)
CASES = Path(__file__).with_name("mssante.rules.test.yml")
MARTIN = "claire.martin@a.mssante.fr"


def check_against_the_page(text: str) -> None:
    """Check that each family has the type and labels of docs/metrics.md."""
    page = documented()
    families = [f for f in text_string_to_metric_families(text) if f.name.startswith("mssante_")]
    assert len(families) > 25
    for family in families:
        assert page[family.name].kind == family.type, family.name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == page[family.name].labels, sample


@needs_promtool
def test_promtool_has_nothing_to_say_on_the_metrics(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: claire.martin@a.mssante.fr\r\nSubject: x\r\n\r\nBonjour\r\n")
    a = lay_out(tmp_path / "a", "a", {"b.mssante.fr": free_endpoint()}, workers=1)
    with served(a):
        with client(a, "b") as smtp:
            smtp.sendmail("dr@b.mssante.fr", [MARTIN], b"Subject: x\r\n\r\nBonjour\r\n")
        with client(a, "intruder") as smtp:
            smtp.ehlo()
            assert smtp.mail("dr@b.mssante.fr")[0] == 554
        a.run("message", "send", str(letter), "--from", MARTIN, "--to", "durand@b.mssante.fr")
        until_now(lambda: 'reason="connection"' in get(a, "/metrics")[1])
        status, text = get(a, "/metrics")
    assert status == 200
    check_against_the_page(text)
    # Labelled by operator, from the white list; the domain itself never appears.
    assert 'mssante_delivery_attempts_total{operator="smtp.b.mssante.fr"}' in text
    assert '"b.mssante.fr"' not in text
    for family in ("messages_accepted", "refused", "commit_seconds", "queue_deliveries"):
        assert f"# TYPE mssante_{family}" in text
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_promtool
@pytest.mark.parametrize("check", [("check", "rules", RULES), ("test", "rules", CASES)], ids=str)
def test_promtool_on_the_alerts(check: tuple[object, ...]) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, check)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_counters_that_alerts_watch_begin_with_zero(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    (daemon.folder / "data" / "operators").write_text("smtp.b.mssante.fr\n")
    with served(daemon):
        text = get(daemon, "/metrics")[1]
    for operator in ("smtp.b.mssante.fr", "other", "unlisted"):
        for counter in ("recipients_failed", "recipients_expired", "delivery_attempts"):
            assert f'mssante_{counter}_total{{operator="{operator}"}} 0.0\n' in text
        for reason in WATCHED:
            named = f'operator="{operator}",reason="{reason}"'
            assert f"mssante_deliveries_deferred_total{{{named}}} 0.0\n" in text
    assert 'mssante_store_gc_rounds_total{outcome="failed"} 0.0\n' in text
    watched = re.findall(r'reason=~?"([^"]+)"', RULES.read_text(encoding="utf-8"))
    assert {reason for one in watched for reason in one.split("|")} == set(WATCHED)


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    alerts = re.findall(r"alert: (\w+)", RULES.read_text(encoding="utf-8"))
    cases = CASES.read_text(encoding="utf-8")
    assert len(alerts) == len(set(alerts)) > 10
    assert [alert for alert in alerts if f"alertname: {alert}\n" not in cases] == []
