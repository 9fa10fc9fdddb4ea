"""The functions' archive: the same everywhere, small, and enough to run on Lambda.

Write one here when the archive gets another kind of file, or a handler uses another part of Powertools.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest

from components.archive import HANDLERS, handler_archive, handler_files
from hourbank.names import ROOT
from hourbank.program.cloudformation import archive_bytes
from tests.helpers.recordings import recorded
from tests.helpers.waiting import ENDLESS_SECONDS

# What Lambda's Python runtime has; everything else has to be in the archive.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")

EVALUATE = """
import hashlib, json
from components.archive import handler_archive
from hourbank.program.cloudformation import archive_bytes
from hourbank.program.recorder import archive_files, files_hash
files = archive_files(handler_archive())
print(json.dumps([sorted(files), files_hash(tuple(files.items())), hashlib.sha256(archive_bytes()).hexdigest()]))
"""


def located(module: str) -> Path:
    spec = find_spec(module)
    assert spec and spec.origin
    path = Path(spec.origin)
    return path.parent if path.name == "__init__.py" else path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as Lambda unpacks it, beside what the runtime brings."""
    folder = tmp_path_factory.mktemp("lambda")
    zipfile.ZipFile(BytesIO(archive_bytes())).extractall(folder / "task")
    (folder / "runtime").mkdir()
    for module in RUNTIME:
        path = located(module)
        (folder / "runtime" / path.name).symlink_to(path)
    return folder


def run_in_lambda(unpacked: Path, program: str) -> str:
    """The output of a program that sees the archive and the runtime's own packages, and nothing installed here."""
    paths = [str(unpacked / "task"), str(unpacked / "runtime")]
    start = f"import sys; sys.path[:0] = {paths!r}\n"
    environment = {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_SERVICE_NAME": "hourbank-test",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + program],
        env=environment,
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=ENDLESS_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_source_is_inside() -> None:
    names = zipfile.ZipFile(BytesIO(archive_bytes())).namelist()
    assert names == sorted(names)
    assert {Path(name).suffix for name in names} == {".py"}
    assert {name.split("/")[0] for name in names} == {"aws_lambda_powertools", "handlers", "typing_extensions.py"}
    assert not [name for name in names if "__pycache__" in name or "test" in name]
    assert {path.relative_to(HANDLERS.parent).as_posix() for path in HANDLERS.rglob("*.py")} <= set(names)


def test_it_is_small() -> None:
    assert len(archive_bytes()) <= 400 * 1024


def test_the_program_and_the_template_package_the_same_files() -> None:
    assert {name: Path(asset.path) for name, asset in handler_archive().assets.items()} == handler_files()
    assert zipfile.ZipFile(BytesIO(archive_bytes())).namelist() == list(handler_files())


def test_everything_inside_is_readable_for_lambda() -> None:
    # Lambda runs as another user than the owner of the files
    modes = {entry.external_attr >> 16 & 0o777 for entry in zipfile.ZipFile(BytesIO(archive_bytes())).infolist()}
    assert modes == {0o644}


def test_extra_files_are_executable() -> None:
    archive = zipfile.ZipFile(BytesIO(archive_bytes({"bootstrap": b"#!/bin/sh\n"})))
    assert archive.getinfo("bootstrap").external_attr >> 16 & 0o777 == 0o755
    assert archive.read("bootstrap") == b"#!/bin/sh\n"


def test_two_machines_make_the_same_archive(tmp_path: Path) -> None:
    # Given two checkouts with packages in two places, one of them used, with other modes and times
    results = []
    for number, umask in enumerate((0o022, 0o077)):
        machine = tmp_path / f"machine-{number}"
        before = os.umask(umask)
        try:
            for package in ("components", "handlers", "hourbank", "workflows"):
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(
                    ROOT / package, machine / "project" / package, copy_function=shutil.copyfile, ignore=ignored
                )
            for module in ("aws_lambda_powertools", "typing_extensions"):
                source = located(module)
                target = machine / "packages" / source.name
                copy = shutil.copytree if source.is_dir() else shutil.copyfile
                target.parent.mkdir(exist_ok=True)
                copy(source, target)
            if number:
                for path in (machine / "project").rglob("*.py"):
                    os.utime(path, (1_000_000_000, 1_000_000_000))
                handlers = machine / "project" / "handlers"
                (handlers / "__pycache__").mkdir()
                (handlers / "__pycache__" / "ledger.cpython-313.pyc").write_bytes(b"stale")
                (handlers / ".DS_Store").write_bytes(b"Finder")
                (handlers / "notes.txt").write_text("not source")
        finally:
            os.umask(before)
        # When each evaluates
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, (machine / "project", machine / "packages")))
        }
        done = subprocess.run(
            [sys.executable, "-c", EVALUATE], cwd=machine, env=environment, capture_output=True, text=True, check=True
        )
        results.append(json.loads(done.stdout))
    # Then names, Pulumi's kind of hash and the zip's bytes are the same, and they are those of this checkout
    assert results[0] == results[1]
    assert results[0][0] == list(handler_files())


def test_every_handler_is_imported_from_the_archive_alone(unpacked: Path) -> None:
    entries = [function.inputs["handler"] for function in recorded("dev").of_type("Function")]
    program = f"""
import importlib
for entry in {entries!r}:
    module, _, name = entry.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name)), entry
import aws_lambda_powertools
print(aws_lambda_powertools.__file__)
"""
    assert run_in_lambda(unpacked, program).startswith(str(unpacked / "task"))


def test_what_the_handlers_use_of_powertools_runs_from_the_archive_alone(unpacked: Path) -> None:
    # Importing is not enough: parts are imported when they are first used.
    program = """
import json
from types import SimpleNamespace
from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

logger = Logger()
context = SimpleNamespace(
    function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn:aws:lambda:::function:f", aws_request_id="r"
)

@logger.inject_lambda_context(correlation_id_path="execution.Input.requestId", clear_state=True)
def handler(event, context):
    logger.info("done", hours="1.5")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("failed")

handler({"execution": {"Input": {"requestId": "request-1"}}}, context)
with single_metric(name="HoursHeld", unit=MetricUnit.NoUnit, value=1.5, namespace="HourBank") as metric:
    metric.add_dimension(name="outcome", value="COMPLETED")

def record_handler(record):
    if record.dynamodb.new_image["id"] == "poison":
        raise ValueError("poison")

def one(number, id_):
    image = {"id": {"S": id_}, "estimatedHours": {"N": "1.5"}, "status": {"NULL": True}}
    return {"eventID": str(number), "eventName": "MODIFY", "eventSource": "aws:dynamodb",
            "dynamodb": {"SequenceNumber": str(number), "NewImage": image, "StreamViewType": "NEW_AND_OLD_IMAGES"}}

processor = BatchProcessor(event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)
records = {"Records": [one(1, "good"), one(2, "poison")]}
print(json.dumps(process_partial_response(records, record_handler, processor, context)))
"""
    log, error, metric, failures = map(json.loads, run_in_lambda(unpacked, program).splitlines())
    assert (log["correlation_id"], log["hours"], log["service"]) == ("request-1", "1.5", "hourbank-test")
    assert error["exception_name"] == "ValueError"
    assert (metric["HoursHeld"], metric["outcome"]) == ([1.5], "COMPLETED")
    assert failures == {"batchItemFailures": [{"itemIdentifier": "2"}]}
