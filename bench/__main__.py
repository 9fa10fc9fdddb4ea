"""What speed the project promises, measured: `make bench`.

Every time is a median over fresh interpreters with compiled bytecode, in processor time: on an idle machine that is the
wall time, and on a busy one it stays. What is compared runs in turns, so that a machine that slows down slows both.
Ratios and differences hold on other machines, absolute times do not.
"""

import argparse
import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hourbank import cloudformation

ROOT = Path(__file__).parent.parent
# what Lambda's runtime has besides the standard library
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
# another run may be this much slower or faster for no reason: within it, nothing is missed
NOISE = 0.15

# prints the milliseconds of boto3 with a DynamoDB client, and then of a handler
HANDLER = """
from time import process_time
start = process_time()
import boto3
boto3.client("dynamodb", region_name="us-east-1")
middle = process_time()
import handlers.{name}
print((middle - start) * 1000, (process_time() - middle) * 1000)
"""
PROGRAM = "from hourbank.recorder import record; record('dev')"
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


@dataclass(frozen=True)
class Result:
    """One promise, and what was measured."""

    what: str
    measured: float
    target: float
    unit: str
    detail: str = ""

    @property
    def missed(self) -> bool:
        return self.measured > self.target * (1 + NOISE)


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


def evaluation(rounds: int) -> list[Result]:
    """The program under the recorder, against the imports that no Pulumi program on AWS gets around."""
    imports = "\n".join(["import pulumi_aws", *run(LIST_USED).splitlines()])
    seconds = medians(rounds, {"program": PROGRAM, "imports": imports})
    return [
        Result(
            "evaluating the program / importing its pulumi_aws",
            seconds["program"] / seconds["imports"],
            1.5,
            "x",
            f"{seconds['program']:.2f} s / {seconds['imports']:.2f} s",
        )
    ]


def handlers(rounds: int, archive: bytes) -> list[Result]:
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
        names = [path.stem for path in sorted((code / "handlers").glob("*.py")) if "def handler(" in path.read_text()]
        boto3: list[float] = []
        times: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(rounds + 1):
            for name in names:
                printed = run(HANDLER.format(name=name), path=[code, runtime])
                if turn:
                    client, handler = map(float, printed.split())
                    boto3.append(client)
                    times[name].append(handler)
    extra = sorted((statistics.median(taken), name) for name, taken in times.items())
    heaviest, name = extra[-1]
    detail = f"{name}; lightest handler {extra[0][0]:.0f} ms; boto3 alone {statistics.median(boto3):.0f} ms"
    return [Result("importing the heaviest handler, more than boto3 and a client", heaviest, 100, "ms", detail)]


def packaging() -> list[Result]:
    """The archive that every function runs from."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        archive = cloudformation.archive_bytes()
        times.append(time.perf_counter() - start)
    files = len(zipfile.ZipFile(BytesIO(archive)).namelist())
    return [
        Result("size of the archive", len(archive) / 1000, 400, "KB", f"{files} files"),
        Result("making the archive", statistics.median(times) * 1000, 500, "ms"),
    ]


def main() -> None:
    """Measure, print, and with --check fail where a target is missed by more than noise."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each case after a first one (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--check", action="store_true", help=f"fail where a target is missed by {NOISE:.0%}")
    arguments = parser.parse_args()

    console = Console()
    with console.status("measuring"):
        results = (
            evaluation(arguments.rounds) + handlers(arguments.rounds, cloudformation.archive_bytes()) + packaging()
        )

    table = Table("what", "measured", "target", "")
    for result in results:
        measured, target = f"{result.measured:.3g} {result.unit}", f"<= {result.target:.3g} {result.unit}"
        style = "red" if result.missed else "green"
        table.add_row(result.what, f"[{style}]{measured}[/]", target, result.detail)
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if arguments.check and any(result.missed for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
