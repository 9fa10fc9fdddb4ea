"""What a stack is told: its configuration, checked before any resource, and the account and region it deploys to."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi.runtime.config import CONFIG, get_config_env

from components.models import MODELS

KEYS = (
    "amplifyApiId",
    "amplifyEnv",
    "tables",
    "allowConflictResolution",
    "startRequestsFrom",
    "providerResponseTimeoutSeconds",
    "confirmationDays",
    "logRetentionDays",
    "tracing",
    "alarmTopicArn",
    "permissionsBoundaryArn",
    "amplifyAuthRoleName",
    "appsyncEndpoint",
    "notifyFrom",
    "userPoolId",
)
PROTECTED_STACKS = ("staging", "prod")
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
THIRTY_DAYS = 30 * 24 * 60 * 60
# 3 to 255 characters of these are what DynamoDB takes
TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
# A role's name has at most 64 characters: hourbank-EscrowManagementWorkflow-<env>-<region, at most 14>.
STACK_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")
# what AppSync itself calls an API's endpoint: its id is in the endpoint's ARN, which a domain of one's own hides
APPSYNC_ENDPOINT = re.compile(r"https://([a-z0-9]+)\.appsync-api\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/graphql")
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
# As CloudFormation's parameters have them too.
TOPIC = r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:[0-9]{12}:\S+"
# one of the account's, or one of AWS's own
POLICY = r"arn:[a-z0-9-]+:iam::([0-9]{12}|aws):policy/\S+"
# No wildcard and no variable of IAM, because it is a part of an ARN in a policy: fewer than mail allows.
ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63})")
USER_POOL = re.compile(r"([a-z]{2}(?:-[a-z]+)+-[0-9])_[0-9A-Za-z]{1,45}")
ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class AppSync:
    """Amplify's GraphQL API."""

    api_id: str
    """The API's id, which its tables' names and IAM's ARNs have."""
    endpoint_id: str
    """The id of its endpoint, another one: the first part of the host."""


@dataclass(frozen=True, kw_only=True)
class Mailing:
    """How people are told by mail."""

    sender: str
    """The address that mails come from, which SES has verified, itself or its domain."""
    user_pool_id: str
    """The Cognito user pool that has people's addresses."""

    @property
    def identities(self) -> tuple[str, str]:
        """What SES may have verified."""
        return self.sender, self.sender.rpartition("@")[2]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A stack's configuration and place; every value is legal."""

    env: str
    """The stack's name, a part of every physical name."""
    stack: str
    """The stack's full name, ``<organization>/<project>/<stack>``: who owns what has these names."""
    account_id: str
    region: str
    partition: str
    amplify_api_id: str
    amplify_env: str
    table_names: Mapping[str, str]
    """The four tables by their key in the configuration, such as ``serviceRequest``: told, else Amplify's rule."""
    told_tables: frozenset[str]
    """The keys of the tables whose names the configuration gives in full."""
    allow_conflict_resolution: bool
    start_requests_from: str
    """ISO 8601 with offset; requests created before it are not started."""
    response_timeout_seconds: int
    minimum_response_timeout_seconds: int
    confirmation_days: int
    log_retention_days: int
    tracing: bool
    """Whether X-Ray records what the workflows and functions do."""
    alarm_topic_arn: str | None
    permissions_boundary_arn: str | None
    amplify_auth_role_name: str | None
    """The role of Amplify's signed-in users, where they may start executions themselves."""
    appsync: AppSync | None
    """The API whose subscribers are told of events."""
    mailing: Mailing | None
    """Where people are told by mail."""
    managed_by: str = "pulumi"
    """The tool that deploys: an exported template names another."""

    @property
    def tags(self) -> dict[str, str]:
        return {"Project": "hourbank", "Environment": self.env, "ManagedBy": self.managed_by, "Stack": self.stack}

    @property
    def protects_workflows(self) -> bool:
        """Whether deleting a state machine, and with it every execution that waits, needs `pulumi state unprotect`."""
        return self.env in PROTECTED_STACKS

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in this account and region, such as ``arn("states", "stateMachine:X-dev")``."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{resource}"

    def role_name(self, name: str) -> str:
        """Roles are global to an account, so the region is a part of their names."""
        return f"hourbank-{name}-{self.env}-{self.region}"


def load() -> Settings:
    """Read and check the stack's configuration, then ask AWS where this is.

    Raises
    ------
    pulumi.RunError
        One line that names the key, what is wrong and what to put there.
    """
    env = pulumi.get_stack()
    if not STACK_NAME.fullmatch(env):
        raise pulumi.RunError(
            f"stack {env}: its name is a part of every resource's name: use 1 to 15 lowercase letters and digits, "
            "beginning with a letter"
        )
    refuse_unknown_keys()
    minimum = 1 if env == "local" else 60
    checked: dict[str, Any] = {
        "amplify_api_id": text("amplifyApiId"),
        "amplify_env": text("amplifyEnv"),
        "table_names": table_names(),
        "told_tables": frozenset(explicit_table_names()),
        "allow_conflict_resolution": boolean("allowConflictResolution"),
        "start_requests_from": start_requests_from(),
        "response_timeout_seconds": integer("providerResponseTimeoutSeconds", minimum, THIRTY_DAYS),
        "minimum_response_timeout_seconds": minimum,
        "confirmation_days": integer("confirmationDays", 1, 365),
        "log_retention_days": log_retention_days(),
        "tracing": boolean("tracing"),
        "alarm_topic_arn": alarm_topic(),
        "permissions_boundary_arn": arn("permissionsBoundaryArn", POLICY, "arn:aws:iam::123456789012:policy/boundary"),
        "amplify_auth_role_name": role_name("amplifyAuthRoleName"),
        "appsync": appsync(),
        "mailing": mailing(),
    }
    account_id, region, partition = place()
    refuse_topic_elsewhere(checked["alarm_topic_arn"], region, partition)
    return Settings(
        env=env,
        stack=f"{pulumi.get_organization()}/{pulumi.get_project()}/{env}",
        account_id=account_id,
        region=region,
        partition=partition,
        **checked,
    )


def place() -> tuple[str, str, str]:
    """The account's id, the region and the partition: the first that AWS is asked."""
    try:
        return aws.get_caller_identity().account_id, aws.get_region().region, aws.get_partition().partition
    except Exception as error:  # noqa: BLE001 the SDK raises just that, whatever the provider answers
        reason = " ".join(str(error).split())[:300]
        instead = "log in, see AWS_PROFILE and AWS_ENDPOINT_URL, and allow sts:GetCallerIdentity"
        raise pulumi.RunError(
            f"AWS does not say whose account this is ({reason}): {instead} (stack {pulumi.get_stack()})"
        ) from None


def refuse_unknown_keys() -> None:
    prefix = "hourbank:"
    given = {key.removeprefix(prefix) for key in {*CONFIG.get(), *get_config_env()} if key.startswith(prefix)}
    if unknown := sorted(given - set(KEYS)):
        instead = f"the keys are {', '.join(KEYS)}"
        if unknown[0].startswith("tables."):
            instead = f"remove it, then set it as a part of tables: pulumi config set --path {unknown[0]} NAME"
        raise wrong(unknown[0], "is not a key of this project", instead)


def wrong(key: str, what: str, instead: str) -> pulumi.RunError:
    return pulumi.RunError(f"hourbank:{key} {what}: {instead} (stack {pulumi.get_stack()})")


def text(key: str) -> str:
    return (pulumi.Config("hourbank").get(key) or "").strip()


def required(key: str, instead: str) -> str:
    value = text(key)
    if not value:
        raise wrong(key, "is missing", instead)
    return value


def integer(key: str, low: int, high: int) -> int:
    value = required(key, f"set a whole number from {low} to {high}")
    if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
        raise wrong(key, f"is {value!r}", f"set a whole number from {low} to {high}")
    return int(value)


def boolean(key: str) -> bool:
    value = text(key) or "false"
    if value not in ("true", "false"):
        raise wrong(key, f"is {value!r}", "set true or false")
    return value == "true"


def start_requests_from() -> str:
    example = "set an ISO 8601 time with offset, such as 2026-01-01T00:00:00Z"
    value = required("startRequestsFrom", example)
    if value.endswith(" UTC"):
        # what YAML makes of a time
        raise wrong("startRequestsFrom", f"is {value!r}", 'put the time in quotes, such as "2026-01-01T00:00:00Z"')
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise wrong("startRequestsFrom", f"is {value!r}", example) from None
    if moment.utcoffset() is None:
        raise wrong("startRequestsFrom", f"is {value!r}, without an offset from UTC", example)
    if moment > datetime.now(UTC):
        pulumi.log.warn(f"hourbank:startRequestsFrom is {value}, which is still to come: until then no request starts")
    return value


def log_retention_days() -> int:
    days = integer("logRetentionDays", LOG_RETENTION_DAYS[0], LOG_RETENTION_DAYS[-1])
    if days not in LOG_RETENTION_DAYS:
        offered = ", ".join(map(str, LOG_RETENTION_DAYS))
        raise wrong("logRetentionDays", f"is {days}, which CloudWatch Logs does not offer", f"set one of {offered}")
    return days


def arn(key: str, form: str, example: str) -> str | None:
    value = text(key)
    if value and not re.fullmatch(form, value):
        raise wrong(key, f"is {value!r}", f"set an ARN such as {example}, or nothing")
    return value or None


def alarm_topic() -> str | None:
    """CloudWatch refuses a topic of another region only when it makes the alarm, in the midst of an update."""
    topic = arn("alarmTopicArn", TOPIC, "arn:aws:sns:us-east-1:123456789012:alarms")
    here = pulumi.Config("aws").get("region")
    if topic and here and (region := topic.split(":")[3]) != here:
        raise wrong("alarmTopicArn", f"is in {region}", f"an alarm in {here}, which is aws:region, cannot tell it")
    return topic


def refuse_topic_elsewhere(topic: str | None, region: str, partition: str) -> None:
    """Where the configuration names no region, AWS does; of a recording it is a placeholder."""
    if not topic or region.startswith("$"):
        return
    _, its_partition, _, its_region, *_ = topic.split(":")
    if (its_partition, its_region) != (partition, region):
        raise wrong(
            "alarmTopicArn", f"is in {its_partition}:{its_region}", f"an alarm in {partition}:{region} cannot tell it"
        )


def role_name(key: str) -> str | None:
    value = text(key)
    if value and not ROLE_NAME.fullmatch(value):
        example = "set a role's name (not its ARN) such as amplify-myapp-dev-123456-authRole, or nothing"
        raise wrong(key, f"is {value!r}", example)
    return value or None


def appsync() -> AppSync | None:
    value = text("appsyncEndpoint")
    if not value:
        return None
    endpoint = APPSYNC_ENDPOINT.fullmatch(value)
    if not endpoint:
        example = "https://abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com/graphql"
        raise wrong(
            "appsyncEndpoint", f"is {value!r}", f"set the URL that AppSync shows, such as {example}, or nothing"
        )
    endpoint_id, region = endpoint.groups()
    here = pulumi.Config("aws").get("region") or region
    if region != here:
        raise wrong("appsyncEndpoint", f"is in {region}", f"a rule in {here}, which is aws:region, cannot reach it")
    api_id = required("amplifyApiId", "set the id of the API that hourbank:appsyncEndpoint is the URL of")
    return AppSync(api_id=api_id, endpoint_id=endpoint_id)


def mailing() -> Mailing | None:
    sender, pool = text("notifyFrom"), text("userPoolId")
    found = USER_POOL.fullmatch(pool)
    if pool and not found:
        raise wrong("userPoolId", f"is {pool!r}", "set a user pool's id, such as us-east-1_AbCdEfGhI, or nothing")
    if found and found[1] != (here := pulumi.Config("aws").get("region") or found[1]):
        raise wrong("userPoolId", f"is in {found[1]}", f"a function in {here}, which is aws:region, asks a pool there")
    if not sender:
        return None
    if not ADDRESS.fullmatch(sender):
        example = "set an address that SES has verified, such as hours@example.com, or nothing"
        raise wrong("notifyFrom", f"is {sender!r}", example)
    required(
        "userPoolId", "set the id of the Cognito user pool that has the addresses of whom hourbank:notifyFrom mails"
    )
    return Mailing(sender=sender, user_pool_id=pool)


def table_names() -> dict[str, str]:
    """Explicit names first, then Amplify's rule ``<Model>-<apiId>-<env>``."""
    explicit = explicit_table_names()
    names = {}
    for key, model in MODELS.items():
        names[key] = explicit.get(key) or amplify_table_name(key, model.name)
        if not TABLE_NAME.fullmatch(names[key]):
            source = f"tables.{key}" if key in explicit else "amplifyApiId"
            raise wrong(source, f"makes {names[key]!r} a table's name", "use letters, digits, '_', '-' and '.' only")
    if len(set(names.values())) < len(names):
        raise wrong("tables", "names one table twice", "each of the four models has a table of its own")
    return names


def amplify_table_name(key: str, model: str) -> str:
    api_id = required("amplifyApiId", f"set the id of Amplify's GraphQL API, or hourbank:tables.{key}")
    environment = required("amplifyEnv", f"set Amplify's environment (Gen 2: NONE), or hourbank:tables.{key}")
    return f"{model}-{api_id}-{environment}"


def explicit_table_names() -> dict[str, str]:
    example = f"set a map with some of {', '.join(MODELS)}"
    try:
        explicit = json.loads(text("tables") or "{}")
    except ValueError:
        raise wrong("tables", "is not an object", example) from None
    if not isinstance(explicit, dict) or not all(isinstance(name, str) for name in explicit.values()):
        raise wrong("tables", "is not a map of names", example)
    if unknown := sorted(set(explicit) - set(MODELS)):
        raise wrong(f"tables.{unknown[0]}", "is not one of the four tables", example)
    return {key: name.strip() for key, name in explicit.items() if name.strip()}
