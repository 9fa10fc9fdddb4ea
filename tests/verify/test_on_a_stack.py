"""`hourbank verify --stack`, on the emulator: what is deployed, its roles, and the stories played on it.

The stories' emulator plays the demo elsewhere; here it is that verify leaves nothing behind, and finds what is planted.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hourbank import laws
from hourbank.errors import HourBankError
from hourbank.local import deploy, people
from hourbank.local.emulator import Emulator
from hourbank.local.patience import Patience
from hourbank.local.tables import read_ledger
from hourbank.names import ROOT
from hourbank.program import cloudformation
from hourbank.stories.stage import Performance
from hourbank.stories.stories import DECLINED, DEMO, NOT_ENOUGH_HOURS, RELEASED
from hourbank.verify import account, events, playing, roles, states
from hourbank.verify.playing import OnAws, Run
from hourbank.verify.program import Program
from tests.helpers.processes import HOURBANK
from tests.helpers.verifying import asking, environment, misses
from tests.helpers.waiting import until
from tests.helpers.world import CONFIG

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("verify-stack")]

NOTIFIER = "hourbank-notifyProvider-local-us-east-1"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(enforce_iam=True) as emulator, asking(emulator):
        yield emulator


@pytest.fixture(scope="module")
def deployment(emulator: Emulator) -> deploy.Deployment:
    """A stack with a person of its own, who has hours, and a request from before."""
    deployment = deploy.deploy(emulator, config=CONFIG)
    dynamodb = emulator.client("dynamodb")
    deploy.grant_hours(deployment, {"ana": Decimal(20)})
    record = people.request_record(
        requester="ana", provider="ben", hours=Decimal(1), created="2020-01-01T00:00:00.000Z"
    )
    people.submit(dynamodb, deployment.tables, record)
    return deployment


@pytest.fixture
def program(deployment: deploy.Deployment) -> Program:
    return account.program_here("local", "us-east-1")


@pytest.fixture
def nothing_left(emulator: Emulator, deployment: deploy.Deployment) -> Iterator[None]:
    """Others' records are as they were, and none of verify's is there."""
    before = read_ledger(emulator.client("dynamodb"), deployment.tables)
    yield
    assert read_ledger(emulator.client("dynamodb"), deployment.tables) == before
    assert listeners(emulator) == []


def listeners(emulator: Emulator) -> list[str]:
    rules = emulator.client("events").list_rules(EventBusName="hourbank-event-bus-local")["Rules"]
    queues = emulator.client("sqs").list_queues(QueueNamePrefix="hourbank-events-").get("QueueUrls", [])
    return [rule["Name"] for rule in rules] + queues


def a_run(program: Program, *stories: Any, **options: Any) -> Run:
    return Run(playing.deployment_of(program), stories or DEMO, env=program.stack, seconds=5, **options)


def verifier(emulator: Emulator) -> dict[str, str]:
    """Make somebody with the rights of docs/review/policies/verify.json, and return the keys as variables."""
    policy = (ROOT / "docs" / "review" / "policies" / "verify.json").read_text()
    for name, value in {"ACCOUNT": "000000000000", "REGION": "us-east-1", "ENV": "local"}.items():
        policy = policy.replace(name, value)
    iam = emulator.client("iam")
    iam.create_user(UserName="verifier")
    iam.put_user_policy(UserName="verifier", PolicyName="verify", PolicyDocument=policy)
    # the emulator checks the first against no role, AWS against the one that is asked about; the others against the
    # bus, AWS against the rule
    otherwise = [
        {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["events:PutTargets", "events:RemoveTargets"],
            "Resource": "arn:aws:events:us-east-1:000000000000:event-bus/hourbank-event-bus-local",
        },
    ]
    emulators = json.dumps({"Statement": otherwise})
    iam.put_user_policy(UserName="verifier", PolicyName="emulator", PolicyDocument=emulators)
    key = iam.create_access_key(UserName="verifier")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def verify(emulator: Emulator, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HOURBANK, "verify", "--stack", "local", *arguments],
        env=os.environ | environment(emulator) | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def silent(*_: object) -> None:
    """Nobody listens."""


# ---- what is deployed


@pytest.mark.usefixtures("nothing_left")
def test_all_holds_after_a_deployment_and_nothing_is_left(
    emulator: Emulator, deployment: deploy.Deployment, tmp_path: Any
) -> None:
    """As somebody who has the rights of the page's policy, and no others."""
    report = tmp_path / "report.md"
    process = verify(emulator, "--stories", "--json", "--report", str(report), **verifier(emulator))
    out, err = process.communicate()
    assert "Nobody answers: TIMED_OUT" in err, "no progress"
    told = json.loads(out)
    assert [one for one in told["rows"] if not one["holds"]] == []
    assert process.returncode == 0
    asked = {one["claim"]: one["asked"] for one in told["rows"]}
    assert (
        asked[states.SAME] == 2
        and asked[playing.ENDED] == asked[events.CLAIM] == len(DEMO)
        and asked[roles.MUST_NOT] > 1000
    )
    assert [one["ended"] for one in told["stories"]] == [story.status for story in DEMO]
    assert all(one["requestId"].startswith("verify-") for one in told["stories"])
    assert "| ✓ | Nobody answers | TIMED_OUT |" in report.read_text()
    for text in (out, report.read_text()):
        assert "000000000000" not in text


def test_a_definition_that_is_deployed_with_a_wrong_next_is_found(emulator: Emulator, program: Program) -> None:
    stepfunctions, machine = emulator.client("stepfunctions"), program.machine("EscrowManagementWorkflow-local")
    right = stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
    wrong = json.loads(right)
    wrong["States"]["CheckDecision"]["Choices"][0]["Next"] = "RefundEscrow"
    stepfunctions.update_state_machine(stateMachineArn=machine, definition=json.dumps(wrong))
    try:
        process = verify(emulator)
        out, _ = process.communicate()
    finally:
        stepfunctions.update_state_machine(stateMachineArn=machine, definition=right)
    assert process.returncode == 1
    assert "EscrowManagementWorkflow-local: it differs in CheckDecision" in out
    assert "CheckDecision, RELEASE: nextState is RefundEscrow, not ProcessEscrowRelease" in out
    assert "→ deploy, or verify with the version of this program that is deployed" in out


def test_a_filter_that_is_missing_in_what_is_deployed_is_found(emulator: Emulator, program: Program) -> None:
    functions = emulator.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName="hourbank-routeServiceRequest-local")[
        "EventSourceMappings"
    ]
    local, right = mapping["FilterCriteria"]["Filters"], [{"Pattern": one} for one in program.filters]
    try:
        for kept, missed in (
            (right, []),
            (right[:3], ["received", "given up"]),
            ([], ["hourbank-routeServiceRequest-local"]),
        ):
            functions.update_event_source_mapping(UUID=mapping["UUID"], FilterCriteria={"Filters": kept})
            assert [one.what for one in misses(list(account.filtered(program, is_deployed=True)))] == missed
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], FilterCriteria={"Filters": local})


def test_a_stack_that_is_not_there_is_said_in_one_line(emulator: Emulator) -> None:
    process = verify(emulator, "--region", "eu-west-1")
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1 and " in eu-west-1, there is no state machine" in err and "leave --stack out" in err


# ---- roles


@pytest.fixture
def with_policy(emulator: Emulator, deployment: deploy.Deployment) -> Iterator[Callable[..., None]]:
    """Change the policy of the notifier's role for a test."""
    iam = emulator.client("iam")
    right = iam.get_role_policy(RoleName=NOTIFIER, PolicyName="function")["PolicyDocument"]

    def put(change: Callable[[list[dict[str, Any]]], object]) -> None:
        policy = json.loads(json.dumps(right))
        change(policy["Statement"])
        iam.put_role_policy(RoleName=NOTIFIER, PolicyName="function", PolicyDocument=json.dumps(policy))

    yield put
    put(lambda _: None)


def roles_found(program: Program) -> list[str]:
    iam, dynamodb = account.client("iam"), account.client("dynamodb")
    found = misses(list(roles.examined(iam, account.with_stream(dynamodb, program.statements()), program.roles)))
    return [f"{one.what}: {one.problem}" for one in found]


def test_a_right_that_was_taken_away_is_found(program: Program, with_policy: Callable[..., None]) -> None:
    assert roles_found(program) == []
    with_policy(lambda statements: statements[0]["Action"].remove("dynamodb:UpdateItem"))
    (found,) = roles_found(program)
    assert found.startswith(f"{NOTIFIER}, dynamodb:UpdateItem on arn:") and "implicitDeny" in found


def test_a_right_too_many_is_found(program: Program, with_policy: Callable[..., None]) -> None:
    table = program.tables["userBalance"]
    arn = f"arn:aws:dynamodb:us-east-1:{program.account.id}:table/{table}"
    more = {"Effect": "Allow", "Action": "dynamodb:UpdateItem", "Resource": arn}
    with_policy(lambda statements: statements.append(more))
    assert roles_found(program) == [
        f"{NOTIFIER}, dynamodb:UpdateItem on {arn}: it is allowed, and this program does not give it"
    ]
    with_policy(lambda statements: statements.append({"Effect": "Allow", "Action": "*", "Resource": "*"}))
    found = roles_found(program)
    assert any("iam:PassRole" in one for one in found) and any("states:GetExecutionHistory" in one for one in found)


def test_a_role_that_is_not_there_is_found(program: Program) -> None:
    stub = f"arn:aws:iam::{program.account.id}:role/hourbank-nobody"
    error = ClientError({"Error": {"Code": "NoSuchEntity", "Message": "no"}}, "SimulatePrincipalPolicy")

    class Iam:
        def get_paginator(self, _: str) -> Any:
            raise error

    (found,) = roles.examined(Iam(), {stub: [{"Effect": "Allow", "Action": "a:b", "Resource": "*"}]}, [])
    assert (found.what, found.problem) == ("hourbank-nobody", "there is no such role")


# ---- removing


def runs_on(emulator: Emulator, deployment: deploy.Deployment) -> list[str]:
    client = emulator.client("stepfunctions")
    machines = [deployment.outputs["serviceRequestWorkflowArn"], deployment.outputs["escrowManagementWorkflowArn"]]
    return [
        one["name"]
        for machine in machines
        for one in client.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
    ]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("number", "status", "when"), [(signal.SIGINT, 130, "for babysitting"), (signal.SIGTERM, 143, "accepts")]
)
def test_an_interrupted_run_lets_its_executions_end_and_removes_what_it_wrote(
    emulator: Emulator, deployment: deploy.Deployment, number: signal.Signals, status: int, when: str
) -> None:
    process = verify(emulator, "--stories")
    assert process.stderr
    for line in process.stderr:
        if when in line:
            process.send_signal(number)
            break
    _, err = process.communicate()
    assert process.returncode == status, err
    until(lambda: not runs_on(emulator, deployment), what="the end of its executions")


@pytest.mark.usefixtures("nothing_left")
def test_what_it_wrote_is_removed_where_aws_refuses_something_on_the_way(program: Program) -> None:
    def refuse(_performance: object, what: str) -> None:
        if what == "AWAITING_PROVIDER":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "UpdateItem")

    with pytest.raises(ClientError):
        list(a_run(program, DECLINED).play(refuse))


def test_what_cannot_be_removed_is_said(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(program, DECLINED, patience=Patience(0))
    real = OnAws.executions
    monkeypatch.setattr(
        OnAws, "executions", lambda self, one: [execution | {"status": "RUNNING"} for execution in real(self, one)]
    )

    def interrupt(_performance: object, what: str) -> None:
        if what == "DECLINED":
            raise KeyboardInterrupt

    with pytest.raises(HourBankError, match="interrupted; request verify-") as caught:
        list(run.play(interrupt))
    request_id = run.stage.performances[0].request_id
    assert f"request {request_id} was not removed: service-request-{request_id} of" in str(caught.value)
    assert (
        f"balance of {run.name}ben was not removed: it is removed together with a request that is still there"
        in str(caught.value)
    )
    assert set(run.ledger().requests) == {request_id}
    assert set(run.ledger().balances) == {f"{run.name}ben", f"{run.name}chloé"}
    monkeypatch.undo()
    assert laws.hours_lost(run.ledger()) == laws.entries_that_do_not_add_up(run.ledger()) == []
    # its execution did not run in truth
    assert [one.problem for one in run.removed()] == [""]
    assert run.ledger() == laws.Ledger()


@pytest.mark.usefixtures("nothing_left")
def test_who_shares_a_request_with_one_that_stays_stays_whole(program: Program) -> None:
    """Declined: ben and chloé; released: ana and ben; not enough hours: ewa and dai."""
    run = a_run(program, DECLINED, RELEASED, NOT_ENOUGH_HOURS)
    with pytest.MonkeyPatch.context() as patch:
        declined = "there is none yet"
        patch.setattr(Run, "_still_runs", lambda _, one: "it still runs" if one == declined else "")

        def notice(performance: Performance, _what: str) -> None:
            nonlocal declined
            declined = performance.request_id if performance.story.title == DECLINED.title else declined

        left = misses(list(run.play(notice)))
    own, released, _ = (performance.request_id for performance in run.stage.performances)
    assert [one.what for one in left] == [f"request {own}", f"request {released}"] + [
        f"balance of {run.name}{who}" for who in ("ana", "ben", "chloé")
    ]
    assert left[0].problem == f"request {own} was not removed: it still runs"
    books = run.ledger()
    assert set(books.spendable()) == {f"{run.name}{who}" for who in ("ana", "ben", "chloé")}
    assert laws.made_or_lost(laws.Ledger(), books) == laws.hours_of_others(books) == []
    assert [one.problem for one in run.removed()] == [""]
    assert run.ledger() == laws.Ledger()


# ---- a handler that is wrong


def test_handlers_that_pay_too_much_or_tell_nobody_or_the_wrong_person_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {}
    for name, right, planted in (
        ("handlers/bank/ledger.py", "        _credit(user_id, amount),", "        _credit(user_id, amount + 1),"),
        ("handlers/start_service_execution.py", "    events.publish(", "    (lambda *_: None)("),
        ("handlers/notify_provider.py", ", request)", ', request | {"providerId": request["requesterId"]})'),
    ):
        text = cloudformation.handler_files()[name].read_text()
        assert right in text
        wrong[name] = text.replace(right, planted).encode()
    pack = cloudformation.archive_bytes
    monkeypatch.setattr(cloudformation, "archive_bytes", lambda extra: pack(extra | wrong))
    with Emulator() as emulator:
        deployed = deploy.deploy(emulator, config=CONFIG)
        with asking(emulator):
            run = a_run(account.program_here("local", "us-east-1"), RELEASED, DECLINED)

            def stop_waiting(_performance: object, _what: str) -> None:
                # the emulator brings an event before it answers whoever told it
                run.hearing.patience = Patience(0)

            found = misses(list(run.play(stop_waiting)))
        assert [one.what for one in found] == [
            "no hour is made or lost",
            "everybody has what the stories say",
            RELEASED.title,
            DECLINED.title,
        ]
        assert "-ben has 10 h, not 8 h" in found[1].problem
        assert re.sub(r"verify-\w+-", "", found[2].problem) == (
            "ProviderAsked to ben as the provider (AWAITING_PROVIDER) was not told; "
            "ServiceStarted to ben as the provider (IN_PROGRESS) was not told; "
            "ServiceStarted to ana as the requester (IN_PROGRESS) was not told; "
            "ProviderAsked to ana as the provider (AWAITING_PROVIDER) was told, and must not be"
        )
        assert read_ledger(emulator.client("dynamodb"), deployed.tables).balances == {}
