"""The engines that transactions are tried on."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from hourbank.local.emulator import Emulator
from tests.helpers.dynamodb_local import DynamoDBLocal, MissingEngineError


@pytest.fixture(scope="module", params=["DynamoDB Local", "ministack"])
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The name and the endpoint of each engine that can run here."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(DynamoDBLocal() if request.param == "DynamoDB Local" else Emulator())
        except MissingEngineError as error:
            missing = str(error)
        else:
            missing = None
        if missing and os.environ.get("CI") == "true":
            pytest.fail(missing, pytrace=False)
        if missing:
            pytest.skip(missing)
        yield request.param, running.endpoint
