"""The stand-in for Amplify's API lets everybody do what authorisation.json says, and stores what Amplify stores.

`make check` runs the rules that Amplify's own transformer generates against the same file.
"""

import base64
import json
from decimal import Decimal
from typing import Any

import boto3
import graphql
import moto
import pytest

from components.models import MODELS
from hourbank.errors import HourBankError
from hourbank.local import people
from hourbank.local.page import amplify_schema
from hourbank.local.page.api import Api, token_for
from hourbank.local.page.appsync import MOST_TOKENS
from hourbank.names import ROOT

EXPECTED = json.loads((ROOT / "tools/amplify/authorisation.json").read_text(encoding="utf-8"))
SUBS = {"requester": "sub-of-requester", "provider": "sub-of-provider", "user": "sub-of-user"}
# the last one's username is the requester's sub, which Amplify's default claim would take for the requester
CALLERS = {
    **{name: {"sub": sub, "username": f"name of {name}"} for name, sub in SUBS.items()},
    "stranger": {"sub": "sub-of-stranger", "username": "name of stranger"},
    "named as requester": {"sub": "else", "username": SUBS["requester"]},
}
CELLS = [
    pytest.param(model, field, operation, who, id=f"{model}.{field} {operation} {who}")
    for model, expected in EXPECTED.items()
    for field in expected["fields"]
    for operation in ("create", "read", "update")
    for who in CALLERS
]


class World:
    """Tables, the API over them, and what a client does with it."""

    def __init__(self) -> None:
        self.dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        self.tables = {key: f"{model.name}-test" for key, model in MODELS.items()}
        for key, table in self.tables.items():
            hash_key = "userId" if key == "userBalance" else "id"
            self.dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": hash_key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": hash_key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        self.api = Api(self.dynamodb, self.tables)

    def clear(self) -> None:
        for key, table in self.tables.items():
            name = "userId" if key == "userBalance" else "id"
            for item in self.dynamodb.scan(TableName=table)["Items"]:
                self.dynamodb.delete_item(TableName=table, Key={name: item[name]})

    def store(self, model: str, record: dict[str, Any]) -> None:
        times = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z"}
        self.dynamodb.put_item(TableName=f"{model}-test", Item=people.item(times | {"__typename": model} | record))

    def stored(self, request_id: str) -> dict[str, Any]:
        answer = self.dynamodb.get_item(TableName=self.tables["serviceRequest"], Key={"id": {"S": request_id}})
        return answer.get("Item", {})

    def ask(self, claims: dict[str, Any] | str, query: str, **variables: Any) -> dict[str, Any]:
        token = token_of({"sub": claims} if isinstance(claims, str) else claims)
        body = json.dumps({"query": query, "variables": variables})
        status, answer = self.api.answer(body.encode(), token)
        assert status == 200, answer
        json.dumps(answer)
        return answer

    def create(self, claims: dict[str, Any] | str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
        return self.ask(claims, CREATE, input=given, **more)

    def update(self, claims: dict[str, Any] | str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
        return self.ask(claims, UPDATE, input=given, **more)


CREATE = """mutation Create($input: CreateServiceRequestInput!, $condition: ModelServiceRequestConditionInput) {
  done: createServiceRequest(input: $input, condition: $condition) { __typename id estimatedHours createdAt updatedAt }
}"""
UPDATE = """mutation Update($input: UpdateServiceRequestInput!, $condition: ModelServiceRequestConditionInput) {
  done: updateServiceRequest(input: $input, condition: $condition) { __typename id providerResponse updatedAt }
}"""
LIST = """query List($filter: ModelServiceRequestFilterInput, $limit: Int, $nextToken: String) {
  done: listServiceRequests(filter: $filter, limit: $limit, nextToken: $nextToken) { items { id } nextToken }
}"""


def token_of(claims: dict[str, Any]) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}."


@pytest.fixture(scope="module")
def one_world():
    with moto.mock_aws():
        yield World()


@pytest.fixture
def world(one_world):
    yield one_world
    one_world.clear()


ENUMS = {
    node.name.value: node.values[0].name.value
    for node in graphql.parse(amplify_schema.FILE.read_text(encoding="utf-8")).definitions
    if isinstance(node, graphql.EnumTypeDefinitionNode)
}


def value_of(type_: str) -> Any:
    """Return something that a field of the type takes."""
    name = type_.rstrip("!")
    return {"ID": "something", "String": "something", "Float": 2.5, "Int": 60}.get(name) or ENUMS[name]


def record_of(model: str) -> dict[str, Any]:
    """Return a record of the model with all its fields, of the requester and the provider, or of the user."""
    fields = EXPECTED[model]["fields"]
    values = {field: value_of(cell["type"]) for field, cell in fields.items()}
    return values | {field: SUBS[who] for who, field in EXPECTED[model]["people"].items()}


def given_at_least(model: str) -> dict[str, Any]:
    """Return what a creation must have, by the schema, so that only the field that is tried may be refused."""
    fields, record = EXPECTED[model]["fields"], record_of(model)
    return {field: record[field] for field, cell in fields.items() if cell["type"].endswith("!") and field != "id"}


def decimals(record: dict[str, Any]) -> dict[str, Any]:
    return {name: Decimal(str(one)) if isinstance(one, float) else one for name, one in record.items()}


@pytest.mark.parametrize(("model", "field", "operation", "who"), CELLS)
def test_every_cell_of_the_table_of_who_may_do_what(world, model, field, operation, who):
    # Given a record of the requester and the provider
    expected, record, caller = EXPECTED[model], record_of(model), CALLERS[who]
    allowed = who in expected["fields"][field][operation]
    key = next(iter(expected["fields"]))
    if operation != "create":
        world.store(model, decimals(record))
    # When somebody tries it / Then what the table says happens
    if operation == "read":
        assert read_by_get(world, caller, model, key, field) == (record[field] if allowed else None)
        assert read_by_list(world, caller, model, field) == ([record[field]] if allowed else [])
    elif operation not in expected["operations"]:
        assert f"{operation}{model}" not in world.api.schema.mutation_type.fields
        assert not allowed
    elif operation == "create":
        assert allowed is is_done(world.create(caller, given_at_least(model) | {field: record[field]}), field)
    elif field != key:
        before = world.stored(record[key])
        changed = {"ID": "other", "Float": 9.75, "Int": 90}.get(expected["fields"][field]["type"].rstrip("!"))
        given = changed or ("REJECTED" if field.endswith("Response") else record[field])
        assert allowed is is_done(world.update(caller, {key: record[key], field: given}), field)
        after = world.stored(record[key])
        assert {name for name in after if after[name] != before[name]} == ({field, "updatedAt"} if allowed else set())


def is_done(answer: dict[str, Any], field: str) -> bool:
    """Whether a mutation was done; if not, it was refused as AppSync refuses it, and for the field that was tried."""
    if answer["data"]["done"]:
        assert "errors" not in answer
        return True
    (error,) = answer["errors"]
    assert error["errorType"] == "Unauthorized"
    assert error["path"] == ["done"]
    words = error["message"]
    assert words == f"Unauthorized on [{field}]" or words.startswith("Not Authorized to access ")
    return False


def read_by_get(world: World, caller: dict[str, Any], model: str, key: str, field: str) -> Any:
    if f"get{model}" not in world.api.schema.query_type.fields:
        return None
    id_ = record_of(model)[key]
    answer = world.ask(caller, f"query Get($id: ID!) {{ done: get{model}({key}: $id) {{ {field} }} }}", id=id_)
    if answer["data"]["done"] is None:
        (error,) = answer["errors"]
        assert error["errorType"] == "Unauthorized"
        assert error["message"] == f"Not Authorized to access get{model} on type Query"
        return None
    assert "errors" not in answer
    return answer["data"]["done"][field]


def read_by_list(world: World, caller: dict[str, Any], model: str, field: str) -> list[Any]:
    if f"list{model}s" not in world.api.schema.query_type.fields:
        return []
    answer = world.ask(caller, f"{{ done: list{model}s {{ items {{ {field} }} }} }}")
    assert "errors" not in answer
    return [item[field] for item in answer["data"]["done"]["items"]]


@pytest.mark.parametrize("who", CALLERS)
def test_nobody_gives_null_to_a_field_or_changes_a_request_that_is_not_there(world, who):
    world.store("ServiceRequest", decimals(record_of("ServiceRequest")))
    before = world.stored("something")
    for field in before.keys() & EXPECTED["ServiceRequest"]["fields"].keys() - {"id"}:
        assert not is_done(world.update(CALLERS[who], {"id": "something", field: None}), field)
    assert world.stored("something") == before
    assert not is_done(world.update(CALLERS[who], {"id": "nowhere", "providerResponse": "ACCEPTED"}), "")
    assert world.stored("nowhere") == {}


def test_an_update_with_a_field_of_the_others_is_refused_as_a_whole(world):
    world.store("ServiceRequest", decimals(record_of("ServiceRequest")))
    before = world.stored("something")
    given = {"id": "something", "providerResponse": "REJECTED", "requesterResponse": "CANCELLED", "status": None}
    (error,) = world.update(CALLERS["provider"], given)["errors"]
    assert error["message"] == "Unauthorized on [requesterResponse, status]"
    assert world.stored("something") == before


def test_the_operations_are_those_of_the_table(world):
    schema = world.api.schema
    names = {"get": "get{}", "list": "list{}s", "create": "create{}", "update": "update{}"}
    expected = {
        names[operation].format(model)
        for model, cell in EXPECTED.items()
        for operation in cell["operations"]
        if operation in names
    }
    added = {"publishRequestEvent"}  # by docs/app/subscriptions.md
    assert schema.query_type.fields.keys() | schema.mutation_type.fields.keys() == expected | added


def test_what_is_stored_is_what_amplify_stores(world):
    # Given a request with hours that no binary number is, one null, and no id
    body = (
        f'{{"query": {json.dumps(CREATE)}, "variables": {{"input": {{"serviceId": "s", "requesterId": "ana",'
        ' "providerId": "chloé", "estimatedHours": 2.1, "providerResponseTimeoutSeconds": null}}}'
    )
    _, answer = world.api.answer(body.encode(), f"Bearer {token_for('ana')}")
    made = answer["data"]["done"]
    assert made["__typename"] == "ServiceRequest"
    assert made["estimatedHours"] == 2.1
    assert world.stored(made["id"]) == {
        "__typename": {"S": "ServiceRequest"},
        "id": {"S": made["id"]},
        "serviceId": {"S": "s"},
        "requesterId": {"S": "ana"},
        "providerId": {"S": "chloé"},
        "estimatedHours": {"N": "2.1"},
        "providerResponseTimeoutSeconds": {"NULL": True},
        "open": {"S": "OPEN"},
        "createdAt": {"S": made["createdAt"]},
        "updatedAt": {"S": made["createdAt"]},
    }
    assert made["createdAt"].endswith("Z")
    # and an update changes what it was given, and the time, and leaves the token alone
    world.dynamodb.update_item(
        TableName=world.tables["serviceRequest"],
        Key={"id": {"S": made["id"]}},
        UpdateExpression="SET taskToken = :t",
        ExpressionAttributeValues={":t": {"S": "secret"}},
    )
    before = world.stored(made["id"])
    given = {"id": made["id"], "providerResponse": "COUNTER_OFFER", "counterOfferHours": 0.1}
    changed = world.update("chloé", given)["data"]["done"]
    assert changed["providerResponse"] == "COUNTER_OFFER"
    assert world.stored(made["id"]) == before | {
        "providerResponse": {"S": "COUNTER_OFFER"},
        "counterOfferHours": {"N": "0.1"},
        "updatedAt": {"S": changed["updatedAt"]},
    }


@pytest.mark.parametrize(
    ("written", "stored"), [("2", "2"), ("2.5", "2.5"), ("0.1", "0.1"), ("1e1", "10"), ("-3", "-3")]
)
@pytest.mark.parametrize("way", ["literal", "variable"])
def test_hours_are_the_decimals_that_were_written(world, way, written, stored):
    fields = 'id: "x", serviceId: "s", requesterId: "ana", providerId: "ben"'
    if way == "literal":
        query = f"mutation {{ createServiceRequest(input: {{{fields}, estimatedHours: {written}}}) {{ id }} }}"
        body = json.dumps({"query": query})
    else:
        query = f"mutation C($h: Float!) {{ createServiceRequest(input: {{{fields}, estimatedHours: $h}}) {{ id }} }}"
        body = f'{{"query": {json.dumps(query)}, "variables": {{"h": {written}}}}}'
    _, answer = world.api.answer(body.encode(), token_for("ana"))
    assert "errors" not in answer
    assert Decimal(world.stored("x")["estimatedHours"]["N"]) == Decimal(stored)


@pytest.mark.parametrize("written", ["0.12345678901234567890123456789012345678901", "1e400", '"2"', "true", "[]"])
def test_hours_that_dynamodb_has_no_number_for_are_refused(world, written):
    body = f'{{"query": {json.dumps(CREATE)}, "variables": {{"input": {{"id": "x", "serviceId": "s",'
    body += f' "requesterId": "ana", "providerId": "ben", "estimatedHours": {written}}}}}}}'
    _, answer = world.api.answer(body.encode(), token_for("ana"))
    assert "Float cannot represent" in answer["errors"][0]["message"]
    assert world.stored("x") == {}


GIVEN = {"id": "r", "serviceId": "s", "requesterId": "ana", "providerId": "ben", "estimatedHours": 2}


def test_a_second_request_of_an_id_is_refused_in_dynamodbs_words(world):
    assert world.create("ana", GIVEN)["data"]["done"]
    before = world.stored("r")
    again = world.create("eve", GIVEN | {"requesterId": "eve"})
    assert again["data"] == {"done": None}
    (error,) = again["errors"]
    assert error["message"].startswith("The conditional request failed (")
    del error["message"], error["locations"]
    assert error == {
        "path": ["done"],
        "data": None,
        "errorType": "DynamoDB:ConditionalCheckFailedException",
        "errorInfo": None,
    }
    assert world.stored("r") == before


def test_a_condition_of_the_clients_counts_beside_amplifys(world):
    refused = world.create("ana", GIVEN, condition={"failureReason": {"attributeExists": True}})
    assert refused["errors"][0]["errorType"] == "DynamoDB:ConditionalCheckFailedException"
    assert world.create("ana", GIVEN, condition={"failureReason": {"attributeExists": False}})["data"]["done"]
    given = {"id": "r", "providerResponse": "ACCEPTED"}
    for condition, holds in (({"estimatedHours": {"gt": 2}}, False), ({"estimatedHours": {"ge": 2}}, True), ({}, True)):
        assert bool(world.update("ben", given, condition=condition)["data"]["done"]) is holds


FILTERS = {
    '{"status": {"eq": "PENDING"}}': "a",
    '{"status": {"ne": "PENDING"}}': "bc",
    '{"failureReason": {"attributeExists": false}}': "bc",
    '{"estimatedHours": {"lt": 2}}': "a",
    '{"estimatedHours": {"gt": 1.5, "lt": 3}}': "b",
    '{"estimatedHours": {"between": [1.5, 3]}}': "abc",
    '{"serviceId": {"beginsWith": "gar"}}': "ab",
    '{"serviceId": {"contains": "den"}}': "ab",
    '{"serviceId": {"notContains": "den"}}': "c",
    '{"serviceId": {"size": {"between": [7, 9]}}}': "bc",
    '{"failureReason": {"attributeType": "_null"}}': "a",
    '{"or": [{"id": {"eq": "a"}}, {"id": {"eq": "c"}}]}': "ac",
    '{"and": [{"serviceId": {"contains": "den"}}, {"id": {"ne": "a"}}]}': "b",
    '{"not": {"or": [{"id": {"eq": "a"}}, {"not": {"providerId": {"eq": "ben"}}}]}}': "bc",
    '{"id": {"ge": "b"}, "or": [{"status": {"eq": "PENDING"}}, {"estimatedHours": {"le": 2.0}}]}': "b",
    "{}": "abc",
    '{"or": []}': "abc",
    '{"id": {}, "and": [{}]}': "abc",
}


@pytest.mark.parametrize("filter_", FILTERS)
def test_filters_leave_what_dynamodb_leaves(world, filter_):
    for id_, service, hours, more in (
        ("a", "garden", "1.5", {"status": "PENDING", "failureReason": None}),
        ("b", "gardening", "2", {"status": "ESCROWED"}),
        ("c", "cooking", "3", {}),
    ):
        record = GIVEN | {"id": id_, "serviceId": service, "estimatedHours": Decimal(hours)}
        world.store("ServiceRequest", record | more)
    world.store("ServiceRequest", GIVEN | {"id": "d", "requesterId": "eve", "providerId": "eve"})
    answer = world.ask("ana", LIST, filter=json.loads(filter_))
    assert "errors" not in answer
    assert "".join(sorted(item["id"] for item in answer["data"]["done"]["items"])) == FILTERS[filter_]


@pytest.mark.parametrize(
    "filter_",
    [{"id": {"between": ["a"]}}, {"id": {"contains": None}}, {"id": {"size": {"between": [1]}}}, {"id": {"size": {}}}],
)
def test_a_filter_that_lacks_what_it_compares_with_is_refused(world, filter_):
    (error,) = world.ask("ana", LIST, filter=filter_)["errors"]
    assert error["errorType"] == "Unrecognized Filter"


def test_a_list_comes_in_pages_that_count_what_was_looked_at(world):
    for number in range(7):
        record = GIVEN | {"id": f"r{number}", "requesterId": "ana" if number % 2 else "eve", "providerId": "eve"}
        world.store("ServiceRequest", record)
    found, pages, token = [], 0, None
    while pages == 0 or token:
        page = world.ask("ana", LIST, limit=2, nextToken=token)["data"]["done"]
        assert len(page["items"]) <= 2
        found, pages, token = found + page["items"], pages + 1, page["nextToken"]
    assert sorted(item["id"] for item in found) == ["r1", "r3", "r5"]
    assert pages >= 4


@pytest.mark.parametrize("token", ["nonsense", "é", base64.urlsafe_b64encode(b"[1]").decode()])
def test_a_page_that_nobody_gave_is_refused(world, token):
    answer = world.ask("ana", LIST, nextToken=token)
    assert answer["data"] == {"done": None}
    assert answer["errors"][0]["errorType"] in ("BadRequestException", "DynamoDB:ValidationException")


def test_a_balance_is_decided_by_its_key_before_anything_is_read(world):
    world.store("UserBalance", {"userId": "ana", "availableBalance": Decimal("9.75")})
    world.store("UserBalance", {"userId": "ben", "availableBalance": Decimal(1)})
    query = """query Look($id: ID!) {
      one: getUserBalance(userId: $id) { availableBalance }
      some: listUserBalances(userId: $id) { items { userId } }
      all: listUserBalances { items { userId } }
    }"""
    own, mine = world.ask("ana", query, id="ana")["data"], {"items": [{"userId": "ana"}]}
    assert own == {"one": {"availableBalance": 9.75}, "some": mine, "all": mine}
    for other in ("ben", "nobody"):
        answer = world.ask("ana", query, id=other)
        assert answer["data"] == {"one": None, "some": None, "all": mine}
        assert [error["errorType"] for error in answer["errors"]] == ["Unauthorized", "Unauthorized"]
    sorted_ = world.ask("ana", "{ listUserBalances(sortDirection: ASC) { items { userId } } }")
    assert sorted_["errors"][0]["errorType"] == "InvalidArgumentsError"


def test_what_is_not_there_is_null_and_no_error(world):
    query = '{ getServiceRequest(id: "nowhere") { id } getEscrow(id: "nowhere") { id } }'
    assert world.ask("ana", query) == {"data": {"getServiceRequest": None, "getEscrow": None}}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("{ getServiceRequest(id: 1.5) { id } }", "ID cannot represent"),
        ('{ getServiceRequest(id: "r") { taskToken } }', "Cannot query field 'taskToken'"),
        ('{ getTransactionLog(id: "r") { id } }', "Cannot query field 'getTransactionLog'"),
        ('mutation { deleteServiceRequest(input: {id: "r"}) { id } }', "Cannot query field 'deleteServiceRequest'"),
        (
            'mutation { updateServiceRequest(input: {id: "r", taskToken: "t"}) { id } }',
            "Field 'taskToken' is not defined",
        ),
        (
            'mutation { updateServiceRequest(input: {id: "r", createdAt: "t"}) { id } }',
            "Field 'createdAt' is not defined",
        ),
        ('mutation { updateServiceRequest(input: {id: "r", providerResponse: MAYBE}) { id } }', "MAYBE"),
        (
            "subscription { onCreateServiceRequest { id } }",
            "Cannot query field 'onCreateServiceRequest' on type 'Subscription'",
        ),
    ],
)
def test_what_the_schema_does_not_have_is_an_error_of_validation(world, query, says):
    answer = world.ask("ana", query)
    assert answer["data"] is None
    assert says in answer["errors"][0]["message"]
    assert answer["errors"][0].keys() == {"path", "locations", "message"}
    assert answer["errors"][0]["locations"][0].keys() == {"line", "column", "sourceName"}


def test_a_field_that_a_variable_has_and_the_input_has_not_is_an_error(world):
    answer = world.create("ana", GIVEN | {"taskToken": "t"})
    assert answer["data"] is None
    assert "'taskToken' is not defined by type 'CreateServiceRequestInput'" in answer["errors"][0]["message"]
    assert world.stored("r") == {}


def test_a_stored_word_that_the_schema_does_not_know_is_an_error_where_it_is_read(world):
    world.store("ServiceRequest", GIVEN | {"status": "ODD"})
    answer = world.ask("ana", '{ getServiceRequest(id: "r") { id status } }')
    assert answer["data"] == {"getServiceRequest": {"id": "r", "status": None}}
    assert answer["errors"][0]["path"] == ["getServiceRequest", "status"]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (None, "Valid authorization header not provided."),
        ("", "Valid authorization header not provided."),
        ("Bearer ", "Valid authorization header not provided."),
        ("ana", "Unable to parse JWT token."),
        ("a.b.c", "Unable to parse JWT token."),
        (token_of({}), "Unable to parse JWT token."),
        (token_of({"sub": ""}), "Unable to parse JWT token."),
        (token_of({"sub": 1}), "Unable to parse JWT token."),
        ("e30.W10.", "Unable to parse JWT token."),
        ("e30." + base64.urlsafe_b64encode(b"[" * 30_000).decode() + ".", "Unable to parse JWT token."),
    ],
)
def test_nobody_without_a_token_gets_an_answer(world, header, says):
    body = json.dumps({"query": "{ __typename }"}).encode()
    expected = {"errors": [{"errorType": "UnauthorizedException", "message": says}]}
    assert world.api.answer(body, header) == (401, expected)
    # and nothing is said of the request
    assert world.api.answer(b"nonsense", header) == (401, expected)


def test_a_token_of_cognitos_form_is_believed_with_any_signature(world):
    world.store("UserBalance", {"userId": "ana", "availableBalance": Decimal(1)})
    body = json.dumps({"query": '{ getUserBalance(userId: "ana") { availableBalance } }'}).encode()
    for token in (token_for("ana"), f"Bearer {token_for('ana')}", f"{token_for('ana')}forged"):
        assert world.api.answer(body, token)[1] == {"data": {"getUserBalance": {"availableBalance": 1}}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"query": 1}',
        b'{"query": "{ __typename }", "variables": [1]}',
        b'{"query": "{ __typename }", "variables": {"x": NaN}}',
        b'{"query": "{ __typename }", "operationName": 1}',
        b'{"query": "{ get"}',
        b"[" * 100_000,
        json.dumps({"query": "{ a" * 1000}).encode(),
        json.dumps({"query": "{" + " __typename" * MOST_TOKENS + "}"}).encode(),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_appsyncs_words(world, body):
    expected = {"errors": [{"errorType": "MalformedHttpRequestException", "message": "Unable to parse GraphQL query."}]}
    assert world.api.answer(body, token_for("ana")) == (400, expected)


def test_a_fault_of_our_own_tells_a_client_nothing(world, monkeypatch):
    def fail(**_: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(world.api, "_dynamodb", type("Broken", (), {"get_item": staticmethod(fail)}))
    answer = world.ask("ana", '{ getEscrow(id: "r") { id } }')
    assert answer["errors"][0]["errorType"] == "InternalFailure"
    assert "secret" not in json.dumps(answer)


OWN = '{ allow: owner, ownerField: "owner", identityClaim: "sub", operations: [create, read, update] }'
OTHER = '{ allow: owner, ownerField: "other", identityClaim: "sub", operations: [read, update] }'


def test_a_changed_schema_changes_the_api(tmp_path, monkeypatch):
    """What the contract's own schema does not need, and the rules could say."""
    (tmp_path / "schema.graphql").write_text(
        f"""type Note
          @model(mutations: {{ create: "createNote", update: "changeNote", delete: null }})
          @auth(rules: [{OWN}, {OTHER}]) {{
          id: ID!
          owner: String
          other: String
          open: String
          secret: String @auth(rules: [{OWN}])
          cleared: String @auth(rules: [{OWN.replace("update", "update, delete")}, {OTHER}])
        }}"""
    )
    monkeypatch.setattr(amplify_schema, "FILE", tmp_path / "schema.graphql")
    with moto.mock_aws():
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        dynamodb.create_table(
            TableName="notes",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        api = Api(dynamodb, {"note": "notes"})

        def ask(who: str, query: str) -> dict[str, Any]:
            return api.answer(json.dumps({"query": query}).encode(), token_for(who))[1]

        # an owner who is not named is the caller
        given = '{id: "n", other: "ben", secret: "s", cleared: "c"}'
        assert ask("ana", f"mutation {{ createNote(input: {given}) {{ owner secret }} }}")["data"] == {
            "createNote": {"owner": "ana", "secret": "s"}
        }
        # a field with fewer readers is null to the others, with an error of its own
        answer = ask("ben", '{ getNote(id: "n") { id secret cleared } }')
        assert answer["data"] == {"getNote": {"id": "n", "secret": None, "cleared": "c"}}
        (error,) = answer["errors"]
        assert (error["errorType"], error["path"]) == ("Unauthorized", ["getNote", "secret"])
        assert error["message"] == "Not Authorized to access secret on type Note"
        # `delete` on a field is the right to set it to null
        null = 'mutation { changeNote(input: {id: "n", cleared: null}) { id } }'
        assert ask("ben", null)["errors"][0]["message"] == "Unauthorized on [cleared]"
        assert "errors" not in ask("ana", null)
        assert "cleared" not in dynamodb.get_item(TableName="notes", Key={"id": {"S": "n"}})["Item"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("delete: null", 'delete: "deleteServiceRequest"', "ServiceRequest: the stand-in for Amplify deletes nothing"),
        ("allow: owner", "allow: groups", "ServiceRequest: the stand-in for Amplify does not know the rule"),
        ('identityClaim: "sub", ', "", "ServiceRequest: the stand-in for Amplify does not know the rule"),
        ('identityClaim: "sub"', 'identityClaim: "sub::username"', "does not know the rule"),
        ("type ServiceRequest", "type", "schema.graphql: Syntax Error"),
        ("type Escrow\n", "type Extra\n", "Extra: a local run has no table of this model"),
        ("@model(queries: null, mutations: null, subscriptions: null)", "", "TransactionLog: "),
    ],
)
def test_a_schema_that_is_not_understood_is_refused_in_words(tmp_path, monkeypatch, old, new, says):
    text = amplify_schema.FILE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "schema.graphql").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(amplify_schema, "FILE", tmp_path / "schema.graphql")
    with pytest.raises(HourBankError) as refused:
        Api(None, {key: key for key in MODELS})
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", [{}, {"open": None}], ids=["nothing", "null"])
def test_a_default_is_written_where_the_client_says_nothing(world: World, given: dict[str, Any]) -> None:
    made = {"serviceId": "s", "requesterId": "ann", "providerId": "ben", "estimatedHours": 1}
    answer = world.create("ann", made | given)
    assert world.stored(answer["data"]["done"]["id"])["open"] == {"S": "OPEN"}
    assert "errors" in world.update("ann", {"id": answer["data"]["done"]["id"], "open": "else"})
