"""`hourbank export amplify`: the program as a custom resource of an Amplify Gen 1 backend.

One folder serves every environment. What differs between them is a parameter: `parameters.json` has the value for all,
and `team-provider-info.json` that of one, in `<env>.categories.custom.stepfunctions`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.models import MODELS
from hourbank.errors import HourBankError
from hourbank.export import beside, parameterised
from hourbank.export.parameterised import ARCHIVE, STREAM_ARN, TABLE_NAMES
from hourbank.files import (
    HOOK_HEADER,
    MOVE_IT,
    UNREADABLE,
    is_ours,
    refuse_foreign,
    refuse_foreign_archive,
    why_unreadable,
    write,
)

CONFIG = "backend-config.json"
RESOURCE = "stepfunctions"
TEMPLATE = f"{RESOURCE}-cloudformation-template.json"
API_ID = "GraphQLAPIIdOutput"
BUCKET = "DeploymentBucketName"
BOUNDARY = "PermissionsBoundaryArn"
LEFT_OUT = parameterised.LEFT_OUT | {
    "permissionsBoundaryArn": "amplify push puts the environment's own boundary on every role that has none"
}
HOOK = Path(__file__).with_name("pre-push.js")
# The hook's name beside a project's own.
UPLOAD = "hourbank-upload.js"


@dataclass(frozen=True)
class Backend:
    """An `amplify/backend` folder, and the name of its GraphQL API."""

    path: Path
    config: dict[str, Any]
    api: str

    @property
    def folder(self) -> Path:
        """Where the custom resource is."""
        return self.path / "custom" / RESOURCE

    @property
    def parameters(self) -> Path:
        """What gives the template's parameters values, of which people may change any."""
        return self.folder / "parameters.json"

    @property
    def own_hooks(self) -> list[Path]:
        """The project's own `pre-push` hooks, in whatever language: Amplify takes one."""
        named = sorted((self.path.parent / "hooks").glob(f"{HOOK.stem}.*"))
        # a sample of Amplify's is pre-push.js.sample
        return [one for one in named if one.stem == HOOK.stem and one.is_file() and not is_ours(one, HOOK_HEADER)]

    @property
    def hook(self) -> Path:
        """Where ours is."""
        return self.path.parent / "hooks" / (UPLOAD if self.own_hooks else HOOK.name)

    @property
    def entry(self) -> dict[str, Any]:
        """What `backend-config.json` has to say of the custom resource."""
        return {
            "service": "customCloudformation",
            "providerPlugin": "awscloudformation",
            "dependsOn": [{"category": "api", "resourceName": self.api, "attributes": [API_ID]}],
        }

    @property
    def registered(self) -> bool:
        """Whether it says so already."""
        return self.config.get("custom", {}).get(RESOURCE) == self.entry


def find(path: Path, api: str | None) -> Backend:
    """Look at a folder.

    Raises
    ------
    HourBankError
        It is not one of Amplify Gen 1, or it is not clear which API is meant.
    """
    file = path / CONFIG
    if not file.is_file():
        # who is in the project's folder means the one below
        nearer = [path / "amplify" / "backend", path / "backend"]
        hint = next((f": did you mean {one}?" for one in nearer if (one / CONFIG).is_file()), "")
        if (path / "backend.ts").is_file():
            hint = ", but Gen 2's backend.ts: use `hourbank export amplify-gen2`"
        raise HourBankError(f"{path} is not the amplify/backend folder of Amplify Gen 1: no {file.name}" + hint)
    config = read(file)
    part(config, "custom", file)
    declared = part(config, "api", file)
    apis = [name for name in declared if part(declared, name, file).get("service") == "AppSync"]
    if not apis:
        raise HourBankError(f"{file} has no GraphQL API: add one with `amplify add api`")
    if api is None and len(apis) > 1:
        raise HourBankError(f"{file} has the GraphQL APIs {', '.join(apis)}: say which with --api")
    if api is not None and api not in apis:
        raise HourBankError(f"{file} has no GraphQL API {api!r}: it has {', '.join(apis)}")
    name = api or apis[0]
    if not re.fullmatch("[A-Za-z0-9]+", name):
        raise HourBankError(f"{file} has the GraphQL API {name!r}: Amplify's names have letters and digits alone")
    return Backend(path, config, name)


def read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except UNREADABLE as error:
        raise HourBankError(f"{file} cannot be read ({why_unreadable(error)}): correct it") from error
    if not isinstance(content, dict):
        raise HourBankError(f"{file} is not an object")
    return content


def part(content: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    """Return an object of a file's, an empty one where it is not there."""
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise HourBankError(f"{file}: {name} is not an object")
    return value


def template(api: str, *, key: str, retain: bool = False) -> dict[str, Any]:
    """Return the template of the custom resource.

    Parameters
    ----------
    api
        The GraphQL API's name in the backend.
    key
        Where in the deployment bucket the functions' archive will be.
    retain
        Keep every resource when it leaves the template.
    """
    api_id = f"api{api}{API_ID}"
    amplifys = (parameterised.ENVIRONMENT, BOUNDARY)
    ours = {name: declared for name, declared in parameterised.PARAMETERS.items() if name not in amplifys}
    parameters: dict[str, dict[str, Any]] = {
        "env": {"Type": "String", "Description": "Amplify's environment: a part of every name"},
        api_id: {"Type": "String", "Description": "Id of the GraphQL API whose tables these are"},
        BUCKET: {"Type": "String", "Description": "The environment's deployment bucket, which has the functions' code"},
    }
    forms, conditions = {}, {}
    imported = {name: MODELS[table].export for table, name in TABLE_NAMES.items()}
    imported[STREAM_ARN] = "ServiceRequestTable:StreamArn"
    for name, declared in ours.items():
        parameters[name] = dict(declared)
        if name in imported:
            # the API's own stacks export it; a table of another kind is named in full
            parameters[name] |= {"Default": "", "AllowedPattern": f"|{declared['AllowedPattern']}"}
            conditions[f"Has{name}"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}
            export = {"Fn::ImportValue": {"Fn::Sub": f"${{{api_id}}}:GetAtt:{imported[name]}"}}
            forms[name] = {"Fn::If": [f"Has{name}", {"Ref": name}, export]}
    return parameterised.template(
        parameterised.record("amplify", environment="${env}", permissions_boundary=False),
        code={"S3Bucket": {"Ref": BUCKET}, "S3Key": key},
        parameters=parameters,
        forms=forms,
        conditions=conditions,
        left_out=LEFT_OUT,
        retain=retain,
    )


def told_tables(backend: Backend) -> set[str]:
    """The keys of the models whose tables' names are parameters: of all environments, or of one."""
    files = {backend.parameters: read(backend.parameters)} if backend.parameters.is_file() else {}
    teams = backend.path.parent / "team-provider-info.json"
    given = [*files.values(), *environments(read(teams) if teams.is_file() else {})]
    return {key for key, name in TABLE_NAMES.items() if any(one.get(name) for one in given)}


def environments(teams: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What `team-provider-info.json` gives the custom resource, by environment."""
    for given in teams.values():
        if ours := beside.at(given, "categories", "custom", RESOURCE):
            yield ours


def look(backend: Backend, *, allow_conflict_resolution: bool) -> list[str]:
    """Look at the API's schema and at how it resolves conflicts, before anything is written.

    Returns
    -------
    What is lacking and does not stop the workflows, each in a line.

    Raises
    ------
    HourBankError
        The workflows cannot work with these models.
    """
    api = backend.path / "api" / backend.api
    return beside.look_at_gen1(api, told_tables(backend), allow_conflict_resolution=allow_conflict_resolution)


def write_into(backend: Backend, *, start_requests_from: str | None, retain: bool) -> dict[str, Any]:
    """Write template, parameters, archive and hook, and return the template.

    Raises
    ------
    HourBankError
        Something there is somebody's, or a parameter without a value.
    """
    digest, archive = parameterised.archive()
    made = template(backend.api, key=f"hourbank/{digest}.zip", retain=retain)
    content = with_defaults(backend.parameters, made["Parameters"], start_requests_from)
    hook = backend.hook
    headers = {backend.folder / TEMPLATE: made["Description"], hook: HOOK_HEADER}
    for file, header in headers.items():
        if file.parent.exists():
            refuse_foreign(file, header, MOVE_IT)
    refuse_foreign_archive(backend.folder / ARCHIVE)
    for file in headers:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HourBankError(f"{file.parent} cannot be made: {error.strerror}") from error
    write(backend.folder / TEMPLATE, to_json(made))
    write(backend.parameters, to_json(content))
    write(backend.folder / ARCHIVE, archive)
    write(hook, HOOK.read_bytes())
    before = hook.with_name(HOOK.name if hook.name == UPLOAD else UPLOAD)
    if before.is_file() and is_ours(before, HOOK_HEADER):
        # two hooks stop a push
        before.unlink()
    return made


def with_defaults(
    file: Path, declared: Mapping[str, Mapping[str, Any]], start_requests_from: str | None
) -> dict[str, Any]:
    """Return a backend's own parameters, and those that it needs besides.

    Raises
    ------
    HourBankError
        One has no value, or one that cannot work, or is not the template's.
    """
    parameters = read(file) if file.exists() else {}
    for name, value in parameters.items():
        if name not in declared:
            raise HourBankError(f"{file} has {name}, which is no parameter of the template: remove it")
        if not isinstance(value, dict):
            if not parameterised.is_legal(declared[name], value):
                rule = declared[name].get("ConstraintDescription", "a text")
                raise HourBankError(f"{file}: {name} is {json.dumps(value)}: give {rule}")
        # it becomes a parameter in the root stack, and the tables are in stacks below that of the API
        elif str(value.get("Ref", "")).endswith("Table"):
            raise HourBankError(
                f"{file} gives {name} a Ref to {value['Ref']}, which the root stack does not have: remove that line, "
                "the template imports the table's name"
            )
    start = declared["StartRequestsFrom"]
    if start_requests_from is None and "StartRequestsFrom" not in parameters:
        rule = start["ConstraintDescription"]
        raise HourBankError(f"--start-requests-from is missing: give {rule}; older requests are left alone")
    if start_requests_from is not None and not parameterised.is_legal(start, start_requests_from):
        raise HourBankError(f"--start-requests-from is {start_requests_from!r}: give {start['ConstraintDescription']}")
    # a later time would leave requests alone that were created between the two
    return {
        **parameters,
        BUCKET: {"Ref": BUCKET},
        "StartRequestsFrom": parameters.get("StartRequestsFrom", start_requests_from),
    }


def register(backend: Backend) -> None:
    """Put the custom resource into `backend-config.json`."""
    config = {**backend.config, "custom": {**backend.config.get("custom", {}), RESOURCE: backend.entry}}
    write(backend.path / CONFIG, to_json(config))


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return JSON as Amplify writes it."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
