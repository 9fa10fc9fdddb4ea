"""What is played: a path with a fault, two or none, or a longer run, each known by words that play it again."""

from __future__ import annotations

import io
import logging
import os
import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple
from unittest import mock

from hourbank.simulate.faults import (
    AFTER,
    AT_THE_END,
    BESIDE,
    CALL,
    COLLIDING,
    FOR_GOOD,
    FULL,
    HARMLESS,
    INVOCATION,
    MEANWHILE,
    ODD_ANSWERED,
    ODD_CREATED,
    ODD_KINDS,
    PAUSE,
    RAW,
    RECORD,
    REPAIRS,
    STOPS,
    STRAYS,
    STREAM,
    SUBMITTED,
    TAKEN_BACK,
    WAITING,
    WRITES,
    ZOMBIES,
    Fault,
)
from hourbank.simulate.granting import Granting, faults_of
from hourbank.simulate.paths import PathStory, stories
from hourbank.simulate.program import REGION
from hourbank.simulate.run import Simulation, outcome
from hourbank.simulate.wandering import Wander, shortest

# whose AWS the handlers see
NOBODY = {
    "AWS_ACCESS_KEY_ID": "simulated",
    "AWS_SECRET_ACCESS_KEY": "simulated",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
# what the table says about each family of faults
FAMILIES = {
    "a function fails once": tuple(INVOCATION),
    "a function fails for good": tuple(kind + FOR_GOOD for kind in INVOCATION),
    "a function given up for dead writes later": tuple(ZOMBIES),
    "a function is killed at a call": ("killed", "killed-after"),
    "a call is refused, in conflict, lost or repeated": tuple(kind for kind in CALL if kind.startswith("call")),
    "calls are refused or in conflict for good": ("call-refused!", "call-conflict!"),
    "the stream loses, doubles, delays or reorders": RECORD,
    "an execution is stopped or expires": (*STOPS, *WAITING),
    "people answer, change or clear meanwhile": tuple(k for k in MEANWHILE if k.startswith(("prov", "req", "offer"))),
    "the request is deleted or replaced, hours are spent": ("deleted", "replaced", "spent"),
    "a second execution, or an operator, meanwhile": (
        "started-too",
        "released-too",
        "ordered-release",
        "ordered-refund",
    ),
    "a deploy meanwhile; nulls in every optional field": ("deploy", *SUBMITTED),
    "a field holds anything, of any type and size": ODD_KINDS,
    "a record is near 400 KB": ("full", "filled", "filled-almost"),
    "a malformed row lies beside": ("beside",),
    "an entry is nothing's, a balance is written beside the log": ("stray", "raw"),
    "an answer is taken back and given again, unread": (TAKEN_BACK,),
    "a name is free again, an id is asked with anew": ("names-freed", "collides", *AFTER),
    "the stream is not read, for good or for two days": STREAM,
    "the world goes on in a retry's pause": tuple(PAUSE),
}
GRANTS = "first hours are granted, and anything of this"
FAMILY = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}
# the stories whose faults are also tried in pairs
PAIRED = (
    "CheckProviderResponse.ACCEPTED",
    "CheckProviderResponse.REJECTED",
    "WaitForProviderResponse.States.Timeout>CheckProviderResponse.TIMED_OUT",
    "WaitForProviderResponse.States.Timeout>CheckProviderResponse.ACCEPTED",
    "CheckProviderResponse.COUNTER_OFFER>CheckRequesterResponse.ACCEPTED",
    "CheckDecision.RELEASE",
    "CheckDecision.REFUND",
)
COARSE = (
    "result-lost", "raises!", "zombie", "stopped", "call-lost", "killed", "call-conflict", "record-lost",
    "record-twice", "deleted", "provider-declines", "requester-clears", "requester-cancels", "deploy",
)  # fmt: skip


class Replay(NamedTuple):
    """One run: what `--again` takes."""

    story: str
    faults: tuple[Fault, ...]
    repair: str = "redrive"

    def __str__(self) -> str:
        return " ".join([self.story, *map(str, self.faults), self.repair])

    @classmethod
    def of(cls, words: str) -> Replay:
        """Return the case that `str` gave these words for."""
        story, *faults, repair = words.split()
        return cls(story, tuple(Fault.of(fault) for fault in faults), repair)


@dataclass(frozen=True)
class Result:
    """What a run was like.

    Attributes
    ----------
    name, family
        What plays it again; the row of the table that it counts in.
    problems, trace
        What was wrong, and what led there; both are empty where all was right.
    was_loud
        Whether something failed that had to be repaired.
    invocations, calls
        How many calls of functions, and to AWS, it took.
    """

    name: str
    family: str
    problems: tuple[str, ...]
    was_loud: bool
    invocations: int
    calls: int
    trace: tuple[str, ...] = ()


def play(case: Replay, without: dict[str, Any] | None = None, **changes: Any) -> Result:
    """Play a case; after one harmless fault, the end must be as `without` it."""
    simulation = Simulation(story_named(case.story), case.faults, repair=case.repair, **changes)
    problems = simulation.play()
    if without is not None and len(case.faults) == 1 and is_harmless(simulation) and not problems:
        ended = outcome(simulation)
        problems = [
            f"a harmless fault changed {name}: {ended[name]}, without it {expected}"
            for name, expected in without.items()
            if ended[name] != expected
        ]
    return result_of(case, simulation, problems)


def result_of(case: Replay, simulation: Simulation, problems: Sequence[str]) -> Result:
    """Return what a run that has ended was like."""
    kinds = [fault.kind for fault in case.faults]
    family = FAMILY[kinds[0]] if len(kinds) == 1 else "pairs of faults" if kinds else "nothing goes wrong"
    trace = tuple(simulation.trace) if problems else ()
    sizes = len(simulation.invocations), len(simulation.calls)
    return Result(str(case), family, tuple(problems), simulation.was_loud, *sizes, trace)


def is_harmless(simulation: Simulation) -> bool:
    """Whether the faults may leave no trace."""
    return all(fault.kind in HARMLESS and not is_telling(simulation, fault) for fault in simulation.faults)


def is_telling(simulation: Simulation, fault: Fault) -> bool:
    """Whether a fault may change the end: a wait that times out at once, a zombie that does what the story forbids."""
    if fault.kind not in ("hangs", "times-out", "zombie"):
        return False
    state = simulation.invocations[fault.at].state
    if fault.kind == "zombie":
        return bool(state in simulation.levers and simulation.levers[state].fails)
    return state in ("WaitForProviderResponse", "ProcessNegotiation")


def story_named(name: str) -> PathStory:
    return next(story for story in stories() if f"{story}" == name)


class WrongWithoutFaultError(AssertionError):
    """A story is wrong although nothing has gone wrong; `result` tells how."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.name} without a fault: {list(result.problems)}")
        self.result = result


def single_faults(story: PathStory, **changes: Any) -> tuple[list[Fault], dict[str, Any]]:
    """Return each fault at each point that the story passes, and what the story ends with.

    Raises
    ------
    WrongWithoutFaultError
        If it is wrong by itself.
    """
    plain = Simulation(story, **changes)
    if problems := plain.play():
        raise WrongWithoutFaultError(result_of(Replay(str(story), ()), plain, problems))
    faults = [Fault(kind) for kind in SUBMITTED]
    for number, invocation in enumerate(plain.invocations):
        faults += [Fault(kind + often, number) for kind in INVOCATION for often in ("", FOR_GOOD)]
        if invocation.state:
            faults += [Fault(kind, number) for kind in STOPS]
            faults += [Fault(kind, number, later) for kind in ZOMBIES for later in (0, 1, 2, 3, AT_THE_END)]
    for number, call in enumerate(plain.calls):
        kinds = (*CALL, "call-refused!", "call-conflict!", *meanwhile(story))
        faults += [Fault(kind, number) for kind in kinds if "conflict" not in kind or call.operation in WRITES]
    faults += [Fault(kind, number) for kind in RECORD for number in range(len(plain.records))]
    faults += [Fault(kind, number) for kind in STREAM for number in range(len(plain.records))]
    writes = [
        n for n, call in enumerate(plain.calls) if call.operation in (*WRITES, "PutEvents") and call.invocation.state
    ]
    faults += [
        Fault(f"pause-{kind}", number, more)
        for kind in meanwhile(story)
        if f"pause-{kind}" in PAUSE
        for number in writes
        for more in (0, 1)
    ]
    faults += of_data(str(story), len(plain.calls))
    faults += [Fault(kind, number) for kind in WAITING for number in range(len(plain.waits))]
    return faults, outcome(plain)


def of_data(story: str, calls: int) -> Iterator[Fault]:
    """Yield what records can hold: a part of all that there is for each story, so that all of it is tried often."""
    turn = zlib.crc32(story.encode())
    yield from (Fault("full", number) for number in range(len(FULL)))
    yield from (Fault(kind) for kind in AFTER)
    yield from (Fault("stray", number) for number in range(turn % 2, len(STRAYS), 2))
    yield from (Fault("raw", number) for number in range(turn % 2, len(RAW), 2))
    yield Fault(TAKEN_BACK)
    yield Fault("collides", turn % len(COLLIDING))
    yield from (Fault("odd-created", number) for number in range(turn % 6, len(ODD_CREATED), 6))
    yield from (Fault("beside", number) for number in range(turn % 8, len(BESIDE), 8))
    for number in range(turn % 2, len(ODD_ANSWERED), 2):
        yield Fault("odd-answered", (turn + 7 * number) % calls, number)


def meanwhile(story: PathStory) -> Iterator[str]:
    """Yield what others may do while a story runs, as far as it can make a difference there."""
    is_begun = story.machine == "EscrowManagementWorkflow" or story.path[-1] == ("StartServiceExecution", "Next")
    only_then = ("released-too", "ordered-release", "ordered-refund", "provider-withdraws", "requester-confirms")
    yield from (kind for kind in MEANWHILE if is_begun or kind not in only_then)


def singles(name: str, share: tuple[int, int] = (0, 1), **changes: Any) -> Iterator[Result]:
    """Play a story with each single fault, or with every n-th of them from the k-th on, for a share of (k, n).

    One that is wrong without any fault is all there is to say.
    """
    try:
        faults, without = single_faults(story_named(name), **changes)
    except WrongWithoutFaultError as wrong:
        yield wrong.result
        return
    for number, fault in enumerate(faults):
        if number % share[1] == share[0]:
            # each way to finish what failed in turn
            yield play(Replay(name, (fault,), REPAIRS[number % len(REPAIRS)]), without, **changes)


def grant(case: Replay, **changes: Any) -> Result:
    """Play a grant of first hours with one fault, or none."""
    granting = Granting(case.story, next(iter(case.faults), None), **changes)
    problems = granting.play()
    trace = tuple(granting.trace) if problems else ()
    return Result(str(case), GRANTS, tuple(problems), False, granting.invocations, granting.calls, trace)


def grants(name: str, **changes: Any) -> Iterator[Result]:
    """Play a grant of first hours, and then with each single fault."""
    yield grant(Replay(name, ()), **changes)
    yield from (grant(Replay(name, (fault,)), **changes) for fault in faults_of(name, **changes))


def pairs(name: str, seed: int, count: int) -> Iterator[Result]:
    """Play a story with some pairs of faults, drawn with a seed."""
    try:
        faults = [fault for fault in single_faults(story_named(name))[0] if fault.kind in COARSE]
    except WrongWithoutFaultError:
        return  # `singles` says so
    dice = random.Random(f"{seed} {name}")
    all_pairs = list(combinations(faults, 2))
    for first, second in dice.sample(all_pairs, min(count, len(all_pairs))):
        yield play(Replay(name, (first, second), dice.choice(REPAIRS)))


def wander(seed: int) -> Result:
    """Play the longer run of a seed; where something is wrong, the shortest that shows it."""
    run = Wander(seed)
    problems = run.play()
    if problems:
        run = shortest(run)
        problems = run.play()
    trace = tuple(run.trace) if problems else ()
    return Result(f"seed {seed}", "longer runs at random", tuple(problems), False, run.invocations, run.calls, trace)


@contextmanager
def in_silence() -> Iterator[None]:
    """Keep what handlers print to oneself, and a person's own AWS away from them."""
    own = {name for name in os.environ if name.startswith("AWS_")}
    with mock.patch.dict(os.environ, NOBODY), redirect_stdout(io.StringIO()):
        for name in own - NOBODY.keys():
            del os.environ[name]
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
