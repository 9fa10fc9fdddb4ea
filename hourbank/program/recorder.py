"""Runs the real ``__main__.py`` without a cloud and keeps what it declares.

References come back as CloudFormation's placeholders: the name or id of a resource is ``${LogicalId}``, its ARN
``${LogicalId.Arn}``. So one recording serves the tests, which read it, and the template, which is made of it.
"""

import asyncio
import contextlib
import contextvars
import gc
import hashlib
import json
import logging
import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pulumi
from pulumi.runtime import set_all_config, set_mocks
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.settings import get_root_resource
from pulumi.runtime.stack import run_pulumi_func

from components.models import MODELS, key_of
from hourbank.names import PROJECT, ROOT
from hourbank.program.configuration import stack_config, told_tables
from hourbank.program.resource_types import FUNCTION, known

if TYPE_CHECKING:
    from components.settings import Settings


# what it is where Pulumi's state is in nobody's account, but in a file or a bucket
ORGANIZATION = "organization"
STACKS = ("dev", "staging", "prod", "local")

# What the program cannot do without, where no stack of anybody's is meant.
EXAMPLE = {
    "hourbank:amplifyApiId": "abcdefghijklmnopqrstuvwxyz",
    "hourbank:amplifyEnv": "NONE",
    "hourbank:startRequestsFrom": "2026-01-01T00:00:00Z",
}

GET_TABLE = "aws:dynamodb/getTable:getTable"
GET_EXPORT = "aws:cloudformation/getExport:getExport"
GET_ROLE = "aws:iam/getRole:getRole"

Invoke = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One declared resource."""

    type: str
    """Pulumi's type, such as ``aws:lambda/function:Function``."""
    name: str
    """Its name in the program."""
    logical_id: str
    """Its name in the template: letters and digits."""
    inputs: dict[str, Any]
    """What was declared: plain values, references as placeholders, whole numbers as int, ``code`` as an archive."""
    dependencies: tuple[str, ...] = ()
    """Logical ids of what has to be there before."""
    protect: bool = False
    """Whether ``pulumi destroy`` refuses to delete it."""
    version_id: str | None = None
    """Of a published function: the logical id of its version, which changes with its code or configuration."""
    parent: str | None = None
    """The URN of the component that it is a part of."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """What groups resources in the program, and in Pulumi's state; nothing on AWS."""

    type: str
    name: str
    parent: str | None
    """The URN of the component that it is a part of; none for the program's own."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What the program declares for one stack."""

    stack: str
    resources: tuple[Resource, ...]
    """In the order of their logical ids."""
    outputs: dict[str, Any]
    """The stack's outputs, references as placeholders."""
    components: Mapping[str, Component]
    """By URN, a component's own before its parts'."""

    def of_type(self, type_: str) -> list[Resource]:
        """Resources of a Pulumi type, or of its last part such as ``StateMachine``."""
        return [resource for resource in self.resources if type_ in (resource.type, resource.type.split(":")[-1])]

    def named(self, name: str) -> Resource:
        """The resource of this name in the program.

        Raises
        ------
        KeyError
            There is none.
        """
        for resource in self.resources:
            if resource.name == name:
                return resource
        raise KeyError(name)

    @property
    def code(self) -> dict[str, Path]:
        """The files of the functions' archive, by their path inside."""
        return archive_files(self.of_type(FUNCTION)[0].inputs["code"])


def record(
    stack: str,
    *,
    config: Mapping[str, str] | None = None,
    invokes: Mapping[str, Invoke] | None = None,
    settings: "Callable[[Settings], Settings] | None" = None,
    tree: Path = ROOT,
) -> Recording:
    """Evaluate the program for a stack.

    Parameters
    ----------
    stack
        The stack's name; ``Pulumi.<stack>.yaml`` is read if it is there. Values that only Pulumi can open are
        placeholders.
    config
        Values that replace or extend the file's, by full key such as ``hourbank:logRetentionDays``.
    invokes
        Answers of look-ups by token, such as ``aws:dynamodb/getTable:getTable``: given the arguments, the result; what
        it raises the program sees as the provider's error. Without one, the tables are as the program wants them.
    settings
        Changes what the program has read and checked of its configuration: an export puts a template's parameters, as
        placeholders, in place of values.
    tree
        The project's folder, which may be another version's.

    Raises
    ------
    pulumi.RunError
        The program refused the configuration or a table, in one line.
    """
    # Everything that Pulumi keeps between calls is in context variables: an empty context starts and leaves no trace.
    # Nothing that an evaluation makes is garbage before it ends, and looking for garbage is a third of its time.
    gc.disable()
    try:
        with changed_settings(settings):
            return contextvars.Context().run(evaluate, stack, config or {}, invokes or {}, tree)
    finally:
        keep_imports()
        gc.enable()


@contextlib.contextmanager
def changed_settings(change: "Callable[[Settings], Settings] | None") -> Iterator[None]:
    """Put a change between the program and its configuration, from here: the program itself has no door for it."""
    if change is None:
        yield
        return
    from components import settings

    load = settings.load
    settings.load = lambda: change(load())
    try:
        yield
    finally:
        settings.load = load


@cache
def keep_imports() -> None:
    """Spare every later collection, the last at exit too, what pulumi_aws made when it was imported: most there is."""
    gc.freeze()


def evaluate(stack: str, config: Mapping[str, str], invokes: Mapping[str, Invoke], tree: Path) -> Recording:
    values = {**stack_config(stack, tree), **config}
    recorder = Recorder(values, invokes)
    monitor = Monitor(recorder)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # before set_mocks, which on Python 3.13 does not make one
    # One thread answers one call after the other: the mocks share what they keep.
    registrar = ThreadPoolExecutor(max_workers=1)
    loop.set_default_executor(registrar)
    try:
        set_all_config(values)
        # A failed program's error is raised here; the SDK's own log would print it a second time.
        set_mocks(
            recorder,
            project=PROJECT,
            stack=stack,
            preview=False,
            logger=quiet_logger(),
            monitor=monitor,
            organization=ORGANIZATION,
        )
        outputs = loop.run_until_complete(run_program(tree))
    finally:
        registrar.submit(close_own_loop).result()
        registrar.shutdown()
        asyncio.set_event_loop(None)
        loop.close()
    # The SDK registers what waits for nothing in any order.
    resources = sorted(recorder.resources.values(), key=lambda resource: resource.logical_id)
    return Recording(
        stack=stack, resources=tuple(resources), outputs=plain(outputs), components=dict(monitor.components)
    )


async def run_program(tree: Path) -> dict[str, Any]:
    async def program() -> None:
        runpy.run_path(str(tree / "__main__.py"))

    await run_pulumi_func(program)
    stack: Any = get_root_resource()
    outputs = await pulumi.Output.from_input(stack.outputs).future()
    return outputs or {}


def close_own_loop() -> None:
    # the SDK's mocks make a loop for the thread that they answer in, and leave it open
    with contextlib.suppress(RuntimeError):
        asyncio.get_event_loop().close()


def quiet_logger() -> logging.Logger:
    logger = logging.getLogger("hourbank.program.recorder")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


class Recorder(Mocks):
    """Answers look-ups, and turns what a resource declares into what others can refer to."""

    def __init__(self, config: Mapping[str, str], invokes: Mapping[str, Invoke]) -> None:
        self.invokes: dict[str, Invoke] = {
            "aws:index/getCallerIdentity:getCallerIdentity": lambda _: {"accountId": "${AWS::AccountId}"},
            "aws:index/getRegion:getRegion": lambda _: {"region": "${AWS::Region}"},
            "aws:index/getPartition:getPartition": lambda _: {"partition": "${AWS::Partition}"},
            GET_TABLE: lambda args: table_that_serves(args["name"], told_tables(config)),
            GET_EXPORT: lambda args: nothing_exports(args["name"]),
            GET_ROLE: lambda args: nobody_has(args["name"]),
            **invokes,
        }
        self.resources: dict[str, Resource] = {}

    def call(self, args: MockCallArgs) -> tuple[dict, list[tuple[str, str]] | None]:
        answer = self.invokes.get(args.token)
        if answer is None:
            raise LookupError(f"the program asks for {args.token}: give record() an answer in invokes")
        try:
            return answer(plain(args.args)), []
        except Exception as error:
            raise ProviderError(str(error)) from error

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict]:
        if not args.custom:
            return None, args.inputs
        logical_id = to_logical_id(args.name)
        if logical_id in self.resources:
            raise ValueError(f"two resources are {logical_id} in the template: rename {args.name}")
        resource = Resource(
            type=args.typ,
            name=args.name,
            logical_id=logical_id,
            inputs=plain(args.inputs),
            version_id=to_version_id(args.typ, logical_id, args.inputs),
        )
        self.resources[logical_id] = resource
        references = {name: form % logical_id for name, form in known(args.typ).references.items()}
        if resource.version_id:
            references["qualifiedArn"] = f"${{{resource.version_id}}}"
        # Nothing else: what nobody refers to, the archive above all, need not be carried back.
        return f"${{{logical_id}}}", references


class ProviderError(grpc.RpcError):
    """A look-up failed: the form in which the engine tells the SDK, which a program may catch."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return str(self)


class Monitor(MockMonitor):
    """Adds what a registration says beside the inputs: ``depends_on`` and ``protect`` do not reach Mocks."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.recorder = recorder
        self.logical_ids: dict[str, str] = {}
        self.components: dict[str, Component] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 the name of the engine's call
        response = super().RegisterResource(request)
        parent = request.parent if request.parent in self.components else None
        if not request.custom and request.type != "pulumi:pulumi:Stack":
            self.components[response.urn] = Component(type=request.type, name=request.name, parent=parent)
        if request.custom:
            logical_id = self.logical_ids[response.urn] = to_logical_id(request.name)
            self.recorder.resources[logical_id] = replace(
                self.recorder.resources[logical_id],
                dependencies=tuple(
                    sorted(self.logical_ids[urn] for urn in request.dependencies if urn in self.logical_ids)
                ),
                protect=request.protect,
                parent=parent,
            )
        return response


def table_that_serves(name: str, told: Mapping[str, str]) -> dict[str, Any]:
    """What the look-up of a good table gives; names that were told say which model it is of, else Amplify's rule."""
    model = key_of(name, told)
    key = MODELS[model].hash_key if model else "id"
    arn = f"arn:${{AWS::Partition}}:dynamodb:${{AWS::Region}}:${{AWS::AccountId}}:table/{name}"
    return {
        "name": name,
        "arn": arn,
        "hashKey": key,
        "attributes": [{"name": key, "type": "S"}],
        # a stream's ARN ends in the time it was turned on, which only the real table knows
        "streamArn": f"{arn}/stream/2026-01-01T00:00:00.000",
        "streamEnabled": True,
        "streamViewType": "NEW_AND_OLD_IMAGES",
    }


def nobody_has(name: str) -> dict[str, Any]:
    raise LookupError(f"reading IAM Role ({name}): couldn't find resource")


def nothing_exports(name: str) -> dict[str, Any]:
    raise LookupError(f"{name} was not found in CloudFormation Exports for region")


def to_logical_id(name: str) -> str:
    """``createEscrow-role`` is ``CreateEscrowRole`` in a template."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def to_version_id(type_: str, logical_id: str, inputs: Mapping[str, Any]) -> str | None:
    """The logical id of a published function's version: another one when its code or configuration is another."""
    if type_ != FUNCTION or not inputs.get("publish"):
        return None
    configuration = {key: value for key, value in inputs.items() if key not in ("code", "tags", "publish")}
    digest = hashlib.sha256(json.dumps(plain(configuration), sort_keys=True).encode())
    digest.update(files_hash(tuple(archive_files(inputs["code"]).items())).encode())
    return f"{logical_id}Version{digest.hexdigest()[:16]}"


def archive_files(archive: pulumi.AssetArchive) -> dict[str, Path]:
    assets: Mapping[str, Any] = archive.assets
    return {name: Path(assets[name].path) for name in sorted(assets)}


@cache
def files_hash(files: tuple[tuple[str, Path], ...]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """Whole numbers as int: every number arrives as a float."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
