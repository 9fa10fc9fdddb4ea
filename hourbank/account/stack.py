"""The stack that an operator works on: the one that `hourbank up` left running, or one on AWS.

It is found by the names that a stack's resources always have; its tables and settings are what its auditor was deployed
with. Handlers' code then runs here as it runs there, so everything goes through the handlers' own clients.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    LoginError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnection

from handlers.aws.dynamodb import Contended, client
from handlers.bank.requests import IllegalSetting
from hourbank import names
from hourbank.account import way
from hourbank.account.checks import Account
from hourbank.account.sign_in import sign_in
from hourbank.errors import HourBankError, UnreachableError
from hourbank.local import machine, running
from hourbank.program.configuration import StackConfig, read_stack, stack_file
from hourbank.terminal import one_line

if TYPE_CHECKING:
    from hourbank.program.configuration import StackConfig

LOCAL = "local"
# With the pauses between them about a minute: Step Functions describes 15 executions a second for the whole account.
PATIENT_ATTEMPTS = 10
_FORBIDDEN = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedException", "UnauthorizedOperation"),
}
_UNKNOWN = {
    *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException"),
    *("RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException"),
}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What is deployed.

    Attributes
    ----------
    env, region : str
        Where: a part of every name, and AWS's region.
    requests_arn, releases_arn : str
        The state machines.
    queue : str
        The name of the queue of what the stream's reader gave up on.
    options : str
        What a command line needs to mean this stack, such as ` --stack dev`.
    is_local : bool
        Whether this is the emulator, which has no redrive.
    place : str
        The account and the region, and what led there, in words.
    """

    env: str
    region: str
    requests_arn: str
    releases_arn: str
    queue: str
    options: str
    is_local: bool
    place: str = ""

    def command(self, verb: str, target: str = "", options: str = "") -> str:
        """Return what to type in the user's shell for this stack.

        The target, a request's id, is whatever a client chose: quoted for the shell, and never taken for an option.
        """
        call = f"{names.command()} {verb}"
        if target.startswith("-"):
            return f"{call}{options}{self.options} -- {shlex.quote(target)}"
        return f"{call}{' ' if target else ''}{target and shlex.quote(target)}{options}{self.options}"


def connect(env: str | None, region: str | None) -> Stack:
    """Find a stack and turn this process to it: from here on, the handlers' code reads what is deployed there.

    Parameters
    ----------
    env : str, optional
        The name of a stack on AWS; without one, what `hourbank up` left running.
    region : str, optional
        AWS's region; without one, the stack's own (`aws:region`), then that of the environment or the profile.

    Raises
    ------
    HourBankError
        If there is none.
    """
    is_local = env is None
    env, options, led = reach(env, region)
    name, functions = f"hourbank-auditLedger-{env}", client("lambda")
    try:
        auditor = functions.get_function_configuration(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        place = functions.meta.region_name
        if not is_local:
            place = Account(client("sts").get_caller_identity()["Account"], place, "", led)
        raise HourBankError(
            f"no stack {env} in {place}, there is no function {name}: see --stack and --region"
        ) from None
    os.environ.update(auditor["Environment"]["Variables"])
    # AWS has answered: from here on, one that is throttled waits for its turn
    os.environ.setdefault("AWS_MAX_ATTEMPTS", str(PATIENT_ATTEMPTS))
    _, partition, _, place, account, *_ = auditor["FunctionArn"].split(":")
    machines = f"arn:{partition}:states:{place}:{account}:stateMachine:"
    return Stack(
        env=env,
        region=place,
        requests_arn=f"{machines}ServiceRequestWorkflow-{env}",
        releases_arn=f"{machines}EscrowManagementWorkflow-{env}",
        queue=f"hourbank-routeServiceRequest-failures-{env}",
        options=options,
        place=str(Account(account, place, partition, led)),
        is_local=is_local,
    )


def reach(env: str | None, region: str | None) -> tuple[str, str, str]:
    """Turn this process to where a stack is, or is going to be.

    The parameters are those of `connect`.

    Returns
    -------
    tuple of str
        Its name, the options that mean it, and what of its configuration leads there, in words.

    Raises
    ------
    HourBankError
        If no stack is named, and `hourbank up` left none running; or its configuration does not lead to AWS.
    """
    if env is None:
        _turn_to_emulator()
        return LOCAL, "", ""
    options = f" --stack {env}" + (f" --region {region}" if region else "")
    env = names.stack_name(env)
    return env, options, way.follow(read_stack(env, _folder(env)), region)


def configuration(env: str) -> StackConfig:
    """Return a stack's configuration; the stack may be named with its organisation.

    Raises
    ------
    HourBankError
        If there is none, or nobody can read it.
    """
    name = names.stack_name(env)
    if not stack_file(name, _folder(name)).is_file():
        if names.project_folder() is None:
            raise HourBankError(
                f"there is no Pulumi.yaml of {names.PROJECT} in this folder or above it: run this in your clone of "
                "the project, where the stack is configured"
            )
        propose = f"let `{names.command()} doctor --amplify PATH` propose its configuration"
        raise HourBankError(
            f"there is no Pulumi.{name}.yaml beside the program: `pulumi stack init {env}`, then {propose}"
        )
    return read_stack(name, _folder(name))


def _folder(name: str) -> Path:
    """Where a stack is configured: what `hourbank up` runs is by the program itself, the others by the user."""
    return (None if name == LOCAL else names.project_folder()) or names.ROOT


def _turn_to_emulator() -> None:
    """Let boto3 speak to what runs on this machine and, whatever the user's own settings are, to nothing else."""
    try:
        deployment = running.running()
    except UnreachableError as error:
        raise UnreachableError(f"{error}, or name a stack on AWS, such as --stack dev") from None
    machine.shut_off_this_process()
    access_key, secret_key = deployment.credentials
    os.environ |= {
        "AWS_ENDPOINT_URL": deployment.endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }


@contextlib.contextmanager
def errors_in_words() -> Iterator[None]:
    """Turn what AWS refuses, and what it cannot be asked with, into an UnreachableError."""
    try:
        yield
    except (BotoCoreError, ClientError, Contended) as error:
        raise UnreachableError(error_in_words(error)) from error
    except IllegalSetting as error:
        raise HourBankError(str(error)) from error
    except ValueError as error:
        # botocore raises just that for an address, of the environment or a profile, with which it makes no client
        if not str(error).startswith(("Invalid endpoint", "Port ")):
            raise
        raise UnreachableError(f"{one_line(error)}: see AWS_ENDPOINT_URL, or unset it") from None


def is_refusal(error: Exception) -> bool:
    """Whether AWS knows who asks, and does not allow it."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _FORBIDDEN


def error_in_words(error: Exception) -> str:
    """Return what AWS refused, or why it was not asked, in one line that says what to do."""
    if isinstance(error, NoRegionError):
        return "no AWS region: give --region, or set AWS_REGION"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"no AWS credentials: {sign_in()}, or set AWS_PROFILE"
    if isinstance(error, LoginError | SSOError | TokenRetrievalError):
        return f"the sign-in at AWS has expired or was never made: {sign_in()}"
    if isinstance(error, ProfileNotFound):
        return f"{one_line(error)}: see AWS_PROFILE, or unset it"
    if isinstance(error, HTTPClientError | NoConnection):
        told = any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ)
        instead = "is `hourbank up` still running? see AWS_ENDPOINT_URL" if told else "see --region, and the network"
        return f"{one_line(error)}: {instead}"
    if not isinstance(error, ClientError):
        return one_line(error)
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code in _UNKNOWN:
        return f"AWS does not take these credentials ({code}): {sign_in()}, or look at AWS_PROFILE"
    message = " ".join(message.split())[:300]
    if code in _FORBIDDEN:
        return f"AWS does not allow {error.operation_name}: {message}"
    return f"{error.operation_name} failed, {code}: {message}"
