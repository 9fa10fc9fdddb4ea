"""`hourbank doctor`: whether an account has what a stack needs, looked at before `pulumi up` and after.

The program says itself what it needs: it is recorded with the account's own exports, and refuses here the settings that
a preview would refuse; the tables that it asks for are then held against the program's own demands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.models import MODELS, key_of
from components.tables import STREAMED, Description, objection_to
from handlers.aws.dynamodb import client
from hourbank.account import mail
from hourbank.account.app_schema import schema
from hourbank.account.checks import GONE, Account, Check, Outcome
from hourbank.account.published import unpublished
from hourbank.account.stack import LOCAL, configuration, error_in_words, is_refusal, reach
from hourbank.names import PROJECT
from hourbank.program import recorder
from hourbank.program.configuration import StackConfig, told_tables
from hourbank.program.recorder import GET_EXPORT, GET_TABLE, Recording
from hourbank.terminal import print_json

READERS_OF_A_SHARD = 2


def doctor(console: Console, env: str | None, region: str | None, *, as_json: bool = False) -> bool:
    """Print what fits and what does not, and return whether nothing is missing.

    Parameters
    ----------
    env : str, optional
        A stack that has a `Pulumi.<env>.yaml`; without one, what `hourbank up` left running.
    region : str, optional
        AWS's region; without one, the stack's own (`aws:region`).

    Raises
    ------
    HourBankError
        If there is no such stack, or AWS does not let anybody in.
    """
    found = configuration(env or LOCAL)
    needed = ["hourbank:tables", "hourbank:amplifyApiId", "hourbank:amplifyEnv"]
    found.need(needed if region else ["aws:region", *needed])
    env, _, led = reach(env, region)
    with Console(stderr=True).status("looking at the account"):
        checks = [*examine(env, found.values, led), *unopened(found)]
    misses, unseen = (
        [check for check in checks if check.outcome is outcome] for outcome in (Outcome.MISS, Outcome.UNSEEN)
    )
    if as_json:
        rows = [
            {"what": one.what, "outcome": one.outcome.name, "found": one.found, "remedy": one.remedy} for one in checks
        ]
        print_json(console, stack=env, region=client("sts").meta.region_name, ok=not misses, rows=rows)
        return not misses
    show(console, checks)
    if unseen:
        console.print(Text(f"{len(unseen)} could not be looked at", "yellow"))
    if misses:
        console.print(Text(f"{len(misses)} missing: see → above", "bold red"))
    else:
        console.print(Text(f"{env} has what it needs", "bold green"))
    return not misses


def show(console: Console, checks: Sequence[Check]) -> None:
    """Print a line on each check, and what to do under it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark, colour = check.outcome.value
        found = Text(check.found)
        if check.remedy:
            found.append(f"\n→ {check.remedy}", "cyan")
        table.add_row(Text(mark, colour), check.what, found)
    console.print(table)


def examine(env: str, config: Mapping[str, str], led: str = "") -> Iterator[Check]:
    """Check everything of a stack with this configuration, by full key such as `hourbank:amplifyApiId`."""
    account = whoami(led)
    yield Check("account", Outcome.FITS, str(account).removeprefix("account "))
    try:
        recording, names = plan(env, config, account)
    except pulumi.RunError as error:
        what, _, instead = str(error).rpartition(": ")
        yield Check("configuration", Outcome.MISS, what, f"{instead}; then everything else is looked at")
        return
    yield Check("configuration", Outcome.FITS, f"Pulumi.{env}.yaml")
    yield from not_yet((config.get(f"{PROJECT}:startRequestsFrom") or "").strip())
    settings = {key: (config.get(f"{PROJECT}:{key}") or "").strip() for key in SETTING_CHECKS}
    accepts = config.get(f"{PROJECT}:allowConflictResolution") == "true"
    api_id, endpoint = (config.get(f"{PROJECT}:{key}", "").strip() for key in ("amplifyApiId", "appsyncEndpoint"))
    # what `hourbank up` runs has tables, and no API
    has_api = bool(api_id) and not (env == LOCAL and not endpoint)
    # that a table is another app's is said in place of what else there is to say of it
    strange = {one.what: one for one in seen("tables", lambda: foreign(api_id, names))} if has_api else {}
    for check in tables(names, account, accepts=accepts, env=env):
        yield strange.pop(check.what, check)
    yield from strange.values()
    yield from seen("names", lambda: owners(recording, env))
    yield from seen("versions", lambda: unpublished(client, env, account))
    for key, check in SETTING_CHECKS.items():
        if settings[key]:
            yield from seen(key, lambda check=check, key=key: check(settings[key], account))
    if has_api:
        yield from seen("schema", lambda: schema(api_id, endpoint, account))


def not_yet(start_requests_from: str) -> Iterator[Check]:
    """Say that no request starts yet, where the time is still to come."""
    if start_requests_from and datetime.fromisoformat(start_requests_from) > datetime.now(UTC):
        found = f"{start_requests_from} is still to come: until then no request starts"
        yield Check("startRequestsFrom", Outcome.NOTE, found)


def unopened(config: StackConfig) -> Iterator[Check]:
    """Say what of the configuration was not looked at, because only Pulumi can open it."""
    for key in config.placeholders:
        name, why = key.removeprefix(f"{PROJECT}:"), config.unknown[key]
        yield Check(name, Outcome.UNSEEN, f"{why}, which only Pulumi can open", "`pulumi preview` looks at it")
    if config.environments:
        found = f"{' and '.join(config.environments)} of Pulumi ESC may set more than was looked at"
        yield Check("environment", Outcome.UNSEEN, found, "`pulumi preview` looks at it")


def whoami(led: str = "") -> Account:
    tokens = client("sts")
    caller = tokens.get_caller_identity()
    return Account(caller["Account"], tokens.meta.region_name, caller["Arn"].split(":")[1], led)


def plan(env: str, config: Mapping[str, str], account: Account) -> tuple[Recording, Mapping[str, str]]:
    """Let the program say what it would make here, and in which tables."""
    told = told_tables(config)
    names: dict[str, str] = {}

    def get_table(args: dict[str, Any]) -> dict[str, Any]:
        if key := key_of(args["name"], told):
            names[key] = args["name"]
        return recorder.table_that_serves(args["name"], told)

    exports: dict[str, str] = {}

    def get_export(args: dict[str, Any]) -> dict[str, Any]:
        if not exports:
            pages = client("cloudformation").get_paginator("list_exports").paginate()
            exports.update({one["Name"]: one["Value"] for page in pages for one in page["Exports"]})
        table = exports[args["name"]]
        told.update({key: table for key, model in MODELS.items() if args["name"].endswith(f":{model.export}")})
        return {"name": args["name"], "value": table}

    answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "aws:index/getCallerIdentity:getCallerIdentity": lambda _: {"accountId": account.id},
        "aws:index/getRegion:getRegion": lambda _: {"region": account.region},
        "aws:index/getPartition:getPartition": lambda _: {"partition": account.partition},
        GET_TABLE: get_table,
        GET_EXPORT: get_export,
    }
    recording = recorder.record(env, config=config, invokes=answers)
    return recording, names


def seen(what: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Look, and say so where AWS does not let anybody see, or fails: the rest is looked at all the same."""
    try:
        yield from look()
    except (BotoCoreError, ClientError) as error:
        if is_refusal(error):
            yield Check(what, Outcome.UNSEEN, error_in_words(error))
        else:
            yield Check(what, Outcome.MISS, error_in_words(error), "look again: nobody can say whether this fits")


# ---- tables and the stream


def tables(names: Mapping[str, str], account: Account, *, accepts: bool, env: str) -> Iterator[Check]:
    keys: dict[str, list[str]] = {}
    for key, name in names.items():
        what = f"table {MODELS[key].name}"
        try:
            description = describe(name)
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                instead = f"amplifyApiId, amplifyEnv (or tables.{key}) and aws:region must be those of the backend"
                yield Check(what, Outcome.MISS, f"{name} does not exist in {account.region}", instead)
            else:
                yield Check(
                    what, Outcome.MISS, error_in_words(error), "allow dynamodb:DescribeTable and DescribeTimeToLive"
                )
            continue
        if objection := objection_to(key, description, allow_conflict_resolution=accepts):
            yield Check(what, Outcome.MISS, f"{name}: {objection[0]}", objection[1])
        elif objection := index(key, name, description):
            yield Check(what, Outcome.NOTE, *objection)
        else:
            yield Check(what, Outcome.FITS, name)
        if key == STREAMED and (stream := description.stream_arn):
            yield from seen("stream", lambda stream=stream: readers(stream, env))
        if customers_key := description.key_arn:
            keys.setdefault(customers_key, []).append(MODELS[key].name)
    for arn, encrypted in keys.items():
        yield from seen("key", lambda arn=arn, encrypted=encrypted: encryption(arn, encrypted))


def describe(name: str) -> Description:
    dynamodb = client("dynamodb")
    table = dynamodb.describe_table(TableName=name)["Table"]
    keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
    return Description(
        hash_key=keys["HASH"],
        range_key=keys.get("RANGE"),
        types={one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]},
        ttl_attribute=dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"].get("AttributeName"),
        stream_arn=table.get("LatestStreamArn"),
        stream_view=table.get("StreamSpecification", {}).get("StreamViewType"),
        key_arn=table.get("SSEDescription", {}).get("KMSMasterKeyArn"),
        indexes={
            one["IndexName"]: one["KeySchema"][0]["AttributeName"]
            for one in table.get("GlobalSecondaryIndexes", [])
            if one.get("IndexStatus") == "ACTIVE"
        },
    )


def index(key: str, name: str, table: Description) -> tuple[str, str] | None:
    """Return what the auditor pays for where a table has no index of what can still change, and what to do."""
    needed = MODELS[key].index
    if needed is None or table.indexes.get(needed.name) == needed.attribute:
        return None
    found = f"{name} has no index {needed.name}: the auditor reads the whole table every hour"
    default = '@default(value: "OPEN") ' if needed.attribute == "open" else ""
    line = f'{default}@index(name: "{needed.name}", queryField: null, projection: {{ type: KEYS_ONLY }})'
    return found, f"give {MODELS[key].name}.{needed.attribute} {line}; for Gen 2 see amplify/data-resource.ts"


def encryption(arn: str, encrypted: Sequence[str]) -> Iterator[Check]:
    """Say whether a table's key can be used; one of AWS's own needs no word."""
    what = f"key of {', '.join(encrypted)}"
    try:
        key = client("kms").describe_key(KeyId=arn)["KeyMetadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        yield Check(what, Outcome.MISS, f"there is no key {arn}", "no such table can be read any more")
        return
    if key["KeyManager"] == "AWS":
        return
    if key["KeyState"] != "Enabled":
        remedy = f"aws kms enable-key --key-id {arn}, or cancel-key-deletion before it"
        yield Check(what, Outcome.MISS, f"{arn} is {key['KeyState']}", remedy)
        return
    found = f"{arn} is yours: the functions' roles get kms:Decrypt through DynamoDB"
    yield Check(what, Outcome.NOTE, found, f"its policy must leave that to IAM; a template needs TablesKmsKeyArn={arn}")


def readers(stream: str, env: str) -> Iterator[Check]:
    """Say who reads ServiceRequest's stream: there is room for two, and for one deployment of this project."""
    pages = client("lambda").get_paginator("list_event_source_mappings").paginate(EventSourceArn=stream)
    mappings = [one for page in pages for one in page["EventSourceMappings"] if one["State"] != "Deleting"]
    ours, router = f"hourbank-routeServiceRequest-{env}", "hourbank-routeServiceRequest-"
    states = {one["FunctionArn"].split(":")[6]: one["State"] for one in mappings}
    off = ("Disabled", "Disabling")
    if states.get(ours) in off:
        remedy = "no request starts: `pulumi refresh`, then `pulumi up`, or enable its trigger"
        yield Check("stream", Outcome.MISS, f"{ours} is {states[ours].lower()}", remedy)
    others = sorted(name for name, state in states.items() if name != ours and state not in off)
    if second := [name for name in others if name.startswith(router)]:
        remedy = "two deployments would hold the hours of each request: give each its own Amplify environment"
        yield Check("stream", Outcome.MISS, f"{', '.join(second)} reads it too", remedy)
    elif len(others) >= READERS_OF_A_SHARD:
        remedy = "a stream has room for two readers: let one of these go, or let one function do the work of both"
        yield Check("stream", Outcome.MISS, f"{', '.join(others)} read it, and {ours} would be one too many", remedy)
    elif others:
        yield Check("stream", Outcome.NOTE, f"{others[0]} reads it too; with {ours} there is no room for a third")
    elif states.get(ours) not in off:
        yield Check("stream", Outcome.FITS, f"read by {ours} alone" if ours in states else "read by nobody yet")


def foreign(api_id: str, names: Mapping[str, str]) -> Iterator[Check]:
    """Say which tables are not those that the API's clients read: another app's, which a preview cannot tell."""
    pages = client("appsync").get_paginator("list_data_sources").paginate(apiId=api_id)
    try:
        sources = [one for page in pages for one in page["dataSources"] if one["type"] == "AMAZON_DYNAMODB"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        return  # there is no such API, which is said with its schema
    own = {one["dynamodbConfig"]["tableName"]: one["name"] for one in sources}
    for key, name in names.items():
        if own and name not in own:
            model = MODELS[key].name
            # what Amplify calls a model's data source
            right = next((table for table, source in own.items() if source == f"{model}Table"), None)
            remedy = f"its {model} is {right}: set tables.{key} to it" if right else "see tables and amplifyApiId"
            yield Check(f"table {model}", Outcome.MISS, f"{name} is no table of API {api_id}", remedy)


# ---- names, and what the configuration names


def owners(recording: Recording, env: str) -> Iterator[Check]:
    """Say who has the names of the roles that this stack makes: the program looks at the first alone."""
    found: dict[str, str] = {}
    for role in recording.of_type("Role"):
        try:
            tags = client("iam").get_role(RoleName=role.inputs["name"])["Role"].get("Tags", [])
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise
            continue
        values = {tag["Key"]: tag["Value"] for tag in tags}
        by_template = values.get("aws:cloudformation:stack-name")
        found[role.inputs["name"]] = (
            f"the CloudFormation stack {by_template}" if by_template else values.get("Stack", "something else")
        )
    distinct = sorted(set(found.values()))
    if not found:
        yield Check("names", Outcome.FITS, f"free: no stack {env} is here yet")
    elif len(distinct) == 1 and distinct[0].endswith(f"/{PROJECT}/{env}"):
        yield Check("names", Outcome.FITS, f"those of the stack {distinct[0]}")
    elif len(distinct) == 1 and distinct[0].startswith("the CloudFormation stack "):
        state = Outcome.FITS if env == LOCAL else Outcome.NOTE
        yield Check("names", state, f"deployed by {distinct[0]}")
    else:
        strange = {name: owner for name, owner in found.items() if not owner.endswith(f"/{PROJECT}/{env}")} or found
        name, owner = next(iter(strange.items()))
        remedy = f"remove it, or choose another stack name, region or account: there is room for one {env} in a region"
        yield Check("names", Outcome.MISS, f"the role {name} belongs to {owner}", remedy)


def auth_role(name: str, _: Account) -> Iterator[Check]:
    what = "amplifyAuthRoleName"
    try:
        trust = json.dumps(client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        yield Check(what, Outcome.MISS, f"there is no role {name}", "set it to Amplify's authRole, or to nothing")
        return
    if "cognito-identity.amazonaws.com" not in trust or '"unauthenticated"' in trust:
        found = f"{name} is not the role of signed-in users"
        yield Check(what, Outcome.MISS, found, "set it to Amplify's authRole (not unauthRole), or to nothing")
    else:
        yield Check(what, Outcome.FITS, name)


def alarm_topic(arn: str, account: Account) -> Iterator[Check]:
    what = "alarmTopicArn"
    region = arn.split(":")[3]
    if region != account.region:
        found = f"{arn} is in {region}"
        yield Check(what, Outcome.MISS, found, f"an alarm in {account.region} tells topics there: make one there")
        return
    try:
        attributes = client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        yield Check(what, Outcome.MISS, f"there is no topic {arn}", f"aws sns create-topic --name {arn.split(':')[5]}")
        return
    if attributes.get("SubscriptionsConfirmed") == "0":
        yield Check(what, Outcome.NOTE, f"{arn}: nobody has subscribed", "subscribe whoever must hear of alarms")
    else:
        yield Check(what, Outcome.FITS, arn)


def boundary(arn: str, _: Account) -> Iterator[Check]:
    what = "permissionsBoundaryArn"
    try:
        client("iam").get_policy(PolicyArn=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        yield Check(what, Outcome.MISS, f"there is no policy {arn}", "set it to the policy that your account asks for")
        return
    yield Check(what, Outcome.FITS, arn)


SETTING_CHECKS: Mapping[str, Callable[[str, Account], Iterator[Check]]] = {
    "amplifyAuthRoleName": auth_role,
    "alarmTopicArn": alarm_topic,
    "permissionsBoundaryArn": boundary,
    "notifyFrom": lambda address, _: mail.sender(address),
    "userPoolId": lambda pool_id, _: mail.user_pool(pool_id),
}
