"""What lies beside an export in an Amplify project: the models of its schema, and how its API resolves conflicts.

A push cannot look at tables, as `pulumi preview` does; these files lead to what they will be. What the workflows cannot
work with is refused, and what their clients would miss is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import graphql
from graphql.language import ast

from components.models import MODELS, Model
from hourbank.errors import HourBankError
from hourbank.fields import FIELDS, WRITTEN, of_grants, of_model, shown
from hourbank.files import UNREADABLE, why_unreadable

TRANSFORMER, INPUTS = "transform.conf.json", "cli-inputs.json"
WHERE = "docs/app/schema.md"
NOT_LOOKED_AT = f"so nobody looked whether the models are those of {WHERE}"
CONFLICTS = (
    "AppSync keeps versions of their records that the workflows do not update: turn it off (`amplify update api`), or, "
    "where nothing uses DataStore on these models, --allow-conflict-resolution"
)


def until_then(start_requests_from: object) -> Iterator[str]:
    """Say that nothing starts yet, where the time is still to come; it may also be a reference, such as a Ref."""
    if not isinstance(start_requests_from, str):
        return
    moment = datetime.fromisoformat(start_requests_from)
    if moment > datetime.now(UTC):
        yield f"StartRequestsFrom is {start_requests_from}, which is still to come: until then no request starts"


# ---- Gen 1


def look_at_gen1(api: Path, told: Collection[str], *, allow_conflict_resolution: bool) -> list[str]:
    """Look at the folder of an API.

    Parameters
    ----------
    api
        Such as `amplify/backend/api/timebank`.
    told
        The keys of the models whose tables are named in full, wherever they are.
    allow_conflict_resolution
        Take an API that resolves conflicts all the same.

    Returns
    -------
    What the schema lacks, each in a line; the workflows run without it.

    Raises
    ------
    HourBankError
        One line: a model is not there, or not one that the workflows can work with.
    """
    wanted = {key: model for key, model in MODELS.items() if key not in told}
    for name in (TRANSFORMER, INPUTS):
        if not allow_conflict_resolution and (how := conflict_resolution(api / name, wanted.values())):
            raise HourBankError(f"{api / name} has conflict resolution ({how}) on the workflows' models: {CONFLICTS}")
    alone = api / "schema.graphql"
    files = [alone] if alone.is_file() else sorted((api / "schema").rglob("*.graphql"))
    if not files:
        return [f"{api} has no schema.graphql, {NOT_LOOKED_AT}"]
    try:
        types, keys = types_of([node for file in files for node in parse(file)])
    except HourBankError as error:
        return [f"{error}, {NOT_LOOKED_AT}"]
    schema = files[0] if len(files) == 1 else api / "schema"
    for model in wanted.values():
        if model.name not in types:
            raise HourBankError(
                f"{schema} has no model {model.name}: add it ({WHERE}), or name its table in parameters.json"
            )
        if (key := keys.get(model.name)) is None:
            raise HourBankError(f"{schema}: {model.name} is no model: give it @model ({WHERE})")
        if key != [model.hash_key]:
            raise HourBankError(
                f"{schema}: the key of {model.name} is {' and '.join(key)}: the workflows need {model.hash_key} alone; "
                "check @primaryKey"
            )
    return list(remarks(schema, types, wanted.values()))


def parse(file: Path) -> tuple[ast.DefinitionNode, ...]:
    """What a file of a schema defines; nothing where it has comments at most.

    Raises
    ------
    HourBankError
        It cannot be read, and where.
    """
    try:
        # as utf-8-sig: an editor may have left a byte order mark
        text = file.read_text(encoding="utf-8-sig")
        if not re.sub(r"#[^\r\n]*|[\s,]", "", text):
            return ()
        return graphql.parse(text, no_location=True).definitions
    except graphql.GraphQLError as error:
        line = error.locations[0].line if error.locations else 1
        raise HourBankError(f"{file} cannot be read (line {line}: {error.message})") from None
    except UNREADABLE as error:
        raise HourBankError(f"{file} cannot be read ({why_unreadable(error)})") from None


def remarks(schema: Path, types: Mapping[str, Any], models: Collection[Model]) -> Iterator[str]:
    for model in models:
        for what, instead in of_model(model.name, types):
            yield f"{schema}: {model.name} {what}: {instead}"
    for what, instead in of_grants(types) if any(model.name == "TransactionLog" for model in models) else ():
        yield f"{schema}: TransactionLog {what}: {instead}"
    for name, type_ in types.items():
        for what, instead in shown(type_):
            yield f"{schema}: {name} {what}: {instead}"


def conflict_resolution(file: Path, models: Collection[Model]) -> str:
    """How the API resolves conflicts of one of these models; empty where it does not."""
    if not file.is_file():
        return ""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except UNREADABLE as error:
        raise HourBankError(f"{file} cannot be read ({why_unreadable(error)}): correct it") from None
    if file.name == TRANSFORMER:
        resolvers = at(content, "ResolverConfig")
        each = at(resolvers, "models")
        strategies = [at(resolvers, "project"), *(at(each, model.name) for model in models)]
        hows = [one.get("ConflictHandler") for one in strategies if one.get("ConflictDetection") != "NONE"]
    else:
        told = at(content, "serviceConfiguration", "conflictResolution")
        names = {model.name for model in models}
        several = told.get("perModelResolutionStrategy")
        each = [one for one in (several if isinstance(several, list) else []) if at(one).get("entityName") in names]
        strategies = [at(told, "defaultResolutionStrategy"), *(at(one, "resolutionStrategy") for one in each)]
        hows = [one.get("type") for one in strategies]
    return next((str(how) for how in hows if how and how != "NONE"), "")


def at(content: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def types_of(nodes: Iterable[ast.DefinitionNode]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The types of a schema as GraphQL's introspection has them, with what Amplify adds; and the keys of its models.

    A model that was renamed with @mapsTo is here by the name that its table has.
    """
    types: dict[str, Any] = {}
    keys: dict[str, list[str]] = {}
    for node in nodes:
        if isinstance(node, ast.EnumTypeDefinitionNode):
            types[node.name.value] = {"enumValues": [{"name": one.name.value} for one in node.values]}
        if not isinstance(node, ast.ObjectTypeDefinitionNode | ast.ObjectTypeExtensionNode):
            continue
        directives = [(one.name.value, arguments(one)) for one in node.directives]
        mapped = [one for what, given in directives if what == "mapsTo" and isinstance(one := given.get("name"), str)]
        name = (mapped or [node.name.value])[0]
        fields = types.setdefault(name, {"name": name, "fields": []})["fields"]
        fields += [{"name": field.name.value, "type": type_of(field.type)} for field in node.fields]
        for given in [given for what, given in directives if what == "model"]:
            keys[name] = key_of(node, directives)
            there, times = {field["name"] for field in fields}, at(given, "timestamps")
            own = {"id", *(name for name in WRITTEN if times.get(name, name) == name)}
            fields += [{"name": one, "type": {"kind": "SCALAR", "name": None}} for one in sorted(own - there)]
    return types, keys


def arguments(directive: ast.DirectiveNode) -> dict[str, Any]:
    return {one.name.value: graphql.value_from_ast_untyped(one.value) for one in directive.arguments}


def type_of(node: ast.TypeNode) -> dict[str, Any]:
    if isinstance(node, ast.NonNullTypeNode):
        return {"kind": "NON_NULL", "name": None, "ofType": type_of(node.type)}
    if isinstance(node, ast.ListTypeNode):
        return {"kind": "LIST", "name": None, "ofType": type_of(node.type)}
    return {"kind": "NAMED", "name": node.name.value if isinstance(node, ast.NamedTypeNode) else None}


def key_of(
    node: ast.ObjectTypeDefinitionNode | ast.ObjectTypeExtensionNode, directives: list[tuple[str, dict[str, Any]]]
) -> list[str]:
    """The fields of a model's key, of @primaryKey or, in the transformer's first version, of @key without a name."""
    for field in node.fields:
        for directive in field.directives:
            if directive.name.value == "primaryKey":
                return [field.name.value, *listed(arguments(directive).get("sortKeyFields"))]
    told = (listed(given.get("fields")) for what, given in directives if what == "key" and "name" not in given)
    return next(filter(None, told), ["id"])


def listed(value: Any) -> list[str]:
    """A list of GraphQL's, for which one of its values may stand."""
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one is not None]


# ---- Gen 2


def look_at_gen2(amplify: Path) -> list[str]:
    """Look at the TypeScript of a backend, as far as its models are written as Amplify's own pages write them.

    Returns
    -------
    What is lacking, each in a line: `addWorkflows` refuses a backend without one of the models.
    """
    files = [
        file
        for file in sorted(amplify.rglob("*.ts"))
        if not {"node_modules", ".amplify", "workflows"} & set(file.relative_to(amplify).parts[:-1]) and file.is_file()
    ]
    text = ""
    for file in files:
        try:
            text += file.read_text(encoding="utf-8-sig") + "\n"
        except UNREADABLE as error:
            return [f"{file} cannot be read ({why_unreadable(error)}), {NOT_LOOKED_AT}"]
    # to its end, where a comment has none: looking for one from each beginning again would take for ever
    code = re.sub(r"/\*.*?(\*/|\Z)|(?<!:)//[^\n]*", "", text, flags=re.DOTALL)
    found = {name: body for name in FIELDS if (body := model_in(code, name))}
    if not found and not re.search(r"\.model\s*\(", code):
        return [f"{amplify} has no a.model(...) in TypeScript, {NOT_LOOKED_AT}"]
    said = []
    for model in MODELS.values():
        body = found.get(model.name)
        if body is None:
            said.append(f"{amplify} has no model {model.name}, which addWorkflows refuses: add it ({WHERE})")
            continue
        ours = set(FIELDS[model.name]) - {"id", *WRITTEN}
        if lacking := sorted(name for name in ours if not re.search(rf"\b{name}\b\W", body)):
            said.append(f"{amplify}: {model.name} has no {', '.join(lacking)}: add what is missing ({WHERE})")
        identifier = re.search(r"\.identifier\s*\(\s*\[([^\]]*)\]", body)
        key = re.findall(r"\w+", identifier[1]) if identifier else ["id"]
        if key != [model.hash_key]:
            need = f"the workflows need {model.hash_key} alone; check .identifier"
            said.append(f"{amplify}: the key of {model.name} is {' and '.join(key)}: {need}")
        members = [{"name": name} for name in re.findall(r"\b(\w+)\s*:", body)]
        said += [f"{amplify}: {model.name} {what}: {instead}" for what, instead in shown({"fields": members})]
    return said


def model_in(code: str, name: str) -> str:
    """The expression that makes a model, `a.model({...}).authorization(...)` and so on; empty where there is none."""
    start = re.search(rf"(?<![\w.]){name}['\"]?\s*:\s*a\s*\.\s*model\s*\(", code)
    if not start:
        return ""
    depth, end = 1, start.end()
    while end < len(code):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(code[end], 0)
        if depth < 0 or (depth == 0 and code[end] == ","):
            break
        end += 1
    return code[start.end() : end]
