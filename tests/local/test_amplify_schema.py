"""The schemas for Amplify give every field to whom the contract gives it.

What is compared here is what the rules say; `make check` runs what Amplify's own transformer makes of them.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import graphql
import moto
import pytest
from graphql.language import ast as gql

from components.models import MODELS
from handlers.bank import requests
from hourbank.names import ROOT
from workflows import service_request

EXPECTED = json.loads((ROOT / "tools/amplify/authorisation.json").read_text(encoding="utf-8"))
GEN_1 = (ROOT / "amplify/schema.graphql").read_text(encoding="utf-8")
GEN_2 = (ROOT / "amplify/data-resource.ts").read_text(encoding="utf-8")
OWNER_FIELDS = {"requesterId": "requester", "providerId": "provider", "userId": "user"}
# what the schemas use of https://docs.amplify.aws/gen1/react/build-a-backend/graphqlapi/
AMPLIFY = """
directive @model(queries: Operations, mutations: Operations, subscriptions: Operations) on OBJECT
directive @primaryKey on FIELD_DEFINITION
directive @default(value: String!) on FIELD_DEFINITION
directive @index(name: String, queryField: String, projection: Projection) on FIELD_DEFINITION
input Projection { type: ProjectionType! }
enum ProjectionType { ALL KEYS_ONLY INCLUDE }
directive @auth(rules: [AuthRule!]!) on OBJECT | FIELD_DEFINITION
input Operations { get: String list: String create: String update: String delete: String }
input AuthRule { allow: AuthStrategy! ownerField: String identityClaim: String operations: [ModelOperation!] }
enum AuthStrategy { owner groups private public custom }
enum ModelOperation { create update delete read get list sync listen search }
type Query { nothing: ID }
"""

Rules = list[tuple[str, str, list[str]]]  # owner's field, identity claim, operations
Model = dict[str, tuple[str, Rules]]  # field: its type and rules


def gen_1() -> dict[str, Model]:
    graphql.build_schema(AMPLIFY + GEN_1)
    models: dict[str, Model] = {}
    for type_ in graphql.parse(GEN_1).definitions:
        if isinstance(type_, gql.ObjectTypeDefinitionNode):
            of_model = rules_of(type_)
            assert of_model is not None, f"{type_.name.value} would be open in an API with a global rule"
            models[type_.name.value] = {
                field.name.value: (graphql.print_ast(field.type), of_model if (own := rules_of(field)) is None else own)
                for field in type_.fields
            }
    return models


def rules_of(node: gql.ObjectTypeDefinitionNode | gql.FieldDefinitionNode) -> Rules | None:
    for directive in node.directives or ():
        if directive.name.value == "auth":
            rules = graphql.value_from_ast_untyped(directive.arguments[0].value)
            assert all(rule["allow"] == "owner" for rule in rules)
            return [(rule["ownerField"], rule["identityClaim"], rule["operations"]) for rule in rules]
    return None


def gen_2() -> dict[str, Model]:
    models: dict[str, Model] = {}
    for name, fields, after in re.findall(
        r"\n  (\w+): a\n    \.model\(\{\n(.*?)\n    \}\)(.*?),\n(?=\n|\}\);)", GEN_2, re.DOTALL
    ):
        of_model = ts_rules(after)
        declared = [text for text in re.split(r"\n(?=      \w+: a\.)", f"\n{fields}") if ": a." in text]
        models[name] = {}
        for text in declared:
            field, type_ = re.match(
                r"\s*(?://[^\n]*\s*)*(\w+): a\.(\w+\((?:'\w+')?\)(?:\.required\(\))?)", text
            ).groups()
            own = ts_rules(text) if ".authorization(" in text else of_model
            models[name][field] = (graphql_type(type_), own)
    return models


def graphql_type(type_: str) -> str:
    kind, ref, required = re.fullmatch(r"(\w+)\((?:'(\w+)')?\)(\.required\(\))?", type_).groups()
    name = ref or {"id": "ID", "float": "Float", "integer": "Int", "string": "String"}[kind]
    return f"{name}!" if required else name


def ts_rules(text: str) -> Rules:
    rules = re.findall(r"allow\.ownerDefinedIn\('(\w+)'\)\.identityClaim\('(\w+)'\)\.to\(\[(.*?)\]\)", text)
    assert len(rules) == len(re.findall(r"allow\.", text)), f"a rule of another form: {text}"
    return [(owner, claim, re.findall(r"'(\w+)'", operations)) for owner, claim, operations in rules]


SCHEMAS = {"schema.graphql": gen_1, "data-resource.ts": gen_2}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_field_belongs_to_whom_the_contract_gives_it(schema: Any) -> None:
    def who(rules: Rules, operation: str) -> list[str]:
        return [OWNER_FIELDS[owner] for owner, _, operations in rules if operation in operations]

    found = {
        model: {
            field: {"type": type_} | {operation: who(rules, operation) for operation in ("create", "read", "update")}
            for field, (type_, rules) in fields.items()
        }
        for model, fields in schema().items()
    }
    assert found == {model: expected["fields"] for model, expected in EXPECTED.items()}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_no_rule_takes_two_spellings_for_one_person_or_lets_anybody_delete(schema: Any) -> None:
    rules = [
        (model, field, rule) for model, fields in schema().items() for field, one in fields.items() for rule in one[1]
    ]
    assert rules
    for model, field, (owner, claim, operations) in rules:
        assert claim == "sub", f"{model}.{field}: Amplify's default would let one person be two"
        assert owner in OWNER_FIELDS, f"{model}.{field}"
        assert "delete" not in operations, f"{model}.{field}"


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_fields_with_rules_of_their_own_are_nullable(schema: Any) -> None:
    for model, fields in schema().items():
        of_model = next(iter(fields.values()))[1]
        for field, (type_, rules) in fields.items():
            assert rules == of_model or not type_.endswith("!"), f"{model}.{field}"


def test_clients_see_no_token_and_give_no_time_of_creation() -> None:
    for text in (GEN_1, GEN_2):
        code = "\n".join(line for line in text.splitlines() if not line.strip().startswith(("#", "//")))
        for name in ("taskToken", "taskTokenAttempt", "createdAt", "updatedAt"):
            assert name not in code


def test_the_readme_says_the_same() -> None:
    request = EXPECTED["ServiceRequest"]["fields"]
    rows = (ROOT / "README.md").read_text(encoding="utf-8").split("| who | writes | when |")[1].split("\n\n")[0]
    said = [re.sub(r"\(.*?\)", "", row.split("|")[2]) for row in rows.splitlines()[2:]]
    written = {
        0: {field for field, who in request.items() if who["create"] == ["requester"]} - {"id", "open"},
        1: {field for field, who in request.items() if who["update"] == ["provider"]},
        2: {field for field, who in request.items() if who["update"] == ["requester"]},
        3: {field for field, who in request.items() if not who["create"] + who["update"]}
        | {"Escrow", "UserBalance", "TransactionLog"},
    }
    for row, fields in written.items():
        assert fields <= set(re.findall(r"\w+", said[row])), f"row {row + 1} of README's table"
    assert written[0] == {*requests._COMPARED_WITH_INPUT}


def test_the_schemas_have_the_indexes_that_the_auditor_asks() -> None:
    declared: dict[str, set[tuple[str, str]]] = {}
    for type_ in graphql.parse(GEN_1).definitions:
        for field in getattr(type_, "fields", ()):
            given = {one.name.value: one for one in field.directives if one.name.value == "index"}
            for index in given.values():
                said = {one.name.value: graphql.value_from_ast_untyped(one.value) for one in index.arguments}
                assert said == {"name": said["name"], "queryField": None, "projection": {"type": "KEYS_ONLY"}}
                declared.setdefault(type_.name.value, set()).add((said["name"], field.name.value))
    assert declared == {
        model.name: {(model.index.name, model.index.attribute)} for model in MODELS.values() if model.index
    }
    in_gen_2 = re.findall(
        r"secondaryIndexes\(\(index\) => \[index\('(\w+)'\)\.name\('(\w+)'\)\.queryField\(null\)"
        r"\.projection\('KEYS_ONLY'\)\]\)",
        GEN_2,
    )
    assert in_gen_2 == [(model.index.attribute, model.index.name) for model in MODELS.values() if model.index]
    assert f'open: String\n    @default(value: "{requests.IS_OPEN}")' in GEN_1
    assert f"open: a.string().default('{requests.IS_OPEN}')" in GEN_2


def test_the_handlers_use_the_same_names() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "handlers").rglob("*.py")]
    names = {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for model, expected in EXPECTED.items():
        assert expected["fields"].keys() <= names, model
    made = {table: attributes for tree in trees for table, attributes in puts(tree)}
    assert made == {model: set(EXPECTED[model]["fields"]) for model in ("Escrow", "TransactionLog")}


def puts(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Each ``tables.put(table, {...})``: the table and the attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="put"), args=[ast.Constant(value=str(table)), ast.Dict(keys=keys), *_]
            ):
                yield table, {key.value for key in keys if isinstance(key, ast.Constant)}


def test_the_enums_are_what_the_workflows_know() -> None:
    enums: Mapping[str, set[str]] = {
        type_.name.value: {value.name.value for value in type_.values}
        for type_ in graphql.parse(GEN_1).definitions
        if isinstance(type_, gql.EnumTypeDefinitionNode)
    }
    in_gen_2 = {
        name: set(re.findall(r"'(\w+)'", values))
        for name, values in re.findall(r"(\w+): a\.enum\(\[(.*?)\]\)", GEN_2, re.DOTALL)
    }
    assert in_gen_2 == enums
    assert enums["ServiceRequestStatus"] == set(requests.TRANSITIONS)
    states = service_request.definition(functions={name: name for name in service_request.FUNCTIONS})["States"]
    for state, answers in (
        ("CheckProviderResponse", "ProviderResponse"),
        ("CheckRequesterResponse", "RequesterResponse"),
    ):
        decides = {choice["StringEquals"] for choice in states[state]["Choices"] if "StringEquals" in choice}
        # these two come later, and start the release workflow
        assert enums[answers] - {"WITHDRAWN", "COMPLETED"} <= decides | {"REJECTED", "CANCELLED"}, state


def test_hours_are_written_raw_as_documented_also_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs/app/first-hours.md").read_text(encoding="utf-8")
    (raw,) = (block for block in guide.split("```sh\n")[1:] if "dynamodb update-item" in block.split("```")[0])
    words = shlex.split(raw.split("```")[0].replace("\\\n", " "))
    assert words[:3] == ["aws", "dynamodb", "update-item"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        dynamodb = boto3.client("dynamodb", region_name="eu-west-1")
        dynamodb.create_table(
            TableName=given["--table-name"],
            KeySchema=[{"AttributeName": "userId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "userId", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for _ in range(2):
            dynamodb.update_item(
                TableName=given["--table-name"],
                Key=json.loads(given["--key"]),
                UpdateExpression=given["--update-expression"],
                ExpressionAttributeNames=json.loads(given["--expression-attribute-names"]),
                ExpressionAttributeValues=json.loads(given["--expression-attribute-values"]),
            )
        (balance,) = dynamodb.scan(TableName=given["--table-name"])["Items"]
    assert balance["availableBalance"] == {"N": "20"}
    assert {"__typename", "createdAt", "updatedAt", "userId"} < balance.keys()
