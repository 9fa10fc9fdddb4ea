"""The commands of docs/deploy/sam.md with the real SAM CLI and AWS CLI, on the emulator: `make test-sam`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hourbank.local import deploy
from hourbank.local.emulator import Emulator
from hourbank.names import ROOT
from tests.helpers.exports import amplify_exports

PAGE = (ROOT / "docs" / "deploy" / "sam.md").read_text(encoding="utf-8")
API_ID = "abcdefghijklmnopqrstuvwxyz"  # the page's

CLIS = ROOT / "tools" / "sam" / ".venv" / "bin"

pytestmark = pytest.mark.sam


def test_the_page_s_commands_deploy(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (again,) = [block for block in blocks if "aws cloudformation package" in block]
    script = "\n".join(["set -eu", *blocks, "START=2026-01-01T00:00:00Z", again])
    assert "sam validate --lint" in script and "sam deploy" in script and "aws cloudformation package" in script
    assert {"sam", "aws"} <= {path.name for path in CLIS.iterdir()}
    with Emulator() as emulator:
        tables = deploy.create_tables(emulator)
        stream_arn = amplify_exports(emulator, API_ID, tables)
        emulator.client("s3").create_bucket(Bucket="deployments")
        access, secret = emulator.credentials
        env = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(CLIS), os.environ["PATH"]]),
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "SAM_CLI_TELEMETRY": "0",
        }
        command = ["bash", "-c", script.replace("DEPLOYMENT_BUCKET", "deployments")]
        ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        (stack,) = emulator.client("cloudformation").describe_stacks(StackName="hourbank-dev")["Stacks"]
        assert stack["StackStatus"] == "UPDATE_COMPLETE"
        told = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
        assert told["EscrowTableName"] == tables["escrow"]
        assert told["ServiceRequestStreamArn"] == stream_arn
        # of what a definition calls, and not another one where the last deployment changed nothing of it
        functions = emulator.client("lambda")
        versions = {
            name: [one["Version"] for one in functions.list_versions_by_function(FunctionName=name)["Versions"]]
            for name in ("hourbank-routeServiceRequest-dev", "hourbank-createEscrow-dev")
        }
        assert versions == {
            "hourbank-routeServiceRequest-dev": ["$LATEST"],
            "hourbank-createEscrow-dev": ["$LATEST", "1"],
        }
