"""Settings of every test: a region and credentials that belong to nobody."""

import os
import signal
import sys
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

from hourbank.local.machine import shut_off_this_process

# What tests are started with, and what the tools that they start need to find packages and their own caches.
TOOLS = (
    *("PYTEST_*", "HYPOTHESIS_*", "COVERAGE_*", "CI", "PULUMI_ENGINE", "PULUMI_HOME", "CHROMIUM"),
    *("XDG_*", "UV_*", "PIP_*", "NPM_*", "npm_*", "NODE_*", "GOPROXY", "GOPATH", "GOCACHE", "JAVA_HOME", "MAVEN_*"),
    *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "SSL_CERT_*", "AWS_CA_BUNDLE"),
)
# before any test module is imported: boto3 reads some when it is, and a developer's own must never be used
shut_off_this_process(also=TOOLS)
# how a developer likes to read is no business of the commands that tests run
for name in ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PYTHONIOENCODING"):
    os.environ.pop(name, None)
# what is started in the background of a script, as by nohup, inherits to ignore it
signal.signal(signal.SIGINT, signal.default_int_handler)
# how many examples Hypothesis tries: a few in `make test`, --hypothesis-profile thorough in `make test-all`
# and it has all the time that a busy machine takes for them
for name, examples in (("default", 10), ("thorough", 100)):
    settings.register_profile(name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")
os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """A command that runs in this process shuts it off from the machine, and turns it to a stack."""
    with mock.patch.dict(os.environ):
        yield


class _Stdout:
    """What stdout is at each write: pytest changes it between the phases of a test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> pytest.CaptureFixture[str]:
    """What handlers log and count: Powertools keeps the stream that stdout was at its import."""
    from handlers.aws.telemetry import logger

    monkeypatch.setattr(logger.registered_handler, "stream", _Stdout())
    return capsys


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that share an emulator must share a process: refuse a pytest-xdist that quietly spreads them."""
    if getattr(config.option, "loadgroup", False):
        spread = [item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
        if spread:
            raise pytest.UsageError(f"pytest-xdist ignores the group of {spread[0]}: pin another pytest")
