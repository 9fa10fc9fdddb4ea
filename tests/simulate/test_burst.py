"""Ten thousand requests in a minute, in virtual time: none is lost, none is later than the quotas make it.

Write one here for what only shows when many records come at once; what one record does is in
`tests/handlers/test_router.py`.
"""

from collections import Counter

import pytest

from handlers import route_service_request
from hourbank.simulate.burst import LARGE, OTHER, Bucket, Intake, Pace, Quotas, StreamReader, earliest, take_in
from hourbank.simulate.clock import VirtualClock

# A look at the shard, a cold start, and ten lanes that are not filled evenly.
SECONDS_LATE = 10


def assert_taken_in(intake: Intake, requests: int) -> None:
    """Every request was started, once, and each one's records were done with in their order."""
    assert intake.given_up == []
    assert intake.starts == Counter([*intake.written])
    assert len(intake.started) == requests
    assert all(numbers == sorted(numbers) for numbers in intake.order.values())
    assert Counter(map(len, intake.order.values())) == {1: requests * 9 // 10, 2: requests // 10}


@pytest.mark.thorough
@pytest.mark.parametrize(("quotas", "shards"), [(LARGE, 1), (OTHER, 4)], ids=["large region", "other region"])
def test_ten_thousand_in_a_minute_are_taken_in(quotas: Quotas, shards: int) -> None:
    intake = take_in(10_000, quotas, shards=shards)
    assert_taken_in(intake, 10_000)
    assert intake.late(quotas) < SECONDS_LATE
    assert intake.attempts == 1, "no refusal has cost a delivery"


@pytest.mark.thorough
def test_a_quota_that_others_use_up_costs_time_alone() -> None:
    """A tenth of what a region allows is left: nothing is lost, though it takes minutes."""
    left = Quotas(where="what others leave", bucket=15, refill=15)
    intake = take_in(3_000, left)
    assert_taken_in(intake, 3_000)
    assert intake.refused > 3_000 and intake.attempts <= 2 and intake.late(left) < 60


def test_a_burst_of_a_few_seconds() -> None:
    """As long as it takes for the quota to be used up: a bucket of 80 and 150 a second for 333 a second."""
    quotas = Quotas(where="small", bucket=80, refill=150)
    intake = take_in(1000, quotas, seconds=3)
    assert_taken_in(intake, 1000)
    assert intake.refused > 100, "it was above the quota"
    assert intake.attempts == 1
    assert intake.late(quotas) < SECONDS_LATE


def test_functions_that_are_not_free_cost_no_delivery() -> None:
    quotas = Quotas(where="a new account", bucket=800, refill=150, concurrency=3)
    intake = take_in(500, quotas, seconds=3)
    assert_taken_in(intake, 500)
    assert intake.throttled > 0 and intake.busiest == 3 and intake.attempts == 1


@pytest.mark.thorough
def test_a_router_that_does_not_wait_loses_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above are for: with each refusal given back to the stream, deliveries are used up."""
    monkeypatch.setattr(route_service_request, "_is_passing", lambda _: False)
    intake = take_in(1000, Quotas(where="small", bucket=10, refill=20), seconds=3)
    assert intake.attempts == StreamReader.declared().attempts
    assert intake.given_up and len(intake.started) < 1000


def test_batches_one_after_the_other_are_late() -> None:
    """What the parallelisation is for: the quota would have allowed all of them at once."""
    intake = take_in(1000, OTHER, seconds=6, parallelization=1)
    assert_taken_in(intake, 1000)
    assert intake.late(OTHER) > 20


def test_a_router_that_hangs_is_killed_and_its_records_are_given_up() -> None:
    """Calls that take longer than the function may are attempts, and halves of a batch have as many."""
    intake = take_in(20, OTHER, seconds=1, pace=Pace(call=70), parallelization=1)
    assert not intake.started and sorted(set(intake.given_up)) == sorted(intake.written)
    assert intake.attempts == StreamReader.declared().attempts


def test_what_the_quota_allows() -> None:
    small = Quotas(where="small", bucket=2, refill=1)
    assert earliest([0, 0, 0, 0, 10, 10, 10], small) == [0, 0, 1, 2, 10, 10, 11]
    bucket = Bucket(2, 1)
    assert [bucket.take(now) for now in (0, 0, 0.5, 1, 10, 10, 10)] == [True, True, False, True, True, True, False]


def test_virtual_time_goes_on_to_what_is_due_and_raises_what_was_raised() -> None:
    clock, seen = VirtualClock(), []

    def work(name: str, seconds: float) -> None:
        for _ in range(2):
            clock.sleep(seconds)
            seen.append((name, clock.now))

    clock.start(lambda: work("slow", 3600))
    clock.start(lambda: work("fast", 1000), at=100)
    clock.run()
    assert seen == [("fast", 1100), ("fast", 2100), ("slow", 3600), ("slow", 7200)]
    clock.start([].pop, at=8000)
    with pytest.raises(IndexError):
        clock.run()
