"""Silence: counted by the supervisor's own ticks, with a fixed clock."""

import pytest

from mssante_operator.daemon.silence import Silence, SilenceVerdict

ASK, WAIT, SILENT = SilenceVerdict.ASK, SilenceVerdict.WAIT, SilenceVerdict.SILENT


def tick(silence: Silence, *times: float) -> list[SilenceVerdict]:
    return [silence.tick(now) for now in times]


def seconds(begin: int, end: int) -> range:
    """Punctual ticks, with a limit of ten seconds."""
    return range(begin, end + 1)


def test_an_answer_lets_the_next_question_be_asked() -> None:
    silence = Silence(10)
    assert silence.interval == 1
    for now in range(1000, 1100):
        assert silence.tick(now) is ASK
        silence.answered()


def test_there_is_never_a_second_question_before_the_answer() -> None:
    silence = Silence(10)
    assert tick(silence, *seconds(1, 9)) == [ASK] + 8 * [WAIT]
    silence.answered()
    assert tick(silence, *seconds(10, 12)) == [ASK, WAIT, WAIT]


def test_silence_begins_with_the_question_that_is_unanswered() -> None:
    # A loop blocked for less than the limit is never silent, at any phase of the ticks.
    silence = Silence(10)
    tick(silence, *seconds(1, 5))
    silence.answered()
    assert tick(silence, *seconds(6, 15)) == [ASK] + 9 * [WAIT]
    assert silence.seconds == 9
    assert silence.tick(16) is SILENT
    assert silence.seconds == 10


def test_an_answer_in_the_last_moment_counts() -> None:
    silence = Silence(10)
    tick(silence, *seconds(1, 10))
    assert silence.seconds == 9
    silence.answered()
    assert silence.tick(11) is ASK
    assert silence.seconds == 0


@pytest.mark.parametrize("away", [2.1, 9, 11, 3600, 1e9])
def test_while_the_supervisor_was_away_nobody_was_silent(away: float) -> None:
    # The supervisor was stopped, or the machine suspended: it reads answers only afterwards.
    silence = Silence(10)
    tick(silence, *seconds(1, 10))
    now = 10 + away
    assert silence.tick(now) is WAIT
    assert silence.seconds == 0
    assert tick(silence, *(now + more for more in seconds(1, 10))) == 9 * [WAIT] + [SILENT]


def test_a_supervisor_that_is_a_little_late_counts_on() -> None:
    silence = Silence(10)
    assert silence.tick(0) is ASK
    verdicts = tick(silence, *(1.9 * number for number in range(1, 7)))
    assert verdicts == 5 * [WAIT] + [SILENT]


def test_one_that_is_spared_is_judged_again_after_the_same_time() -> None:
    silence = Silence(10)
    assert tick(silence, *seconds(0, 10))[-1] is SILENT
    silence.start_over()
    assert tick(silence, *seconds(11, 20)) == 9 * [WAIT] + [SILENT]
