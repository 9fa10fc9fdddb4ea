"""The local server of `hourbank up`: who is answered, and what they see."""

import contextlib
import http.client
import json
import socket
import threading
from decimal import Decimal

import boto3
import moto
import pytest

from components.models import MODELS
from handlers.aws.dynamodb import now
from hourbank.local import people
from hourbank.local.deployment import MACHINES, Deployment
from hourbank.local.page import server as module
from hourbank.local.page.api import token_for
from hourbank.local.page.server import MOST_BYTES, Console, serve
from tests.helpers.waiting import ENDLESS_SECONDS

LOGIN = {"Authorization": token_for("ana"), "Content-Type": "application/json"}
QUERY = b'{"query": "{ __typename }"}'
WAITING = {
    "StartAt": "Wait",
    "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "Next": "Done"}, "Done": {"Type": "Succeed"}},
}


class Mocked(Deployment):
    """A deployment in this process."""

    def client(self, service: str):
        return boto3.client(service, region_name="us-east-1")


@pytest.fixture(scope="module")
def deployment():
    with moto.mock_aws():
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        tables = {key: f"{model.name}-test" for key, model in MODELS.items()}
        for key, table in tables.items():
            name = "userId" if key == "userBalance" else "id"
            dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": name, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        states = boto3.client("stepfunctions", region_name="us-east-1")
        outputs = {
            output: states.create_state_machine(
                name=f"{name}-local", definition=json.dumps(WAITING), roleArn="arn:aws:iam::000000000000:role/role"
            )["stateMachineArn"]
            for output, name in zip(MACHINES, ("ServiceRequestWorkflow", "EscrowManagementWorkflow"), strict=True)
        }
        for user, hours in (("chloé", Decimal("7.50")), ("ana", Decimal(10))):
            balance = {"__typename": "UserBalance", "userId": user, "availableBalance": hours, "createdAt": now()}
            dynamodb.put_item(TableName=tables["userBalance"], Item=people.item(balance))
        yield Mocked(endpoint="", tables=tables, outputs=outputs)


@pytest.fixture(scope="module")
def port(deployment):
    with serve(Console(deployment, 900, "a run"), port=0) as address:
        yield int(address.rpartition(":")[2])


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A page that was built, beside something that nobody may see."""
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<p>the page</p>")
    (tmp_path / "dist" / "assets" / "index-1a2b.js").write_text("code")
    (tmp_path / "dist" / ".env").write_text("secret")
    (tmp_path / "dist" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "dist-old").mkdir()
    (tmp_path / "dist-old" / "secret.txt").write_text("secret")
    monkeypatch.setattr(module, "PAGES", tmp_path / "dist")


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, headers: dict | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ENDLESS_SECONDS)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True)
        fixed = {"Host": f"127.0.0.1:{port}"} | ({"Content-Length": str(len(body))} if body is not None else {})
        for name, value in (fixed | (headers or {})).items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        return Answer(connection.getresponse())


def test_the_page_learns_who_there_is_and_that_nobody_is_verified(port):
    config = ask(port, "/local/config").json
    assert "verifies nobody" in config["notice"]
    assert config["people"] == [{"userId": user, "name": user, "token": token_for(user)} for user in ("ana", "chloé")]
    assert (config["responseTimeoutSeconds"], config["graphqlEndpoint"]) == (900, "/graphql")
    assert config["run"] == "a run"
    # and each token is taken for its person
    for person in config["people"]:
        query = "query Q($id: ID!) { getUserBalance(userId: $id) { availableBalance } }"
        body = json.dumps({"query": query, "variables": {"id": person["userId"]}}).encode()
        answer = ask(port, "/graphql", "POST", body, {"Authorization": person["token"]}).json
        assert "errors" not in answer


def test_the_ledger_has_exact_hours_and_no_more_than_its_fields(port, deployment):
    dynamodb = deployment.client("dynamodb")
    escrow = {"id": "r", "requesterId": "ana", "providerId": "chloé", "hours": Decimal("2.10"), "status": "HELD"}
    entry = {"id": "r#ESCROW_HOLD", "requestId": "r", "type": "ESCROW_HOLD", "hours": Decimal("2.10")}
    accounts = {"fromAccount": "user:ana", "toAccount": "escrow:r"}
    odd = {"taskToken": "a-secret-token", "createdAt": "2026-01-01T00:00:00.000Z"}
    dynamodb.put_item(TableName="Escrow-test", Item=people.item(escrow | odd))
    dynamodb.put_item(TableName="TransactionLog-test", Item=people.item(entry | accounts | odd))
    answer = ask(port, "/local/ledger")
    assert b"a-secret-token" not in answer.body
    ledger = answer.json
    assert ledger["balances"] == [
        {"userId": "ana", "availableBalance": "10"},
        {"userId": "chloé", "availableBalance": "7.5"},
    ]
    times = {"createdAt": "2026-01-01T00:00:00.000Z"}
    assert ledger["escrows"] == [escrow | {"hours": "2.1", "updatedAt": None} | times]
    assert ledger["entries"] == [entry | accounts | {"hours": "2.1", "reason": None} | times]
    assert (ledger["held"], ledger["total"]) == ("2.1", "19.6")


def test_a_head_is_the_get_without_its_body(port):
    for path in ("/local/ledger", "/nothing"):
        got, asked = ask(port, path), ask(port, path, "HEAD")
        assert (asked.status, asked.headers["Content-Length"]) == (got.status, str(len(got.body)))
        assert asked.body == b""


def test_a_request_without_executions_has_none(port):
    assert ask(port, "/local/requests/nowhere").json["executions"] == []
    assert ask(port, "/local/requests/a%2Fb%20c%23%C3%A9").json["executions"] == []


def test_executions_are_found_by_the_names_that_the_handlers_give(port, deployment):
    from handlers.bank.execution import RELEASE_PREFIX, REQUEST_PREFIX, execution_name

    states = deployment.client("stepfunctions")
    odd = "request/7"  # hashed in the name
    expected = []
    for (output, prefix), numbers in zip(MACHINES.items(), ((1, 2), (1,)), strict=True):
        for number in numbers:
            name = execution_name(prefix, odd, number)
            states.start_execution(stateMachineArn=deployment.outputs[output], name=name, input="{}")
            expected.append(name)
    other = execution_name(REQUEST_PREFIX, "request/8")
    states.start_execution(stateMachineArn=deployment.outputs["serviceRequestWorkflowArn"], name=other, input="{}")
    before = now()
    answer = ask(port, "/local/requests/request%2F7").json
    # what a deadline is counted from: a browser's clock may say anything
    assert before <= answer["now"] <= now()
    found = answer["executions"]
    assert [execution["name"] for execution in found] == expected
    assert [execution["machine"] for execution in found] == [
        "ServiceRequestWorkflow",
        "ServiceRequestWorkflow",
        "EscrowManagementWorkflow",
    ]
    assert RELEASE_PREFIX in expected[-1]


def test_the_pictures_are_those_of_the_deployed_workflows(port):
    for machine in ("ServiceRequestWorkflow", "EscrowManagementWorkflow"):
        answer = ask(port, f"/local/diagrams/{machine}.svg")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/svg+xml")
        assert answer.body.startswith(b"<svg")
    assert ask(port, "/local/diagrams/Nothing.svg").status == 404
    assert ask(port, "/local/nothing").status == 404
    assert ask(port, "/local/requests/").status == 404


@pytest.mark.parametrize("path", ["/", "/local/config", "/local/ledger", "/graphql"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost@evil.example", "", None]
)
def test_a_name_that_somebody_gave_to_this_address_is_not_answered(port, path, host):
    method, body = ("POST", QUERY) if path == "/graphql" else ("GET", None)
    answer = ask(port, path, method, body, LOGIN | {"Host": host and host.format(port=port)})
    assert answer.status == 403
    assert b"token" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "localhost"])
def test_the_loopbacks_own_names_are_answered(port, host):
    assert ask(port, "/local/config", headers={"Host": host.format(port=port)}).status == 200


FOREIGN = ("http://evil.example", "null", "http://localhost.evil.example", "http://evil.example/http://localhost")


@pytest.mark.parametrize("origin", [*FOREIGN, "http://localhost:4200", "http://127.0.0.1:4200", "https://localhost"])
def test_pages_of_other_servers_see_nothing_below_local(port, origin):
    for path in ("/local/config", "/local/ledger", "/local/requests/r"):
        answer = ask(port, path, headers={"Origin": origin})
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_what_a_browser_says_of_a_request_without_origin_counts(port, site, status):
    assert ask(port, "/local/config", headers={"Sec-Fetch-Site": site}).status == status


def test_the_own_page_sees_it(port):
    assert ask(port, "/local/config", headers={"Origin": f"http://127.0.0.1:{port}"}).status == 200


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_pages_may_not_use_the_api(port, origin):
    assert ask(port, "/graphql", "POST", QUERY, LOGIN | {"Origin": origin}).status == 403
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization"}
    preflight = ask(port, "/graphql", "OPTIONS", headers=asked)
    assert preflight.status == 403
    assert "Access-Control-Allow-Origin" not in preflight.headers


@pytest.mark.parametrize(
    "origin", ["http://localhost:4200", "http://127.0.0.1:5173", "http://[::1]:3000", "https://localhost"]
)
def test_an_app_on_this_machine_may_use_the_api(port, origin):
    names = "authorization,content-type,x-amz-user-agent"
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    preflight = ask(port, "/graphql", "OPTIONS", headers=asked)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == origin
    assert preflight.headers["Access-Control-Allow-Headers"] == names
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    # errors are for the app to read, too
    for headers, status in ((LOGIN, 200), ({}, 401)):
        answer = ask(port, "/graphql", "POST", QUERY, headers | {"Origin": origin})
        assert answer.status == status
        assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (origin, "Origin")


def test_without_a_token_the_answer_is_appsyncs(port):
    answer = ask(port, "/graphql", "POST", QUERY)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (401, "UnauthorizedException")
    assert answer.json["errors"][0]["errorType"] == "UnauthorizedException"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/graphql", {}, None, 405),
        ("POST", "/local/config", {}, b"", 405),
        ("POST", "/", {}, b"", 405),
        ("OPTIONS", "/local/config", {}, None, 405),
        ("DELETE", "/graphql", {}, None, 501),
        ("POST", "/graphql", {}, None, 411),
        ("POST", "/graphql", {"Content-Length": "-1"}, None, 411),
        ("POST", "/graphql", {"Content-Length": str(MOST_BYTES + 1)}, None, 413),
        ("POST", "/graphql", {"Content-Length": "9" * 30}, None, 411),
        ("POST", "/graphql", {}, b"nonsense", 400),
        ("POST", "/graphql", {}, b'{"query": "' + b"{a" * 200_000 + b'"}', 400),
    ],
)
def test_what_is_no_request_is_refused_without_a_trace(port, capfd, method, path, headers, body, status):
    answer = ask(port, path, method, body, LOGIN | headers)
    assert answer.status == status
    assert b"Traceback" not in answer.body
    assert capfd.readouterr() == ("", "")


def test_a_fault_is_said_in_one_line_and_tells_nothing(port, capfd, monkeypatch):
    def fail(*_):
        raise RuntimeError("a secret")

    monkeypatch.setattr(module, "read_ledger", fail)
    answer = ask(port, "/local/ledger")
    assert answer.status == 500
    assert answer.json["errors"][0]["errorType"] == "InternalFailure"
    assert b"secret" not in answer.body
    assert capfd.readouterr() == ("", "")


def test_a_page_that_is_built_is_served(port, pages):
    index = ask(port, "/")
    assert (index.status, index.body) == (200, b"<p>the page</p>")
    assert index.headers["Content-Type"] == "text/html; charset=utf-8"
    assert index.headers["Cache-Control"] == "no-cache"
    assert ask(port, "/index.html?x=1").body == index.body
    script = ask(port, "/assets/index-1a2b.js")
    assert (script.status, script.body, script.headers["Content-Type"]) == (
        200,
        b"code",
        "text/javascript; charset=utf-8",
    )
    assert "immutable" in script.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        "//{outside}",
        "/%2f{outside}",
        "/../dist-old/secret.txt",
        "/..%5csecret.txt",
        "/link.txt",
        "/.env",
        "/assets",
        "/%00",
        "/nothing.js",
    ],
)
def test_nothing_beside_the_page_is_served(port, pages, tmp_path, path):
    answer = ask(port, path.format(outside=str(tmp_path / "secret.txt").lstrip("/")))
    assert answer.status == 404
    assert b"secret" not in answer.body


def test_a_page_that_is_not_built_says_how(port, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PAGES", tmp_path)
    answer = ask(port, "/")
    assert answer.status == 200
    assert b"make frontend" in answer.body
    assert answer.headers["Cache-Control"] == "no-store"


def test_every_answer_says_what_a_browser_may_do_with_it(port, pages):
    for path in ("/", "/local/config", "/nothing"):
        headers = ask(port, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy
    assert ask(port, "/local/config").headers["Cache-Control"] == "no-store"


def test_only_the_loopback_interface_listens(port):
    # 0.0.0.0 would answer here, where Linux refuses and macOS knows no way
    with pytest.raises((ConnectionRefusedError, TimeoutError)), socket.create_connection(("127.0.0.2", port)):
        pass


def test_a_taken_port_is_replaced_and_nothing_is_left_after_the_end(deployment):
    before = set(threading.enumerate())  # those of other tests may end meanwhile
    console = Console(deployment, 900, "a run")
    with serve(console, port=0) as first:
        taken = int(first.rpartition(":")[2])
        with serve(console, port=taken) as second:
            assert second != first
            assert ask(int(second.rpartition(":")[2]), "/local/config").status == 200
        assert ask(taken, "/local/config").status == 200
    assert not set(threading.enumerate()) - before
    with pytest.raises(ConnectionRefusedError):
        ask(taken, "/local/config")


def test_who_says_nothing_does_not_keep_the_server_from_ending(deployment, monkeypatch):
    monkeypatch.setattr(module._Handler, "timeout", 0.5)
    with serve(Console(deployment, 900, "a run"), port=0) as address:
        silent = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
        silent.sendall(b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
    silent.close()
