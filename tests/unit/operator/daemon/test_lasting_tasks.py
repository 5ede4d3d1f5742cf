"""A background task that fails is logged and started again."""

import asyncio
import inspect

import pytest
from structlog.testing import capture_logs

from mssante_operator.daemon import lasting_tasks
from mssante_operator.roles import courier, maintenance, worker


async def test_an_error_is_told_of_and_the_task_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lasting_tasks, "AGAIN_SECONDS", 0.0)
    begun, well = 0, asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise RuntimeError("the disk is odd")
        well.set()
        await asyncio.Event().wait()

    with capture_logs() as logs:
        task = lasting_tasks.keep_running(work)
        await asyncio.wait_for(well.wait(), 5)
    assert [entry["event"] for entry in logs] == ["process.fault"] * 2
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@pytest.mark.parametrize(
    "role", [worker.run_worker, maintenance.run_maintenance, courier.run_courier]
)
def test_each_lasting_task_of_a_process_is_kept(role: object) -> None:
    bare = inspect.getsource(role).count("create_task(")  # type: ignore[arg-type]  # a function
    assert bare == (role is courier.run_courier)  # the courier, awaited at the end
