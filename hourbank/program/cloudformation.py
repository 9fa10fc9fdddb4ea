"""The CloudFormation template of a recording, and the archive that it names."""

import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.archive import handler_files
from hourbank.program.recorder import Recording, Resource
from hourbank.program.resource_types import FUNCTION, RESOURCE_TYPES, RULE, TARGET

PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9:]+)(?:\.([A-Za-z]+))?\}")
PSEUDO_PARAMETERS = ("AWS::AccountId", "AWS::NoValue", "AWS::Partition", "AWS::Region", "AWS::StackName")

# The earliest time a zip can hold, so that the archive does not depend on when it was made.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def template(recording: Recording, *, bucket: str, key: str) -> dict[str, Any]:
    """The template of everything that was recorded; it is too large for ``TemplateBody``, so it goes to S3 as well.

    Parameters
    ----------
    recording
        What the program declares.
    bucket, key
        Where in S3 the archive of ``archive_bytes`` is.

    Raises
    ------
    ValueError
        A type, an input or a reference has no form in CloudFormation; the message names it.
    """
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"HourBank's workflows, stack {recording.stack}",
        **assemble(recording, code={"S3Bucket": bucket, "S3Key": key}),
    }


def assemble(
    recording: Recording, *, code: str | Mapping[str, Any], placeholders: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """The template's ``Resources`` and ``Outputs``.

    Parameters
    ----------
    code
        Every function's ``Code``.
    placeholders
        Names of parameters that the recording refers to.

    Raises
    ------
    ValueError
        As ``template`` does.
    """
    declared = with_targets(recording.resources)
    resources = {resource.logical_id: to_cloudformation(resource, code) for resource in declared}
    outputs = {name: {"Value": output(value)} for name, value in recording.outputs.items()}
    # what calls a function by its name alone needs none
    called = {*references(list(resources.values())), *references(outputs)}
    resources |= {one.version_id: version(one) for one in declared if one.version_id and one.version_id in called}
    check_references(resources, outputs, placeholders)
    for resource in declared:
        if depends_on := not_implied(resource, resources):
            resources[resource.logical_id]["DependsOn"] = depends_on
    return {"Resources": resources, "Outputs": outputs}


def with_targets(resources: Sequence[Resource]) -> list[Resource]:
    """The resources as CloudFormation divides them: a rule's targets are a part of it."""
    targets = [resource for resource in resources if resource.type == TARGET]

    def merged(rule: Resource) -> Resource:
        own = [target for target in targets if target.inputs["rule"] == f"${{{rule.logical_id}}}"]
        if not own:
            return rule
        before = {*rule.dependencies, *(name for target in own for name in target.dependencies)} - {rule.logical_id}
        return replace(
            rule,
            inputs={**rule.inputs, "targets": [converted(target) for target in own]},
            dependencies=tuple(sorted(before)),
        )

    return [
        merged(resource) if resource.type == RULE else resource for resource in resources if resource not in targets
    ]


def to_cloudformation(resource: Resource, code: str | Mapping[str, Any]) -> dict[str, Any]:
    if resource.type not in RESOURCE_TYPES:
        raise ValueError(f"{resource.name}: {resource.type} has no form in the template")
    properties: dict[str, Any] = (
        {"Code": code if isinstance(code, str) else dict(code)} if resource.type == FUNCTION else {}
    )
    properties |= substitute(converted(resource))
    # What Pulumi protects, CloudFormation keeps.
    return {
        "Type": RESOURCE_TYPES[resource.type].template,
        **(retained() if resource.protect else {}),
        "Properties": properties,
    }


def converted(resource: Resource) -> dict[str, Any]:
    """The inputs by CloudFormation's names and in its shapes, references still as placeholders."""
    forms = RESOURCE_TYPES[resource.type].properties
    if unknown := sorted(set(resource.inputs) - set(forms)):
        raise ValueError(f"{resource.name}: {unknown[0]} of {resource.type} has no form in the template")
    properties = {}
    for name, form in forms.items():
        if name in resource.inputs and form:
            key, convert = (form, None) if isinstance(form, str) else form
            value = resource.inputs[name]
            properties[key] = convert(value) if convert else value
    return properties


def version(function: Resource) -> dict[str, Any]:
    """An old version stays when the next one takes its place: executions that wait still call it."""
    return {
        "Type": "AWS::Lambda::Version",
        **retained(),
        "Properties": {"FunctionName": {"Ref": function.logical_id}},
    }


def retained() -> dict[str, str]:
    return {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}


def substitute(value: Any) -> Any:
    """Placeholders as ``Ref``, ``Fn::GetAtt`` or ``Fn::Sub``."""
    if isinstance(value, dict):
        return {key: substitute(item) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    if whole := PLACEHOLDER.fullmatch(value):
        logical_id, attribute = whole.groups()
        return {"Fn::GetAtt": [logical_id, attribute]} if attribute else {"Ref": logical_id}
    return {"Fn::Sub": value}


def output(value: Any) -> Any:
    """An output is a string: anything else becomes JSON."""
    return substitute(value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def references(value: Any) -> Iterator[str]:
    """The logical ids, and pseudo parameters, that a part of a template refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if "Ref" in value:
            yield value["Ref"]
        elif "Fn::GetAtt" in value:
            yield value["Fn::GetAtt"][0]
        elif "Fn::Sub" in value:
            yield from (match[1] for match in PLACEHOLDER.finditer(value["Fn::Sub"]))
            unreadable = PLACEHOLDER.sub("", value["Fn::Sub"])
            if "${" in unreadable:
                yield unreadable[unreadable.index("${") :][:60]
        else:
            for item in value.values():
                yield from references(item)


def check_references(resources: Mapping[str, Any], outputs: Mapping[str, Any], placeholders: Collection[str]) -> None:
    known = {*resources, *PSEUDO_PARAMETERS, *placeholders}
    for logical_id, part in [*resources.items(), *outputs.items()]:
        if unknown := sorted(set(references(part)) - known):
            raise ValueError(f"{logical_id} refers to {unknown[0]}, which is not in the template")


def not_implied(resource: Resource, resources: Mapping[str, Any]) -> list[str]:
    """The dependencies that do not follow from what the resource, or one that it refers to, refers to."""
    reached: set[str] = set()
    ahead = set(references(resources[resource.logical_id]["Properties"]))
    while ahead:
        reached |= ahead
        parts = [resources[logical_id] for logical_id in ahead if logical_id in resources]
        ahead = {name for part in parts for name in (*references(part["Properties"]), *part.get("DependsOn", ()))}
        ahead -= reached
    return [logical_id for logical_id in resource.dependencies if logical_id not in reached]


def archive_bytes(extra_files: Mapping[str, bytes] | None = None) -> bytes:
    """The functions' archive as a zip: the same bytes from the same files.

    Parameters
    ----------
    extra_files
        Contents by path inside, added as executables: what an emulator needs to start a function.
    """
    contents = {name: (path.read_bytes(), 0o644) for name, path in handler_files().items()}
    contents |= {name: (content, 0o755) for name, content in (extra_files or {}).items()}
    return zipped(contents)


def zipped(contents: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A zip of files, given as content and mode by their path inside: the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, mode) in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.create_system = 3  # Unix, wherever it is made: the mode is read by its rules
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()
