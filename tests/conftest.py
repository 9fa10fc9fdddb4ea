"""Settings of every test: a region and credentials that belong to nobody."""

import os
import sys

import pytest

# before any test module is imported: boto3 reads them when a client is made, and a developer's own must never be used
for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
    del os.environ[name]
os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)


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
