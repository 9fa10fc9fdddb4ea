"""Whether the workflows call the functions as they are: a deployment that died before it published left them behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from hourbank.account.checks import Account, Check, Outcome

MACHINES = ("ServiceRequestWorkflow", "EscrowManagementWorkflow")
CALLED = re.compile(r":function:([\w-]+):(\d+)")
# What a version keeps of its function, and a deployment may change.
KEPT = ("CodeSha256", "Runtime", "Handler", "MemorySize", "Timeout", "Environment", "Layers", "Role")


def unpublished(client: Callable[[str], Any], env: str, account: Account) -> Iterator[Check]:
    """Hold each version that a definition calls against the function as it was last changed.

    Pulumi changes a function and publishes it in two calls. Where it dies between them, the next deployment sees no
    change, and the definitions go on calling the version before, until the code changes again.
    """
    called: dict[str, str] = {}
    place = f"arn:{account.partition}:states:{account.region}:{account.id}:stateMachine:"
    for machine in MACHINES:
        try:
            answer = client("stepfunctions").describe_state_machine(stateMachineArn=f"{place}{machine}-{env}")
        except ClientError as error:
            if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
                raise
            return  # nothing is deployed yet, or not all of it
        called.update(CALLED.findall(answer["definition"]))
    are_old = False
    for name, version in sorted(called.items()):
        functions = client("lambda")
        latest = functions.get_function_configuration(FunctionName=name)
        published = functions.get_function_configuration(FunctionName=name, Qualifier=version)
        if differing := [key for key in KEPT if content(latest, key) != content(published, key)]:
            are_old = True
            what = "code" if "CodeSha256" in differing else ", ".join(differing)
            yield Check(
                "version",
                Outcome.MISS,
                f"{name} was changed ({what}) and not published: the workflow calls version {version}, from before",
                f"aws lambda publish-version --function-name {name}, then `pulumi refresh` and `pulumi up`; "
                "a template: another DeploymentAttempt",
            )
    if not are_old:
        yield Check("versions", Outcome.FITS, f"{len(called)} functions are called as they were last changed")


def content(configuration: Mapping[str, Any], key: str) -> Any:
    value = configuration.get(key)
    return value.get("Variables") if key == "Environment" and value else value or None
