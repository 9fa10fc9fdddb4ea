"""The workflows on GitHub: rules that keep a pull request from what it must not have, and commands that exist.

actionlint, which knows the syntax, runs with `make workflows`.
"""

import fnmatch
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import parliament
import pytest
import yaml
from typer.testing import CliRunner

from components.models import MODELS
from handlers.bank.execution import RELEASE_PREFIX, REQUEST_PREFIX, execution_name
from hourbank.account.bus import Listener
from hourbank.cli import app
from hourbank.export import gen1
from hourbank.names import ROOT
from hourbank.program.recorder import Recording, record
from hourbank.verify import playing
from hourbank.verify.events import TRIAL
from tools import comment

FOLDER = ROOT / ".github" / "workflows"
PAGE = (ROOT / "docs" / "review" / "github.md").read_text(encoding="utf-8")
# YAML reads the key `on` as True
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))}
JOBS = [(f"{name}.{job}", spec) for name, workflow in WORKFLOWS.items() for job, spec in workflow["jobs"].items()]
STEPS = [(name, step) for name, job in JOBS for step in job.get("steps", ())]
STACKS = ("dev", "staging", "prod")
SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"


def test_there_are_workflows() -> None:
    assert set(WORKFLOWS) == {"checks", "comment", "deploy", "deploy-stack", "plan"}


def test_actions_are_pinned_to_commits_with_their_version_beside() -> None:
    versions: dict[str, set[str]] = {}
    for path in FOLDER.glob("*.yml"):
        for used in re.findall(r"uses: (.+)", path.read_text(encoding="utf-8")):
            if used.startswith("./"):
                assert (ROOT / used).is_file()
                continue
            action = re.fullmatch(r"([\w-]+/[\w-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+", used)
            assert action, used
            versions.setdefault(action[1], set()).add(used)
    # and one version of each everywhere
    assert {name: len(pins) for name, pins in versions.items() if len(pins) > 1} == {}


# The first major of each whose `runs.using` is node24: GitHub's runners no longer have Node 20.
# https://github.blog/changelog/2025-09-19-deprecation-of-node-20-on-github-actions-runners/
ON_NODE_24 = {
    "actions/checkout": 5,
    "actions/setup-node": 5,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "aws-actions/configure-aws-credentials": 6,
    "pulumi/actions": 7,
}


def test_actions_run_on_the_node_that_runners_have() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yml"))
    used = {name: int(major) for name, major in re.findall(r"uses: ([\w/-]+)@[0-9a-f]{40} # v(\d+)", text)}
    assert used.keys() == ON_NODE_24.keys()
    assert {name: major for name, major in used.items() if major < ON_NODE_24[name]} == {}


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_rights_are_given_job_by_job_and_are_few(name: str, job: dict[str, Any]) -> None:
    assert WORKFLOWS[name.partition(".")[0]]["permissions"] == {}
    allowed = {"contents": "read"}
    if name in ("plan.preview", "deploy-stack.deploy", "deploy.dev", "deploy.staging", "deploy.prod"):
        allowed["id-token"] = "write"
    if name == "comment.comment":
        allowed |= {"actions": "read", "pull-requests": "write"}
    assert job["permissions"] == allowed


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_no_job_runs_for_ever_or_beside_itself(name: str, job: dict[str, Any]) -> None:
    if "uses" in job:
        return  # the called workflow's jobs have both
    assert 0 < job["timeout-minutes"] <= 60
    concurrency = job.get("concurrency") or WORKFLOWS[name.partition(".")[0]]["concurrency"]
    assert "${{" in concurrency["group"], "one group for everybody"
    # a deployment, or a comment, that began is not cut off
    if name.startswith(("deploy", "comment")):
        assert concurrency["cancel-in-progress"] is False


def test_no_expression_gets_into_a_script() -> None:
    for name, step in STEPS:
        assert "${{" not in step.get("run", ""), name
        assert "secrets." not in json.dumps(step), name


def test_checkouts_leave_no_credentials_behind() -> None:
    checkouts = [step for _, step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len([job for _, job in JOBS if "steps" in job])
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_job_that_a_fork_can_run_has_credentials_or_may_write() -> None:
    for name, workflow in WORKFLOWS.items():
        triggers = set(workflow[True])
        assert "pull_request_target" not in triggers
        for job_name, job in workflow["jobs"].items():
            has = {right for right, level in job["permissions"].items() if level == "write"}
            if "pull_request" in triggers and has:
                assert f"{name}.{job_name}" == "plan.preview"
                assert has == {"id-token"}
                assert SAME_REPOSITORY in job["if"] and "||" not in job["if"]
    assert "secrets" not in json.dumps(WORKFLOWS)


def test_who_may_comment_runs_nothing_of_the_pull_request() -> None:
    workflow = WORKFLOWS["comment"]
    assert workflow[True] == {"workflow_run": {"workflows": [WORKFLOWS["plan"]["name"]], "types": ["completed"]}}
    (job,) = workflow["jobs"].values()
    (checkout,) = [step for step in job["steps"] if "uses" in step]
    assert set(checkout["with"]) == {"persist-credentials"}, "a ref would check out something else than main"
    for step in job["steps"]:
        # only what GitHub says, and our own script; no file of the artifact is run
        for call in re.findall(r"(?:python3|sh|bash|make|source|\.) (\S+)", step.get("run", "")):
            assert call == "tools/comment.py"
    previews = job["steps"][-1]
    assert "env.IS_FORK == 'false'" in previews["if"]


def makefile_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return {name for line in re.findall(r"^([a-z][\w -]*):(?!=)", text, re.MULTILINE) for name in line.split()} | {
        ".venv"
    }


def test_what_ci_runs_is_a_target_of_the_makefile() -> None:
    calls = [
        (name, call) for name, step in STEPS for call in re.findall(r"make (?:--silent )?(\S+)", step.get("run", ""))
    ]
    tests = {"test", "test-all", "test-frontend", "test-beside"}
    assert {call for _, call in calls} == {".venv", *tests, "check", "plan", "preview", "deploy"}
    assert {call for _, call in calls} <= makefile_targets()
    assert "workflows" in re.search(r"^check: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        ("test-frontend", "node"),
        ("test-browser", "node"),
        ("packages-of-tests", "node"),
        ("definitions", "node"),
        ("schema", "node"),
        ("workflows", "go"),
    ],
)
def test_what_is_missing_is_left_out_by_hand_and_fails_in_ci(tmp_path: Path, target: str, missing: str) -> None:
    program = tmp_path / missing
    program.write_text("#!/bin/sh\nexit 127\n")
    program.chmod(0o755)
    # the environments are there: this test runs in one
    command = ["make", "--silent", "-o", ".venv/.locked", "-o", ".venv-emulator/.locked", target]
    for ci, passes in (("", True), ("true", False)):
        environment = os.environ | {"CI": ci, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == passes, done.stderr
        assert f"make {target}: {missing.capitalize()} is not here" in done.stderr


def test_make_up_runs_without_the_page_where_npm_fails(tmp_path: Path) -> None:
    programs = {
        "node": "exit 0",
        "npm": '[ "$1" = --version ] && exit; echo "npm: offline" >&2; exit 1',
        "hourbank": 'echo "hourbank $*"',
    }
    for name, does in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    settings = [f"BIN={tmp_path}", "PAGE=frontend/console/not-built-yet.html", "ARGS=--minutes 5"]
    command = ["make", "--silent", "-o", ".venv/.locked", "-o", ".venv-emulator/.locked", "up", *settings]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.endswith("hourbank up --minutes 5\n"), done.stderr
    assert "npm: offline" in done.stderr and "make up: the page was not built" in done.stderr


def test_make_help_fits_a_terminal_and_names_what_check_runs_on_github() -> None:
    text = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line for line in text.splitlines() if len(line) >= 100] == []
    assert "make workflows" in text


MAKE = """#!/bin/sh
[ "$1" = .venv ] && echo installing && exit
printf '%s\\n' "$@" >asked
[ -z "$PROBLEM" ] && echo the plan && exit
echo a warning >&2; echo "$PROBLEM" >&2; echo 'make: *** [Makefile:1: plan] Error 1' >&2; exit 2
"""


@pytest.mark.parametrize("problem", ["", "hourbank: there is no commit"])
def test_a_plan_that_fails_is_a_text_too(tmp_path: Path, problem: str) -> None:
    steps = WORKFLOWS["plan"]["jobs"]["plan"]["steps"]
    (step,) = [step for step in steps if "run" in step]
    (tmp_path / "make").write_text(MAKE)
    (tmp_path / "make").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PROBLEM": problem, "BASE_REF": "a'b$(c)"}
    # as GitHub runs a script
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    asked = ["--silent", "plan", "BASE=origin/a'b$(c)", "ARGS=--stack all --head HEAD"]
    assert (tmp_path / "asked").read_text().splitlines() == asked
    text = (tmp_path / "plan.md").read_text()
    if problem:
        assert done.returncode == 1 and problem in done.stderr
        assert text == f"The plan could not be made: {problem}\n"
    else:
        assert done.returncode == 0 and text == "the plan\n"


def test_the_plan_is_of_the_commit_that_was_pushed_and_posted_if_it_failed_too() -> None:
    checkout, *_, upload = WORKFLOWS["plan"]["jobs"]["plan"]["steps"]
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.head.sha }}"
    assert checkout["with"]["fetch-depth"] == 0
    assert upload["if"] == "${{ !cancelled() }}" and upload["with"]["path"] == "plan.md"


def test_stacks_are_deployed_one_after_the_other_by_their_environments() -> None:
    jobs = WORKFLOWS["deploy"]["jobs"]
    assert [(name, job.get("needs")) for name, job in jobs.items()] == [
        ("checks", None),
        ("dev", "checks"),
        ("staging", "dev"),
        ("prod", "staging"),
    ]
    assert [jobs[stack]["with"] for stack in STACKS] == [{"stack": stack} for stack in STACKS]
    assert WORKFLOWS["deploy"][True] == {"push": {"branches": ["main"]}}
    deploy = WORKFLOWS["deploy-stack"]["jobs"]["deploy"]
    assert deploy["environment"] == deploy["env"]["STACK"] == "${{ inputs.stack }}"
    assert tuple(WORKFLOWS["plan"]["jobs"]["preview"]["strategy"]["matrix"]["stack"]) == STACKS


def test_dev_and_staging_are_verified_and_the_report_is_the_runs_summary(tmp_path: Path) -> None:
    deploy, verify, summary = WORKFLOWS["deploy-stack"]["jobs"]["deploy"]["steps"][-3:]
    assert deploy["run"].startswith("make deploy ")
    assert verify["if"] == "inputs.stack != 'prod'" and "continue-on-error" not in verify
    assert summary["if"] == "${{ !cancelled() && inputs.stack != 'prod' }}"
    program, *arguments = verify["run"].replace('"$STACK"', "nobodys").split()
    assert program == ".venv/bin/hourbank"
    told = CliRunner().invoke(app, arguments)
    assert "there is no Pulumi.nobodys.yaml" in str(told.exception), "not a command line of hourbank's"
    written = tmp_path / "summary"
    environment = os.environ | {"GITHUB_STEP_SUMMARY": str(written)}
    for report in ("", "the report\n"):
        if report:
            (tmp_path / arguments[-1]).write_text(report)
        subprocess.run(["bash", "-e", "-c", summary["run"]], cwd=tmp_path, env=environment, check=True)
    assert written.read_text() == "the report\n"


def test_the_cli_is_the_one_of_the_locked_sdk() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    version = re.search(r'name = "pulumi"\nversion = "([^"]+)"', lock)[1]
    steps = [step for _, step in STEPS if step.get("uses", "").startswith("pulumi/actions@")]
    assert [step["with"] for step in steps] == [{"pulumi-version": version}] * 2


def test_every_variable_is_explained_and_no_other() -> None:
    used = set(re.findall(r"vars\.(\w+)", "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yml"))))
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)) == used


# ---- the policies of the page


def policy(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "review" / "policies" / f"{name}.json").read_text(encoding="utf-8"))


def filled(text: str) -> str:
    for name, value in {
        "ACCOUNT": "123456789012",
        "REGION": "us-east-1",
        "ENV": "dev",
        "BUCKET": "b",
        "KEY_ID": "k",
    }.items():
        text = text.replace(name, value)
    return text


@pytest.mark.parametrize("name", ["preview", "deploy", "verify", "amplify-push"])
def test_a_policy_has_known_actions_on_resources_that_they_take(name: str) -> None:
    given = policy(name)
    for statement in given["Statement"]:
        if "events:TargetArn" in str(statement.get("Condition")):
            del statement["Condition"]  # parliament knows the key, and gives up at its type, ArrayOfARN
    found = parliament.analyze_policy_string(filled(json.dumps(given))).findings
    # newer than parliament's list of actions
    newer = ("ValidateStateMachineDefinition", "TestState")
    found = [one for one in found if not any(action in str(one) for action in newer)]
    # DescribeExecution also knows Express executions: both machines are Standard
    found = [one for one in found if ":express:" not in str(one.detail)]
    assert [f"{one.issue}: {one.detail} {one.location}" for one in found] == []


def each_of(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def rights(name: str) -> Iterator[tuple[str, str]]:
    for statement in policy(name)["Statement"]:
        for action in each_of(statement["Action"]):
            for resource in each_of(statement["Resource"]):
                yield action, filled(resource)


# what makes a resource, and the ARN that the resource will have
MAKES = {
    "Dashboard": ("cloudwatch:PutDashboard", "arn:aws:cloudwatch::A:dashboard/{dashboardName}"),
    "MetricAlarm": ("cloudwatch:PutMetricAlarm", "arn:aws:cloudwatch:R:A:alarm:{name}"),
    "LogGroup": ("logs:CreateLogGroup", "arn:aws:logs:R:A:log-group:{name}"),
    "EventBus": ("events:CreateEventBus", "arn:aws:events:R:A:event-bus/{name}"),
    "EventRule": ("events:PutRule", "arn:aws:events:R:A:rule/hourbank-event-bus-dev/{name}"),
    "EventTarget": ("events:PutTargets", "arn:aws:events:R:A:rule/hourbank-event-bus-dev/hourbank-subscriptions-dev"),
    "Table": ("dynamodb:CreateTable", "arn:aws:dynamodb:R:A:table/{name}"),
    "Role": ("iam:CreateRole", "arn:aws:iam::A:role/{name}"),
    "Function": ("lambda:CreateFunction", "arn:aws:lambda:R:A:function:{name}"),
    "EventSourceMapping": ("lambda:CreateEventSourceMapping", "*"),
    "Schedule": ("scheduler:CreateSchedule", "arn:aws:scheduler:R:A:schedule/default/{name}"),
    "Parameter": ("ssm:PutParameter", "arn:aws:ssm:R:A:parameter/{name}"),
    "StateMachine": ("states:CreateStateMachine", "arn:aws:states:R:A:stateMachine:{name}"),
    "Queue": ("sqs:CreateQueue", "arn:aws:sqs:R:A:{name}"),
}


@pytest.mark.parametrize("name", ["deploy", "amplify-push"])
def test_a_deployment_may_make_everything_that_the_program_declares(name: str) -> None:
    endpoint = "https://zyxwvutsrqponmlkjihgfedcba.appsync-api.us-east-1.amazonaws.com/graphql"
    place = {"aws:index/getRegion:getRegion": lambda _: {"region": "us-east-1"}}
    mails = {"hourbank:notifyFrom": "hours@example.com", "hourbank:userPoolId": "us-east-1_AbCdEfGhI"}
    program: Recording = record("dev", config={"hourbank:appsyncEndpoint": endpoint} | mails, invokes=place)
    allowed = list(rights(name))
    for resource in program.resources:
        kind = resource.type.rpartition(":")[2]
        if kind in ("RolePolicy", "QueuePolicy"):
            continue  # parts of a role and of a queue
        action, form = MAKES[kind]
        arn = form.replace(":R:", ":us-east-1:").replace(":A:", ":123456789012:").format(**resource.inputs)
        assert any(action == one and fnmatch.fnmatchcase(arn, on) for one, on in allowed), (action, arn)
    assert {"iam:PutRolePolicy", "sqs:SetQueueAttributes"} <= {action for action, _ in allowed}


# what the Amplify CLI's own policy lacks: https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AdministratorAccess-Amplify.html
LACKING = {
    "states:CreateStateMachine",
    "scheduler:CreateSchedule",
    "events:CreateEventBus",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:PutDashboard",
    "logs:PutRetentionPolicy",
    "logs:CreateLogGroup",
}


def test_who_pushes_with_amplify_may_do_to_the_program_what_who_deploys_may() -> None:
    state = {"s3", "kms"}
    deploys = {one for one in rights("deploy") if one[0].partition(":")[0] not in state}
    pushes = {one for one in rights("amplify-push") if one[0].partition(":")[0] not in state}
    assert pushes == deploys
    assert {action for action, _ in pushes} > LACKING
    # the hook's upload, where the template expects the archive
    template = gen1.template("hourbank", key="hourbank/x.zip")
    (code,) = {
        json.dumps(one["Properties"]["Code"]) for one in template["Resources"].values() if "Code" in one["Properties"]
    }
    key = json.loads(code)["S3Key"]
    on = [resource for action, resource in rights("amplify-push") if action == "s3:PutObject"]
    assert any(fnmatch.fnmatchcase(f"arn:aws:s3:::b/{key}", one) for one in on)


def test_both_forms_of_githubs_subject_are_trusted_and_none_spans_an_owner() -> None:
    (statement,) = policy("trust")["Statement"]
    assert set(statement["Condition"]) == {"StringEquals"}, "a pattern would trust strangers"
    subjects = statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    old, new = "repo:OWNER/REPOSITORY:", "repo:OWNER@OWNER_ID/REPOSITORY@REPOSITORY_ID:"
    assert subjects == [f"{old}pull_request", f"{new}pull_request"]
    assert f'"{old}environment:prod"' in PAGE and f'"{new}environment:prod"' in PAGE
    assert "gh api" in PAGE and "--jq '.owner.id,.id'" in PAGE
    assert not re.search(r"repo:[^\s\"]*\*", PAGE)


def test_who_verifies_writes_nothing_but_what_is_verifys_own() -> None:
    reads = re.compile(r"\w+:(Get|List|Describe|Validate|Test|Simulate|BatchGet)")
    own = f"{playing.PREFIX}*"
    may = {
        (action.removeprefix("dynamodb:"), on.rpartition("/")[2].removesuffix("-*")): one["Condition"]
        for one in policy("verify")["Statement"]
        for action in each_of(one["Action"])
        for on in each_of(one["Resource"])
        if action.startswith("dynamodb:") and action != "dynamodb:DescribeTable"
    }
    # of the log it deletes the entries of grants too, whose keys do not say whose they are
    keys = {key: condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] for key, condition in may.items()}
    assert keys == {
        (action, model): ([own, "grant#*"] if model == "TransactionLog" else own)
        for action, model in (
            *itertools.product(("BatchGetItem", "DeleteItem"), (one.name for one in MODELS.values())),
            *itertools.product(("PutItem", "UpdateItem"), ("ServiceRequest",)),
        )
    }
    writes = [(action, on) for action, on in rights("verify") if not reads.match(action)]
    functions = [on for action, on in writes if action.startswith("lambda:")]
    assert functions == ["arn:aws:lambda:us-east-1:123456789012:function:hourbank-grantHours-dev"]
    machine = "arn:aws:states:us-east-1:123456789012:stateMachine:ServiceRequestWorkflow-dev"
    listener = Listener(boto3.client, "dev", machine, {})
    bus = f"arn:aws:events:us-east-1:123456789012:event-bus/{listener.bus}"
    for action, on in writes:
        service, _, verb = action.partition(":")
        if service not in ("dynamodb", "lambda"):
            its = bus if verb == "PutEvents" else {"sqs": listener.queue_arn, "events": listener.rule_arn}[service]
            assert on != "*" and fnmatch.fnmatchcase(its, on), action
    conditions = [one["Condition"] for one in policy("verify")["Statement"] if str(one["Action"]).startswith("events:")]
    assert conditions == [
        {"ForAllValues:ArnLike": {"events:TargetArn": "arn:aws:sqs:REGION:ACCOUNT:hourbank-events-ENV-*"}},
        {"ForAllValues:StringEquals": {"events:source": TRIAL}},
    ]
    histories = [on for action, on in rights("verify") if action == "states:GetExecutionHistory"]
    for prefix, arn in zip((REQUEST_PREFIX, RELEASE_PREFIX), histories, strict=True):
        name = execution_name(prefix, f"{playing.PREFIX}0123abcd-{'f' * 32}", 2)
        assert fnmatch.fnmatchcase(f"{arn.rpartition(':')[0]}:{name}", arn), "a history that it may not read"


def test_a_preview_may_change_nothing() -> None:
    reads = re.compile(r"\w+:(Get|List|Describe|Validate|Decrypt)")
    assert [action for action, _ in rights("preview") if not reads.match(action)] == []


# ---- the script that comments


GH = """#!{python}
import json, os, sys
with open(os.environ["SAID"], "a") as said:
    given = json.load(sys.stdin) if "--input" in sys.argv else None
    said.write(json.dumps([sys.argv[1:], given]) + "\\n")
if "--paginate" in sys.argv:
    print(open(os.environ["COMMENTS"]).read(), end="")
"""


@pytest.fixture
def github(tmp_path: Path) -> Any:
    """Run the script with a stand-in for the GitHub CLI; return what the CLI was asked to do."""
    program = tmp_path / "gh"
    program.write_text(GH.format(python=sys.executable))
    program.chmod(0o755)

    def run(name: str, text: str | None, comments: list[dict[str, Any]], fork: bool = False) -> list[Any]:
        (tmp_path / "comments").write_text("".join(json.dumps(one) + "\n" for one in comments))
        (tmp_path / "said").write_text("")
        if text is not None:
            (tmp_path / "text").write_text(text, encoding="utf-8")
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SAID": str(tmp_path / "said"),
            "COMMENTS": str(tmp_path / "comments"),
            "GH_REPO": "us/ours",
            "NUMBER": "7",
            "IS_FORK": "true" if fork else "false",
        }
        script = [sys.executable, ROOT / "tools" / "comment.py", name, tmp_path / "text"]
        subprocess.run(script, env=environment, check=True, capture_output=True)
        return [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]

    return run


def by(login: str, number: int, text: str) -> dict[str, Any]:
    return {"id": number, "user": {"login": login}, "body": text}


def test_the_first_text_is_a_new_comment(github: Any) -> None:
    _, (asked, sent) = github("plan", "# Plan\nNothing changes, @everybody.\n", [by("ana", 1, "hello")])
    assert asked[:3] == ["api", "--method", "POST"] and asked[3] == "repos/us/ours/issues/7/comments"
    assert sent["body"] == "<!-- hourbank plan -->\n# Plan\nNothing changes, @\u200beverybody.\n"


def test_the_next_text_takes_its_place(github: Any) -> None:
    # not one that somebody else began in the same way
    comments = [by("mallory", 1, "<!-- hourbank plan -->"), by("github-actions[bot]", 2, "<!-- hourbank plan -->\nold")]
    _, (asked, _) = github("plan", "new", comments)
    assert asked[:4] == ["api", "--method", "PATCH", "repos/us/ours/issues/comments/2"]
    assert github("preview of dev", "new", comments)[1][0][2] == "POST"


def test_a_preview_cannot_leave_its_fence_and_a_long_text_is_cut() -> None:
    text = comment.body("preview of dev", "a\n``````\n# not a heading\n")
    assert text.count("``````") == 2 and text.endswith("\n``````")
    # a mention is longer than it was
    for line in ("é" * 100_000, "- @one line\n" * 10_000):
        long = comment.body("plan", line)
        assert len(long) < 65_536 and "cut here" in long
    whole, _, _ = long.partition("\n\n(cut here")
    assert set(whole.splitlines()[1:]) == {"- @\u200bone line"}


def test_a_forks_plan_says_first_that_it_is_the_forks_word(github: Any) -> None:
    plan = "<!-- hourbank plan -->\n## What this changes\n"
    _, (_, sent) = github("plan", plan, [], fork=True)
    assert sent["body"].splitlines()[:4] == ["<!-- hourbank plan -->", comment.FORK, "", "## What this changes"]
    _, (_, sent) = github("plan", plan, [])
    assert sent["body"] == plan


def test_no_text_is_no_comment(github: Any, tmp_path: Path) -> None:
    assert github("plan", None, []) == []
    (tmp_path / "text").symlink_to("/etc/hostname")
    assert github("plan", None, []) == []
