"""What waits for a busy machine gives up only where nothing moves any more."""

import pytest

from hourbank.local import patience
from hourbank.local.patience import STALLED_SECONDS, Patience
from tests.helpers import waiting
from tests.helpers.waiting import until


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(waiting, "time", clock)
    return clock


def test_an_event_is_waited_for_as_long_as_anything_moves(clock: Clock) -> None:
    def find() -> str:
        return "found" if clock.now > 10 * STALLED_SECONDS else ""

    # something changes each 100 seconds
    assert until(find, moving=lambda: clock.now // 100) == "found"


def test_what_does_not_move_any_more_fails_and_is_shown(clock: Clock) -> None:
    moves = iter(["PENDING", "VALIDATING", "ESCROWED"])
    with pytest.raises(pytest.fail.Exception, match="the answer does not come; it stays at 'ESCROWED'"):
        until(lambda: False, moving=lambda: next(moves, "ESCROWED"), what="the answer")
    assert STALLED_SECONDS < clock.now < STALLED_SECONDS + 10


def test_a_machine_that_slept_has_not_waited(clock: Clock) -> None:
    given = Patience()
    clock.sleep(24 * 3600)
    assert not given.is_over()
    for _ in range(STALLED_SECONDS + 1):
        clock.sleep(1)
        assert given.is_over() is (clock.now > 24 * 3600 + STALLED_SECONDS - 5)
