"""What speed the project promises, measured: `make bench`.

Times of programs are medians over fresh interpreters with compiled bytecode, in processor time: on an idle machine that
is the wall time, and on a busy one it stays. What is compared runs in turns: a machine that slows down slows both. What
waits for others (the emulator, skipped time, the tests) is wall time, and wants a machine with nothing else to do.
Ratios and differences hold on other machines, absolute times do not.
"""

import argparse
import compileall
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import heat, operators, router, scale
from hourbank.local import deploy, people
from hourbank.local.emulator import Emulator
from hourbank.local.tables import scan
from hourbank.program import cloudformation

ROOT = Path(__file__).parent.parent
# what Lambda's runtime has besides the standard library
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
# another run may be this much slower or faster for no reason: within it, nothing is missed
NOISE = 0.15

PAGE = ROOT / "docs" / "why" / "performance.md"
SCALE_PAGE = ROOT / "docs" / "why" / "scale.md"
BEGIN, END = "<!-- printed by make bench -->", "<!-- end -->"
BEGIN_ROUTER, BEGIN_HEAT = "<!-- printed by make bench ARGS=--router -->", "<!-- printed by make bench ARGS=--heat -->"
BEGIN_OPERATORS = "<!-- printed by make bench ARGS=--operators -->"
# how many requests are made at once on the emulator, and what may go wrong there ends after so long
AT_ONCE = 20
PATIENCE_SECONDS = 600

# prints the milliseconds of boto3 with a DynamoDB client, then of a handler, and the bytes that it loads of the archive
HANDLER = """
from time import process_time
start = process_time()
import boto3
boto3.client("dynamodb", region_name="us-east-1")
middle = process_time()
import handlers.{name}
end = process_time()
import os, sys
files = {{module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)}}
size = sum(os.path.getsize(file) for file in files if file.startswith({code!r}))
print((middle - start) * 1000, (end - middle) * 1000, size)
"""
# prints, last and after what the functions log, the days that are skipped and the seconds of each round after a first
SKIPPED = """
import os, time
from hourbank.simulate.program import SEVEN_DAYS
from hourbank.simulate.world import deployed
os.environ |= {{"AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull}}
times = []
with deployed() as world:
    world.grant("ann", 3)
    for turn in range({rounds} + 1):
        start = time.perf_counter()
        world.submit(f"r{{turn}}x")
        world.settle()
        world.expire(world.execution(f"service-request-r{{turn}}x"))
        times.append(time.perf_counter() - start)
    assert {{request["status"] for request in world.ledger().requests.values()}} == {{"TIMED_OUT"}}
print(SEVEN_DAYS / 86400, *times[1:])
"""
PROGRAM = "from hourbank.program.recorder import record; record('dev')"
# a class of each service that the program made pulumi_aws load: it loads a service when a name of it is first used
LIST_USED = (
    PROGRAM
    + """
import sys, types
for name, module in list(sys.modules.items()):
    if name.startswith("pulumi_aws.") and name.count(".") == 1 and type(module) is types.ModuleType:
        if "__path__" in vars(module):
            print(f"{name}.{next(used for used, value in vars(module).items() if isinstance(value, type))}")
"""
)


Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """One figure, and what is promised of it, if anything is."""

    what: str
    measured: float
    unit: str
    target: float | None = None
    detail: str = ""

    @property
    def missed(self) -> bool:
        return self.target is not None and self.measured > self.target * (1 + NOISE)

    @property
    def words(self) -> tuple[str, str, str, str]:
        """What, measured, promised, and how it comes about."""
        promised = f"at most {self.target:.3g} {self.unit}" if self.target is not None else ""
        return self.what, f"{self.measured:.3g} {self.unit}", promised, self.detail


@dataclass(frozen=True)
class Handler:
    """What a function loads from the archive, beyond boto3 and a client."""

    name: str
    milliseconds: float
    kilobytes: float
    boto3_milliseconds: float

    @property
    def words(self) -> tuple[str, str, str, str]:
        """Name, time, its ratio to boto3's, and size."""
        ratio = self.milliseconds / self.boto3_milliseconds
        return self.name, f"{self.milliseconds:.0f} ms", f"{ratio:.2f} x", f"{self.kilobytes:.0f} KB"


@dataclass
class Report:
    """All that was measured, and on what."""

    machine: dict[str, object]
    results: list[Result] = field(default_factory=list)
    handlers: list[Handler] = field(default_factory=list)


def run(code: str, *, path: Sequence[Path] = ()) -> str:
    """What code prints in a fresh interpreter; with `path`, it imports from there and the standard library alone."""
    isolated: list[str] = []
    if path:
        code = f"import sys; sys.path[:0] = {[str(folder) for folder in path]!r}\n{code}"
        isolated = ["-I", "-S"]
    return subprocess.run(
        [sys.executable, *isolated, "-c", code],
        # among what is left out: PYTHONDONTWRITEBYTECODE, with which everything is compiled again
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def medians(rounds: int, cases: Mapping[str, str]) -> dict[str, float]:
    """Seconds by case: each is run once to warm up, then all of them in turns."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, code in cases.items():
            start = processor_time_of_children()
            run(code)
            if turn:
                times[name].append(processor_time_of_children() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def processor_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def evaluation(rounds: int) -> Result:
    """The program under the recorder, against the imports that no Pulumi program on AWS gets around."""
    imports = "\n".join(["import pulumi_aws", *run(LIST_USED).splitlines()])
    seconds = medians(rounds, {"program": PROGRAM, "imports": imports})
    return Result(
        "evaluating the program / importing its pulumi_aws",
        seconds["program"] / seconds["imports"],
        "x",
        1.5,
        f"{seconds['program']:.2f} s / {seconds['imports']:.2f} s",
    )


def handlers(rounds: int, archive: bytes) -> list[Handler]:
    """Each handler from the archive alone, after boto3 and the DynamoDB client that every function makes anyway."""
    with tempfile.TemporaryDirectory() as folder:
        code, runtime = Path(folder, "code"), Path(folder, "runtime")
        zipfile.ZipFile(BytesIO(archive)).extractall(code)
        compileall.compile_dir(str(code), quiet=2)
        runtime.mkdir()
        for name in RUNTIME:
            spec = find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            origin = Path(spec.origin)
            source = origin.parent if spec.submodule_search_locations else origin
            (runtime / source.name).symlink_to(source)
        names = [
            path.stem
            for path in sorted((code / "handlers").glob("*.py"))
            if "def handler(" in path.read_text(encoding="utf-8")
        ]
        boto3: list[float] = []
        times: dict[str, list[float]] = {name: [] for name in names}
        sizes: dict[str, float] = {}
        for turn in range(rounds + 1):
            for name in names:
                printed = run(HANDLER.format(name=name, code=str(code)), path=[code, runtime])
                if turn:
                    client, handler, sizes[name] = map(float, printed.split())
                    boto3.append(client)
                    times[name].append(handler)
    floor = statistics.median(boto3)
    found = [Handler(name, statistics.median(times[name]), sizes[name] / 1000, floor) for name in names]
    return sorted(found, key=lambda handler: handler.milliseconds)


def packaging() -> list[Result]:
    """The archive that every function runs from."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        archive = cloudformation.archive_bytes()
        times.append(time.perf_counter() - start)
    files = len(zipfile.ZipFile(BytesIO(archive)).namelist())
    return [
        Result("size of the archive", len(archive) / 1000, "KB", 400, f"{files} files"),
        Result("making the archive", statistics.median(times) * 1000, "ms", 500),
    ]


def throughput() -> Result:
    """Requests made at once on the emulator, accepted and confirmed as soon as they may be, all to their end."""
    with Emulator() as emulator:
        tables = deploy.create_tables(emulator)
        deployment = deploy.deploy(emulator, response_timeout_seconds=PATIENCE_SECONDS)
        deploy.grant_hours(deployment, {"ana": Decimal(3 * AT_ONCE)})
        # at first to start the functions' processes, not all of them together; they stay
        for number in (AT_ONCE // 4, AT_ONCE, AT_ONCE):
            seconds = complete(emulator, tables, number)
    what = "whole requests a second on the emulator"
    return Result(what, AT_ONCE / seconds, "/ s", None, f"{AT_ONCE} at once, {seconds:.1f} s, two executions each")


def complete(emulator: Emulator, tables: Mapping[str, str], number: int) -> float:
    """The seconds from the first of so many requests to the end of the last."""
    dynamodb = emulator.client("dynamodb")
    start = time.perf_counter()
    for _ in range(number):
        people.submit(dynamodb, tables, people.request_record(requester="ana", provider="ben", hours=Decimal(1)))
    answered: set[tuple[str, str]] = set()
    while time.perf_counter() - start < PATIENCE_SECONDS:
        requests = scan(dynamodb, tables["serviceRequest"])
        for request in requests:
            turn = request["id"], str(request.get("status"))
            if turn in answered:
                continue
            answered.add(turn)
            if turn[1] == "AWAITING_PROVIDER":
                people.provider_says(dynamodb, tables, request["id"], "ACCEPTED")
            elif turn[1] == "IN_PROGRESS":
                people.requester_says(dynamodb, tables, request["id"], "COMPLETED")
        if all(request.get("status") == "COMPLETED" for request in requests):
            return time.perf_counter() - start
        time.sleep(0.1)
    raise SystemExit("bench: the emulator did not complete all requests in time: is the machine busy?")


def skipped(rounds: int) -> Result:
    """A request that nobody answers for a week, from its record to its refund, with the week skipped."""
    *_, last = run(SKIPPED.format(rounds=rounds)).splitlines()
    days, *times = map(float, last.split())
    seconds = statistics.median(times)
    detail = f"{days * 86400 / seconds:,.0f} times as fast; every law checked after each write"
    what = f"a request that times out after {days:.0f} days, time skipped"
    return Result(what, seconds, "s", None, detail)


def tests(target: str, promised: float | None) -> Result:
    """The tests as make's target runs them: how long, and how much processor time of theirs and of all they start."""
    # without it nothing of Python's is kept compiled, and every process compiles everything again
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(["make", target], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1]
        raise SystemExit(f"bench: make {target} fails: {last}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(f"make {target}", seconds, "s", promised, f"{used:.0f} s of processor time")


def measure(arguments: argparse.Namespace, say: Say) -> Report:
    """Measure everything that was asked for, and say what goes on."""
    report = Report(
        {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
            "rounds": arguments.rounds,
        }
    )
    say("evaluating the program")
    report.results.append(evaluation(arguments.rounds))
    say("importing each handler")
    report.handlers = handlers(arguments.rounds, cloudformation.archive_bytes())
    heaviest = report.handlers[-1]
    report.results.append(
        Result(
            "importing the heaviest handler, beyond boto3 and a client",
            heaviest.milliseconds,
            "ms",
            100,
            f"{heaviest.name}; boto3 and a client {heaviest.boto3_milliseconds:.0f} ms",
        )
    )
    say("making the archive")
    report.results += packaging()
    say("skipping weeks")
    report.results.append(skipped(arguments.rounds))
    say(f"playing {AT_ONCE} requests on the emulator")
    report.results.append(throughput())
    if arguments.tests:
        for target, promised in (("test", 180), ("test-all", None)):
            say(f"running make {target}, which takes minutes")
            report.results.append(tests(target, promised))
    return report


RESULTS = ("what", "measured", "promised", "")
HANDLERS = ("handler", "import, beyond boto3", "of boto3's own", "source that it loads")


def markdown(report: Report) -> str:
    """The report for the page."""

    def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        return [
            f"| {' | '.join(headings)} |",
            f"|{'---|' * len(headings)}",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]

    machine = report.machine
    on = f"{machine['cores']} cores ({machine['processor']}), {machine['system']}, Python {machine['python']}"
    return "\n".join(
        [
            f"Measured on {on}; medians of {machine['rounds']}.",
            "",
            *table(RESULTS, [result.words for result in report.results]),
            "",
            *table(HANDLERS, [handler.words for handler in report.handlers]),
        ]
    )


def update(page: str, printed: str, place: str = BEGIN) -> str:
    """The page with this report in place of the one before."""
    before, begin, rest = page.partition(place)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"bench: the page has no place for the report: {place} and {END}")
    return f"{before}{begin}\n{printed}\n{end}{after}"


def keep(arguments: argparse.Namespace, plain: object, page: Path, printed: str, place: str = BEGIN) -> None:
    """Write the figures where that is asked for: as JSON, and on their page."""
    if arguments.json:
        arguments.json.write_text(json.dumps(plain, indent=1, default=sorted) + "\n")
    if arguments.update_docs:
        page.write_text(update(page.read_text(encoding="utf-8"), printed, place), encoding="utf-8")


def draw(console: Console, report: Report) -> None:
    """Print the report for a person."""
    results = Table(*RESULTS, title="What was measured", title_justify="left")
    for result in report.results:
        what, measured, promised, detail = result.words
        style = "red" if result.missed else "green" if result.target is not None else "bold"
        results.add_row(what, f"[{style}]{measured}[/]", promised, detail)
    console.print(results)
    loaded = Table(title="Handlers", title_justify="left")
    for heading in HANDLERS:
        loaded.add_column(heading, no_wrap=heading == HANDLERS[0])
    for handler in report.handlers:
        loaded.add_row(*handler.words)
    console.print(loaded)


def parsed() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each case after a first one (default 5)")
    parser.add_argument("--tests", action="store_true", help="time the tests as well, which takes half an hour")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--update-docs", action="store_true", help="put the results into their page of docs/why/")
    parser.add_argument("--check", action="store_true", help=f"fail where a promise is missed by {NOISE:.0%}%")
    parser.add_argument("--scale", action="store_true", help="measure the auditor over many requests instead")
    parser.add_argument("--operators", action="store_true", help="measure the operators' commands over as many instead")
    parser.add_argument("--stuck", type=int, default=10_000, help="with --operators: requests whose execution failed")
    parser.add_argument("--past", type=int, default=1_000_000, help="with both: requests that have ended")
    parser.add_argument("--waiting", type=int, default=10_000, help="and that wait for people")
    parser.add_argument("--in-progress", type=int, default=1_000, help="and whose service is in progress")
    parser.add_argument("--times", type=int, default=10, help="and how much longer the past is in comparison")
    parser.add_argument("--router", action="store_true", help="measure the router and a burst of requests instead")
    parser.add_argument("--requests", type=int, default=router.REQUESTS, help="with --router: how many, 167 a second")
    parser.add_argument("--heat", action="store_true", help="measure moves of hours of one person at once instead")
    parser.add_argument(
        "--at-once", type=int, nargs="+", default=heat.LEVELS, metavar="N", help="with --heat: how many at once"
    )
    arguments = parser.parse_args()
    for name in ("rounds", "stuck", "past", "waiting", "in_progress", "times", "requests"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: at least 1")
    return arguments


def main() -> None:
    """Measure, print, and with --check fail where a promise is missed by more than noise."""
    arguments, progress = parsed(), Console(stderr=True)
    with progress.status("measuring") as status:

        def say(what: str) -> None:
            status.update(what)
            if not progress.is_terminal:
                progress.print(what)

        chosen = {"scale": at_scale, "operators": operated, "router": at_the_way_in, "heat": under_heat}
        measuring = next((chosen[name] for name in chosen if getattr(arguments, name)), at_speed)
        is_missed = measuring(arguments, say)
    if arguments.check and is_missed:
        sys.exit(1)


def at_scale(arguments: argparse.Namespace, say: Say) -> bool:
    """Measure the auditor over many requests; return whether what it costs grows with the past."""
    size = scale.Size(past=arguments.past, waiting=arguments.waiting, in_progress=arguments.in_progress)
    figures = scale.measure(size, arguments.times, say)
    scale.draw(Console(), figures)
    keep(arguments, asdict(figures), SCALE_PAGE, scale.markdown(figures))
    return figures.ratio > scale.MOST_RATIO


def operated(arguments: argparse.Namespace, say: Say) -> bool:
    """Measure the operators' commands over many requests; return whether one grows with the past that must not."""
    stuck, waiting = arguments.stuck, arguments.stuck + arguments.waiting
    size = scale.Size(past=arguments.past, waiting=waiting, in_progress=arguments.in_progress)
    found = operators.measure(size, stuck, say)
    operators.draw(Console(), found, size, stuck)
    printed = operators.markdown(found, size, stuck)
    keep(arguments, [asdict(one) for one in found], SCALE_PAGE, printed, BEGIN_OPERATORS)
    return any(one.grows for one in found)


def at_the_way_in(arguments: argparse.Namespace, say: Say) -> bool:
    """Measure the router, and let bursts be taken in; return whether one is lost or late beyond the quotas."""
    figures = router.measure(arguments.requests, say)
    router.draw(Console(), figures)
    keep(arguments, asdict(figures), SCALE_PAGE, router.markdown(figures), BEGIN_ROUTER)
    return figures.is_missed


def under_heat(arguments: argparse.Namespace, say: Say) -> bool:
    """Measure moves of hours that meet; return whether an execution would fail for that alone."""
    figures = heat.measure(arguments.at_once, say)
    heat.draw(Console(), figures)
    keep(arguments, asdict(figures), SCALE_PAGE, heat.markdown(figures), BEGIN_HEAT)
    return any(one.failed for one in figures.derived)


def at_speed(arguments: argparse.Namespace, say: Say) -> bool:
    """Measure what starts, loads and waits; return whether a promise is missed."""
    report = measure(arguments, say)
    draw(Console(), report)
    keep(arguments, asdict(report), PAGE, markdown(report))
    return any(result.missed for result in report.results)


if __name__ == "__main__":
    main()
