"""Log lines, ours and libraries': no patient's identifier, no control character."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from mssante_operator import logs

INS = "279035121518989"
EVIL = "\x1b]0;x\x07 \x9b2J \u202ecod\u2069 \u2028 fin"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = structlog.get_config()
    root, handlers = logging.getLogger(), logging.getLogger().handlers[:]
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    structlog.configure(**before)


def _log_everything(style: str) -> None:
    logs.configure("info", "json" if style == "json" else "console", process="worker:1")
    log = structlog.get_logger("x")
    log.info("short", sender="x1234@patient.mssante.fr")
    log.info("refused", detail=f"utilisateur {INS}", reply=EVIL, count=3, on=True, none=None)
    event = f"event {INS} {EVIL}"
    log.info(event, lines=[f"a {INS}", EVIL], more={"k": (EVIL, INS)})
    log.info("forged", detail="a\n2026-01-01 [info] forged")
    try:
        int(f"no {INS} {EVIL}")
    except ValueError as error:
        log.exception("delivery.error", error=error)
    logging.getLogger("asyncio").error("Task %s %s", INS, EVIL)


@pytest.mark.parametrize("style", ["json", "console"])
def test_what_comes_out(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    _log_everything(style)
    out = capsys.readouterr().err
    assert INS not in out
    assert "x1234" not in out
    assert out.replace("\n", "").replace("\t", "").isprintable()
    assert out.count("forged") == 2  # one line
    assert not any(line.startswith("2026-01-01") for line in out.splitlines())
    assert "Traceback" in out
    assert "\\u202e" in out
    if style == "json":
        found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        assert len(found) == 5
        assert found[1]["count"] == 3
        assert found[1]["on"] is True
        assert found[1]["process"] == "worker:1"
        assert "\n" in found[4]["exception"]


def test_identifiers_stay(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    key = f"01936f3c9a7b7c1e8{INS}"
    structlog.get_logger("x").info("accepted", message=key)
    assert json.loads(capsys.readouterr().err)["message"] == key
