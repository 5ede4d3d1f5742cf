"""Metrics on disks that are full, broken or missing: values stay right, and return to a file."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from foundation.metric_files import FIRST_OCTETS, MetricFile

ROOT = Path(__file__).parents[3]


SOON = 1e-9  # a time in the past, at which it tries again to have a file


def read(file: MetricFile, key: str) -> float:
    """The value of a key, made with 0 if missing."""
    return float(file.read_value(key)[0])  # type: ignore[no-untyped-call]


def on_disk(path: Path) -> dict[str, float]:
    """The values of a file as Prometheus would get them."""
    found = MmapedDict.read_all_values_from_file(path)  # type: ignore[no-untyped-call]
    return {key.rstrip(): value for key, value, _, _ in found}


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process grows beyond FIRST_OCTETS, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FIRST_OCTETS, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def more(file: MetricFile, number: int) -> dict[str, float]:
    """Set many values, far more than the first room can hold."""
    wanted = {f"key {one:04} " + 100 * "x": float(one) for one in range(number)}
    for key, value in wanted.items():
        assert read(file, key) == 0.0
        file.write_value(key, value, 0.0)
    return wanted


def test_it_takes_the_place_of_the_library_s() -> None:
    assert vars(values)["MmapedDict"] is MetricFile


def test_what_grows_has_its_room_on_the_disk(tmp_path: Path) -> None:
    file = MetricFile(str(tmp_path / "counter_1.db"))
    wanted = more(file, 2000)
    assert on_disk(tmp_path / "counter_1.db") == wanted
    found = (tmp_path / "counter_1.db").stat()
    assert found.st_blocks * 512 >= found.st_size > FIRST_OCTETS
    file.close()
    again = MetricFile(str(tmp_path / "counter_1.db"))
    assert {key: read(again, key) for key in wanted} == wanted
    again.close()


@pytest.mark.usefixtures("small_files")
def test_without_room_to_grow_it_counts_in_memory_until_there_is_some(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricFile(str(path))
    wanted = more(file, 2000)
    assert {key: read(file, key) for key in wanted} == wanted
    assert MetricFile.without_file == {file}
    assert len(on_disk(path)) < len(wanted)
    file._again = SOON
    file.write_value("still", 1.0, 0.0)
    assert MetricFile.without_file == {file}
    resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
    file._again = SOON
    file.write_value("room", 2.0, 0.0)
    assert MetricFile.without_file == set()
    assert on_disk(path) == {**wanted, "still": 1.0, "room": 2.0}
    file.write_value("room", 3.0, 0.0)
    assert on_disk(path)["room"] == 3.0
    file.close()


def test_without_a_folder_it_counts_in_memory_until_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics" / "counter_1.db"
    file = MetricFile(str(path))
    wanted = more(file, 2000)
    assert {key: read(file, key) for key in wanted} == wanted
    path.parent.mkdir()
    file._again = SOON
    file.write_value("there", 1.0, 0.0)
    assert on_disk(path) == {**wanted, "there": 1.0}
    file.close()
    assert MetricFile.without_file == set()


@pytest.mark.integration
def test_a_process_goes_on_counting_on_a_full_disk(tmp_path: Path) -> None:
    script = (
        "import resource\n"
        "from relay import metrics\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "for number in range(3000):\n"
        "    metrics.CUT.labels(f'421 4.{number}').inc()\n"
        "print(metrics.CUT.labels('421 4.2999')._value.get())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1.0\n", "")
