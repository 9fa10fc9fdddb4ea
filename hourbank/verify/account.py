"""`hourbank verify`: what can be asked of an account for nothing, with nothing made in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.config import Config

from hourbank.account import doctor
from hourbank.account.stack import LOCAL, configuration, reach
from hourbank.errors import HourBankError
from hourbank.names import workflow_name
from hourbank.stories.stories import STORIES
from hourbank.verify import filters, limits, roles, states
from hourbank.verify.program import NOBODYS, Program, read
from hourbank.verify.verdicts import Verdict, asked, found

POLICY = "the rights are in docs/review/policies/verify.json"
VERSION = re.compile(r"(:function:[\w-]+):\d+")


def client(service: str) -> Any:
    """Return a client that waits where AWS takes no more calls at the moment: there are hundreds."""
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 10})
    if service == "stepfunctions" and any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ):
        # TestState has a host of its own, which an emulator has not
        config = config.merge(Config(inject_host_prefix=False))
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def program_here(stack: str | None, region: str | None) -> Program:
    """Return the program as it would be deployed where the user's settings lead.

    Raises
    ------
    HourBankError
        There is no such stack, or the program refuses its configuration.
    """
    if stack:
        configuration(stack)
    _, _, led = reach(stack or NOBODYS, region)
    return Program(stack, doctor.whoami(led))


def examine(program: Program, *, is_deployed: bool) -> Iterator[Verdict]:
    """Ask everything that is free of charge.

    Parameters
    ----------
    is_deployed : bool
        Whether the program's stack is there: then what is there is asked about, and its roles too.
    """
    stepfunctions = client("stepfunctions")
    expected = program.definitions
    texts = dict(expected)
    if is_deployed:
        texts = {machine: deployed(stepfunctions, program, machine) for machine in expected}
        yield from (same(machine, expected[machine], texts[machine]) for machine in expected)
    askers = {machine: states.Asker(stepfunctions, text, program.machine(machine)) for machine, text in texts.items()}

    def one_by_one(ask: Callable[[str], Iterator[Verdict]]) -> Callable[[], Iterator[Verdict]]:
        return lambda: (verdict for machine in texts for verdict in ask(machine))

    yield from asked(
        states.LEGAL, one_by_one(lambda machine: states.legal(stepfunctions, machine, texts[machine])), POLICY
    )
    yield from asked(
        states.RESULTS, one_by_one(lambda machine: states.tried(askers[machine], read(expected[machine]))), POLICY
    )
    by_workflow = {workflow_name(machine): asker for machine, asker in askers.items()}
    yield from asked(states.WAYS, lambda: states.walked(by_workflow, STORIES), POLICY)
    # on this machine there is one more, for the emulator's sake: hourbank/local/deploy.py, DIFFERENCES
    is_as_on_aws = is_deployed and program.stack != LOCAL
    yield from asked(filters.FILTERS, lambda: filtered(program, is_deployed=is_as_on_aws), POLICY)
    yield from limits.kept(program)
    if is_deployed:
        yield from asked(
            roles.MUST,
            lambda: roles.examined(client("iam"), with_stream(client("dynamodb"), program.statements()), program.roles),
            POLICY,
        )


def deployed(stepfunctions: Any, program: Program, machine: str) -> str:
    """Return the definition of a machine as it is deployed.

    Raises
    ------
    HourBankError
        There is no such machine.
    """
    try:
        text: str = stepfunctions.describe_state_machine(stateMachineArn=program.machine(machine))["definition"]
    except stepfunctions.exceptions.StateMachineDoesNotExist:
        raise HourBankError(
            f"no stack {program.stack} in {program.account}, there is no state machine {machine}: "
            "see --stack and --region; before a deployment, leave --stack out"
        ) from None
    return text


def filtered(program: Program, *, is_deployed: bool) -> Iterator[Verdict]:
    """Ask about the stream's filters: those of the mappings that call the router, else those that it would get."""
    patterns = program.filters
    if is_deployed:
        router = program.recording.named("routeServiceRequest").inputs["name"]
        mappings = client("lambda").list_event_source_mappings(FunctionName=router)["EventSourceMappings"]
        patterns = [
            one["Pattern"] for mapping in mappings for one in mapping.get("FilterCriteria", {}).get("Filters", ())
        ]
        if not patterns:
            yield found(filters.FILTERS, router, "nothing with filters calls it", roles.DEPLOY)
            return
    yield from filters.passed(client("events"), patterns, program.account)


def same(machine: str, expected: str, text: str) -> Verdict:
    """Hold what is deployed against what would be, but for the functions' versions."""
    one, other = (json.loads(VERSION.sub(r"\1", each)) for each in (expected, text))
    strange = [
        name for name in {**one["States"], **other["States"]} if one["States"].get(name) != other["States"].get(name)
    ]
    wrong = f"it differs in {', '.join(strange)}" if strange else "" if one == other else "it differs"
    return found(states.SAME, machine, wrong, "deploy, or verify with the version of this program that is deployed")


def with_stream(dynamodb: Any, statements: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Put the stream's own ARN, which ends in the time that it was turned on, in place of the recording's."""

    def own(match: re.Match[str]) -> str:
        return str(dynamodb.describe_table(TableName=match[1])["Table"]["LatestStreamArn"])

    text = re.sub(r"arn:[\w-]+:dynamodb:[^\"]*?:table/([^\"/]+)/stream/[^\"]+", own, json.dumps(statements))
    real: dict[str, list[dict[str, Any]]] = json.loads(text)
    return real
