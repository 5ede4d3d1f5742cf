"""docs/metrics.md has each metric of the program, and the alerts use none that is not there."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.rules.metrics_page import PAGE, ROOT, RULES, documented

PACKAGES = ("operator", "relay", "whitelist", "mailstore", "foundation")
METRICS = {
    "Counter",
    "CounterMetricFamily",
    "Gauge",
    "GaugeMetricFamily",
    "Histogram",
    "_by_operator",
}
IN_A_LOOP = {"mssante_spool_free_bytes", "mssante_spool_free_inodes"}


def of_the_code() -> set[str]:
    """The first argument of all that makes a metric."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    calls = [
        node
        for path in paths
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in METRICS
        and node.args
    ]
    names = {
        call.args[0].value
        for call in calls
        if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }
    return names | IN_A_LOOP


@pytest.mark.integration
def test_each_metric_is_explained_and_each_explained_exists() -> None:
    found = of_the_code()
    assert len(found) > 30
    assert documented().keys() == found


def test_alerts_use_what_there_is() -> None:
    page = documented()
    rules = re.sub(r"(?m)^ +(summary|do): .*$", "", RULES.read_text(encoding="utf-8"))
    used = set(re.findall(r"mssante_\w+", rules))
    assert len(used) > 10
    for name in used:
        family = re.sub(r"_(total|bucket)$", "", name)
        assert family in page, name
        kind = {"_total": "counter", "_bucket": "histogram"}.get(name.removeprefix(family), "gauge")
        assert page[family].kind == kind, name


def test_the_page_names_alerts_and_labels_that_exist() -> None:
    rules, page = RULES.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8")
    for alert in re.findall(r"`(Mssante\w+)`", page):
        assert f"alert: {alert}\n" in rules
    every = set().union(*(one.labels for one in documented().values()))
    assert every.isdisjoint({"domain", "address", "recipient", "sender", "message", "session"})
