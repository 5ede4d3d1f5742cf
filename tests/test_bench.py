"""The short form of `make bench`: what it measures arrives whole."""

from pathlib import Path

from tests.bench import Load, measure
from tests.support.daemon import lay_out, served


def test_every_message_of_a_load_is_counted_and_stored(tmp_path: Path) -> None:
    with served(lay_out(tmp_path / "a", "a")) as daemon:
        small = measure(daemon, Load(messages=30, size=2_000, connections=4))
        large = measure(daemon, Load(messages=5, size=1_000_000, connections=2))
    assert (small.messages, large.messages) == (30, 5)
    assert small.per_second > 0
