"""An Amplify project on this machine, of either generation, and the stack's configuration that it leads to.

Gen 1 keeps `amplify/backend/amplify-meta.json` (git-ignored, made by `amplify pull`: it has the API's id) and
`amplify/team-provider-info.json` (committed: every environment's root stack, which leads to the API). Gen 2 has
`amplify_outputs.json`, whose URL leads to the API.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from handlers.aws.dynamodb import client
from hourbank import names
from hourbank.errors import HourBankError
from hourbank.files import UNREADABLE, why_unreadable
from hourbank.terminal import printable

META = "amplify-meta.json"
PROVIDERS = "team-provider-info.json"
OUTPUTS = "amplify_outputs.json"
# Amplify's environment where there are none
GEN2 = "NONE"
# from a project's folder, from its `amplify`, and the file itself
PLACES = (f"amplify/backend/{META}", f"backend/{META}", f"amplify/{PROVIDERS}", PROVIDERS, OUTPUTS)
# what is printed is to be copied into a shell
LEGAL = {
    "aws:region": re.compile(r"[a-z]{2}(-[a-z]+)+-\d"),
    "amplifyApiId": re.compile(r"[A-Za-z0-9]{1,64}"),
    "amplifyEnv": re.compile(r"[A-Za-z0-9]{1,64}"),
    "amplifyAuthRoleName": re.compile(r"[\w+=,.@-]{1,64}", re.ASCII),
    "appsyncEndpoint": re.compile(r"https://[A-Za-z0-9./-]+"),
}


@dataclass(frozen=True, kw_only=True)
class Project:
    """What an Amplify project says of one environment; what it does not say is None."""

    file: Path
    region: str
    api_id: str
    env: str
    auth_role: str | None
    endpoint: str | None


def propose(path: Path, stack: str | None, region: str | None) -> str:
    """Return the commands that configure a stack for an Amplify project.

    Parameters
    ----------
    path : Path
        The project's folder, its `amplify`, or one of the three files.
    stack : str, optional
        The stack to configure; where a project has many environments, that of the same name is meant.
    region : str, optional
        AWS's region, if it is not the one in the file.

    Raises
    ------
    HourBankError
        One line: that there is no such project, or what it lacks.
    """
    name = names.stack_name(stack) if stack else None
    project = read(path, name, region)
    options = f" --stack {shlex.quote(stack)}" if stack else ""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    needed = {
        "aws:region": project.region,
        "amplifyApiId": project.api_id,
        "amplifyEnv": project.env,
    }
    optional = {
        "amplifyAuthRoleName": (project.auth_role, "lets browsers start executions: docs/app/browser-starts.md"),
        "appsyncEndpoint": (project.endpoint, "tells subscribers of events: docs/app/subscriptions.md"),
    }
    folder = names.project_folder() or "your clone of the project"
    lines = [f"# from {printable(project.file)}; to be typed in {folder}"]
    lines += [f"# careful: {warning}" for warning in warnings(project, name)]
    lines += [f"pulumi config set {key} {legal(key, value, project.file)}{options}" for key, value in needed.items()]
    lines += [f"pulumi config set startRequestsFrom {moment}{options}  # now; keep it once the stack is deployed"]
    for key, (value, why) in optional.items():
        if value:
            lines.append(f"# pulumi config set {key} {legal(key, value, project.file)}{options}  # optional: {why}")
    lines.append(
        f"{names.command()} doctor --stack {shlex.quote(stack) if stack else 'STACK'}  # then see whether all fits"
    )
    return "\n".join(lines)


def warnings(project: Project, stack: str | None) -> Iterator[str]:
    """Say where the tables may be others than those that are meant."""
    if project.env == GEN2:
        yield f"these are the tables of the backend, a branch's or a sandbox's, that {OUTPUTS} was generated for last"
    elif stack and stack != project.env:
        whose = f"the tables of the environment {printable(project.env)}, for the stack {printable(stack)}"
        yield f"these are {whose}: two stacks must not share one environment"


def read(path: Path, stack: str | None, region: str | None) -> Project:
    """Read the project's file, and ask AWS for what is not in it."""
    if region and not LEGAL["aws:region"].fullmatch(region):
        raise HourBankError(f"--region is {printable(region)!r}, which is no region of AWS: give one such as eu-west-1")
    file = find(path)
    content = load(file)
    if file.name == META:
        return of_meta(file, content, stack, region)
    if file.name == PROVIDERS:
        return of_providers(file, content, stack, region)
    return of_outputs(file, content, region)


def find(path: Path) -> Path:
    if path.name in (META, PROVIDERS, OUTPUTS) and path.is_file():
        return path
    for place in PLACES:
        if (path / place).is_file():
            return path / place
    if (path / "backend.ts").is_file() and (path / ".." / OUTPUTS).is_file():  # Gen 2's `amplify`
        return Path(os.path.normpath(path / ".." / OUTPUTS))
    what = "there is no such folder" if not path.exists() else f"it has no {', '.join((PLACES[0], PLACES[2], OUTPUTS))}"
    first = "`amplify pull` (Gen 1) or `npx ampx generate outputs` (Gen 2) makes one"
    raise HourBankError(
        f"{printable(path)} is no Amplify project, {what}: give the folder that `amplify` is in; {first}"
    )


def load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except UNREADABLE as error:
        raise HourBankError(f"{printable(file)} cannot be read ({why_unreadable(error)}): pull it again") from None
    if not isinstance(content, dict):
        raise HourBankError(f"{printable(file)} is not a JSON object: pull it again")
    return content


def of_meta(file: Path, content: dict[str, Any], stack: str | None, region: str | None) -> Project:
    provider = part(content, "providers", "awscloudformation")
    apis = [api for api in part(content, "api").values() if isinstance(api, dict) and api.get("service") == "AppSync"]
    outputs = [output for api in apis if (output := part(api, "output")).get("GraphQLAPIIdOutput")]
    if not outputs:
        raise HourBankError(
            f"{printable(file)} has no GraphQL API that was pushed: `amplify push`, then `amplify pull`"
        )
    local = file.parent.parent / ".config" / "local-env-info.json"
    env = load(local).get("envName") if local.is_file() else None
    env = env or env_of(string(provider, "StackName")) or missing(file, "environment", "`amplify pull` again")
    refuse_another(file, env, stack)
    return Project(
        file=file,
        region=region or string(provider, "Region") or missing(file, "region", "give --region"),
        api_id=string(outputs[0], "GraphQLAPIIdOutput") or "",
        env=env,
        auth_role=string(provider, "AuthRoleName"),
        endpoint=string(outputs[0], "GraphQLAPIEndpointOutput"),
    )


def refuse_another(file: Path, env: str, stack: str | None) -> None:
    """Refuse to propose the tables of one environment for the stack that is named after another.

    A stack may be called as it likes, but for the name of an environment that this project has and that is not here.
    """
    providers = file.parent.parent / PROVIDERS
    if stack and stack != env and providers.is_file() and stack in load(providers):
        checkout = f"run `amplify env checkout {stack}`"
        raise HourBankError(
            f"{printable(env)} is checked out in {printable(file)}, and the stack is {stack}: {checkout}"
        )


def env_of(root: str | None) -> str | None:
    """The environment in the name of a root stack, `amplify-<project>-<env>-<id>`."""
    found = re.fullmatch(r"amplify-[^-]+-([^-]+)-[^-]+", root or "")
    return found[1] if found else None


def of_providers(file: Path, content: dict[str, Any], stack: str | None, region: str | None) -> Project:
    environments = {env: part(part(content, env), "awscloudformation") for env in content}
    if not environments:
        missing(file, "environment", "`amplify init` makes one")
    env = stack if stack in environments else next(iter(environments))
    if stack not in environments and len(environments) > 1:
        among = ", ".join(map(printable, environments))
        raise HourBankError(f"{printable(file)} has the environments {among}: say which with --stack, or pull one")
    provider = environments[env]
    root = string(provider, "StackName") or missing(file, f"stack of {env}", "`amplify pull`")
    region = region or string(provider, "Region") or missing(file, f"region of {env}", "give --region")
    os.environ["AWS_DEFAULT_REGION"] = legal("aws:region", region, file)
    outputs = api_of(root, region)
    return Project(
        file=file,
        region=region,
        api_id=outputs["GraphQLAPIIdOutput"],
        env=env,
        auth_role=string(provider, "AuthRoleName"),
        endpoint=outputs.get("GraphQLAPIEndpointOutput"),
    )


def api_of(root: str, region: str) -> Mapping[str, str]:
    """The outputs of the nested stack in which Gen 1 keeps its API."""
    stacks = client("cloudformation")
    try:
        pages = stacks.get_paginator("list_stack_resources").paginate(StackName=root)
        resources = [one for page in pages for one in page["StackResourceSummaries"]]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise HourBankError(
            f"there is no stack {printable(root)} in {region}: log in to the account it is in"
        ) from None
    for one in resources:
        if one["ResourceType"] == "AWS::CloudFormation::Stack" and one["LogicalResourceId"].startswith("api"):
            described = stacks.describe_stacks(StackName=one["PhysicalResourceId"])["Stacks"][0]
            outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
            if "GraphQLAPIIdOutput" in outputs:
                return outputs
    raise HourBankError(f"the stack {root} has no GraphQL API: `amplify add api`, then `amplify push`")


def of_outputs(file: Path, content: dict[str, Any], region: str | None) -> Project:
    data, auth = part(content, "data"), part(content, "auth")
    url = string(data, "url") or missing(file, "data.url", "the backend has no data; add it, and deploy it")
    region = region or string(data, "aws_region") or missing(file, "data.aws_region", "give --region")
    os.environ["AWS_DEFAULT_REGION"] = legal("aws:region", region, file)
    pages = client("appsync").get_paginator("list_graphql_apis").paginate()
    apis = {one.get("uris", {}).get("GRAPHQL"): one["apiId"] for page in pages for one in page["graphqlApis"]}
    if url not in apis:
        raise HourBankError(f"no API in {region} has the URL {printable(url)}: log in to the account of this backend")
    return Project(
        file=file,
        region=region,
        api_id=apis[url],
        env=GEN2,
        auth_role=authenticated(string(auth, "identity_pool_id")),
        endpoint=url,
    )


def authenticated(pool: str | None) -> str | None:
    """The name of the role that an identity pool gives to signed-in users; None where nobody may look."""
    if pool is None:
        return None
    try:
        roles = client("cognito-identity").get_identity_pool_roles(IdentityPoolId=pool).get("Roles", {})
    except ClientError:
        return None
    arn = roles.get("authenticated")
    return arn.rpartition("/")[2] if arn else None


def part(content: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """What is under these keys, if it is an object; else nothing."""
    found: Any = content
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def string(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    return value if isinstance(value, str) and value else None


def missing(file: Path, what: str, instead: str) -> Any:
    raise HourBankError(f"{printable(file)} has no {what}: {instead}")


def legal(key: str, value: str, file: Path) -> str:
    if not isinstance(value, str) or not LEGAL[key].fullmatch(value):
        raise HourBankError(
            f"{printable(file)} gives {printable(value)!r} for {key}, which it cannot be: pull it again"
        )
    return value
