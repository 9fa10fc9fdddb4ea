"""How tests, and the commands that run on this machine, wait: as long as anything changes."""

import pytest

from hourbank.local import patience
from tests.helpers import waiting


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by a minute whenever somebody sleeps."""
    now = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", lambda _: now.__setitem__(0, now[0] + 60))
    return now


def test_what_takes_hours_is_waited_for_while_something_changes(clock: list[float]) -> None:
    assert waiting.until(lambda: clock[0] if clock[0] > 36_000 else 0, moving=lambda: clock[0]) > 36_000


def test_what_stays_the_same_for_minutes_is_given_up(clock: list[float]) -> None:
    with pytest.raises(pytest.fail.Exception, match="the moon does not come; it stays at 'dark'"):
        waiting.until(lambda: clock[0] > 36_000, moving=lambda: "dark", what="the moon")
    assert patience.STALLED_SECONDS < clock[0] < 2 * patience.STALLED_SECONDS
