"""What /metrics says is what Prometheus and its conventions expect, judged by its own tool."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import client, free_endpoint, get, lay_out, served
from tests.support.waiting import until_now

# `make setup` puts it beside the interpreter where the machine has none.
PROMTOOL = shutil.which(
    "promtool", path=os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
)
MARTIN = "claire.martin@a.mssante.fr"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (tools/install-peers.sh)")
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
        until_now(lambda: "mssante_deliveries_deferred_total{" in get(a, "/metrics")[1])
        status, text = get(a, "/metrics")
    assert status == 200
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
