"""AppSync's real-time protocol against the local server, message by message, with a client that is not its library."""

import base64
import http.client
import json
import socket
import threading
from types import SimpleNamespace

import pytest
from websockets.exceptions import ConnectionClosed

from components.models import MODELS
from components.subscriptions import ARGUMENTS
from hourbank.local.page import realtime as module
from hourbank.local.page import server
from hourbank.local.page.api import Api, token_for
from hourbank.local.page.realtime import MOST_CHARACTERS, Realtime
from tests.helpers.subscriber import FIELDS, Subscriber, header
from tests.helpers.waiting import ENDLESS_SECONDS, until


def event(user: str, number: int = 1) -> dict[str, str]:
    """What the rule gives the mutation."""
    return {name: f"{name} {number}" for name in ARGUMENTS} | {"userId": user}


@pytest.fixture
def console():
    api = Api(None, {key: key for key in MODELS})
    return SimpleNamespace(api=api, realtime=Realtime(api))


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def address(console, warnings):
    with server.serve(console, port=0, warn=warnings.append) as address:
        yield address.removeprefix("http://")


def served() -> list[threading.Thread]:
    """The server's threads, one for each client."""
    return [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]


def data(id_: str, told: dict) -> dict:
    return {"id": id_, "type": "data", "payload": {"data": {"onRequestEvent": told}}}


def test_a_person_hears_what_is_for_them_in_the_shape_of_the_mutation(address, console):
    with Subscriber(address).subscribed("1") as ana, Subscriber(address, "chloé").subscribed("2") as other:
        assert ana.socket.subprotocol == "graphql-ws"
        for number, user in enumerate(("ana", "ben", "chloé", "ana")):
            console.realtime.publish(event(user, number))
        assert [ana.hear(), ana.hear()] == [data("1", event("ana", 0)), data("1", event("ana", 3))]
        assert other.hear() == data("2", event("chloé", 2))
        # and nothing more once it is stopped
        ana.send(id="1", type="stop")
        assert ana.hear() == {"id": "1", "type": "complete"}
        console.realtime.publish(event("ana", 4))
        assert ana.start("3", userId="ana") == {"id": "3", "type": "start_ack"}
        console.realtime.publish(event("ana", 5))
        assert ana.hear() == data("3", event("ana", 5))


def test_each_subscription_of_a_socket_gets_what_it_selects(address, console):
    with Subscriber(address) as ana:
        ana.initiate()
        short = 'subscription { told: onRequestEvent(userId: "ana") { requestId __typename } }'
        assert ana.start("a", short)["type"] == ana.start("b", userId="ana")["type"] == "start_ack"
        console.realtime.publish(event("ana"))
        told = {"told": {"requestId": "requestId 1", "__typename": "RequestEvent"}}
        assert ana.hear() == {"id": "a", "type": "data", "payload": {"data": told}}
        assert ana.hear() == data("b", event("ana"))


def test_authorization_may_stand_in_the_address(address, console):
    # a + that would be read as something else, wherever it falls
    encoded = base64.b64encode(json.dumps(header("ana") | {"x": "s€s€s€"}, ensure_ascii=False).encode()).decode()
    assert "+" in encoded
    with Subscriber(address, query=f"?header={encoded}&payload=e30=").subscribed() as ana:
        console.realtime.publish(event("ana"))
        assert ana.hear() == data("1", event("ana"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"user": None}, "Valid authorization header not provided."),
        ({"protocol": "header-e30"}, "Valid authorization header not provided."),
        ({"protocol": "header-~"}, "Valid authorization header not provided."),
        ({"protocol": "other"}, "Valid authorization header not provided."),
        ({"query": "?header=bm90aGluZw=="}, "Valid authorization header not provided."),
        ({"protocol": "header-eyJBdXRob3JpemF0aW9uIjogIngifQ"}, "Unable to parse JWT token."),
    ],
)
def test_who_does_not_say_who_they_are_is_not_connected(address, given, says):
    with Subscriber(address, **given) as nobody:
        nobody.send(type="connection_init")
        error = {"errorType": "UnauthorizedException", "message": says, "errorCode": 401}
        assert nobody.hear() == {"type": "connection_error", "payload": {"errors": [error]}}
        with pytest.raises(ConnectionClosed):
            nobody.hear()


OTHER = 'subscription { onRequestEvent(userId: "ben") { status } }'


@pytest.mark.parametrize(
    ("query", "error_type", "says"),
    [
        (OTHER, "Unauthorized", "Not Authorized to access onRequestEvent on type Subscription"),
        ("subscription { onUpdateServiceRequest { id } }", None, "has the subscription onRequestEvent, and no other"),
        ("subscription { onRequestEvent { status } }", None, "'userId' of type 'ID!' is required"),
        ('subscription { onRequestEvent(userId: "ana") { hours } }', None, "Cannot query field 'hours'"),
        ("query { __typename }", "UnsupportedOperation", "query not supported through the realtime channel"),
        ("subscription {", "MalformedHttpRequestException", "Unable to parse GraphQL query."),
        pytest.param("{" * 3000, "MalformedHttpRequestException", "Unable to parse GraphQL query.", id="deep"),
    ],
)
def test_what_is_not_to_be_heard_is_an_error_in_words(address, console, query, error_type, says):
    with Subscriber(address) as ana:
        ana.initiate()
        refusal = ana.start("1", query)
        assert (refusal["id"], refusal["type"]) == ("1", "error")
        (error,) = refusal["payload"]["errors"]
        assert says in error["message"]
        assert error.get("errorType") == error_type
        # and the others of the socket go on
        assert ana.start("2", userId="ana")["type"] == "start_ack"
        for user in ("ben", "ana"):
            console.realtime.publish(event(user))
        assert ana.hear() == data("2", event("ana"))


def test_a_subscription_is_who_its_own_token_names(address):
    with Subscriber(address) as ana:
        ana.initiate()
        assert ana.start("1", user="ben", userId="ben")["type"] == "start_ack"
        assert ana.start("2", user="ben", userId="ana")["payload"]["errors"][0]["errorType"] == "Unauthorized"
        ana.send(id="3", type="start", payload={"data": json.dumps({"query": OTHER}), "extensions": {}})
        assert ana.hear()["payload"]["errors"][0]["errorType"] == "UnauthorizedException"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"type": "subscribe", "id": "1"}', '{"type": "start"}', pytest.param("[" * 2000, id="deep")],
)
def test_what_is_no_message_is_said_to_be_none(address, text):
    with Subscriber(address) as ana:
        ana.initiate()
        ana.socket.send(text)
        error = {"errorType": "UnsupportedOperation", "message": "unknown not supported through the realtime channel"}
        assert ana.hear() == {"type": "error", "payload": {"errors": [error]}}
        ana.initiate()


def test_messages_come_in_parts_and_have_a_largest_size(address):
    with Subscriber(address) as ana:
        ana.socket.send(['{"type": "connec', 'tion_init"}'])
        assert ana.hear()["type"] == "connection_ack"
        assert ana.receive() == {"type": "ka"}
        assert ana.socket.ping().wait(ENDLESS_SECONDS)
        ana.socket.send("x" * (MOST_CHARACTERS + 1))
        with pytest.raises(ConnectionClosed) as closed:
            ana.hear()
        assert closed.value.rcvd.code == 1009


def test_a_client_that_says_nothing_is_kept_alive(address, monkeypatch):
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.05)
    with Subscriber(address).subscribed() as ana:
        assert [ana.receive(), ana.receive()] == [{"type": "ka"}] * 2


def test_who_goes_away_leaves_nothing_behind_and_takes_nobody_along(address, console):
    with Subscriber(address).subscribed() as stays:
        rude = Subscriber(address).subscribed()
        rude.socket.socket.shutdown(socket.SHUT_RDWR)
        polite = Subscriber(address).subscribed()
        polite.socket.close()
        for number in range(50):
            console.realtime.publish(event("ana", number))
        assert [stays.hear() for _ in range(50)] == [data("1", event("ana", number)) for number in range(50)]
        rude.socket.close()
    until(lambda: not served(), what="the end of the threads of who went")
    assert not console.realtime._open


def test_who_does_not_listen_holds_up_the_others_for_a_moment_only(address, console):
    raw = socket.create_connection(address.split(":"))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    Subscriber(address, sock=raw, max_queue=1).subscribed()
    (deaf,) = console.realtime._open
    deaf._connection.settimeout(0.1)
    with Subscriber(address, "chloé").subscribed() as other:
        long = event("ana") | {"status": "x" * 1_000_000}
        for _ in range(20):
            console.realtime.publish(long)
        console.realtime.publish(event("chloé"))
        assert other.hear() == data("1", event("chloé"))
        until(lambda: deaf not in console.realtime._open, what="the end of who does not listen")
    raw.close()


def test_a_fault_of_the_stand_in_ends_the_conversation(address, console, monkeypatch):
    with Subscriber(address) as ana:
        ana.initiate()
        monkeypatch.setattr(console.api, "subscribe", lambda *_: 1 / 0)
        with pytest.raises(ConnectionClosed) as closed:
            ana.start("1", userId="ana")
        assert closed.value.rcvd.code == 1011


def test_many_people_listen_at_once(address, console):
    clients = [Subscriber(address, f"person {number}").subscribed() for number in range(40)]
    for client in clients:
        console.realtime.publish(event(client.user))
    for client in clients:
        assert client.hear() == data("1", event(client.user))
        client.socket.close()


def test_the_end_of_the_server_closes_them(console):
    with server.serve(console, port=0) as address:
        clients = [Subscriber(address.removeprefix("http://")).subscribed() for _ in range(3)]
    for client in clients:
        with pytest.raises(ConnectionClosed) as closed:
            client.hear()
        assert closed.value.rcvd.code == 1001
        client.socket.close()
    assert not served()


def test_what_the_api_does_not_take_is_told_to_nobody(address, console):
    with Subscriber(address).subscribed() as ana:
        for wrong in ({}, event("ana") | {"status": None}, event("ana") | {"status": {"S": "x"}}):
            with pytest.raises(ValueError, match="Variable"):
                console.realtime.publish(wrong)
        console.realtime.publish(event("ana"))
        assert ana.hear() == data("1", event("ana"))


def plain(address: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address, timeout=ENDLESS_SECONDS)
    connection.request(method, "/graphql/realtime", headers={name.replace("_", "-"): v for name, v in headers.items()})
    return connection.getresponse()


def test_only_a_websocket_of_this_machine_gets_through(address):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    key = {"Sec_WebSocket_Key": "x3JJHMbDL1EzLkh9GBhXDw=="}
    protocol = {"Sec_WebSocket_Protocol": "graphql-ws"}
    assert plain(address, **upgrade, **key, **protocol).status == 101
    assert plain(address, **upgrade, **key, **protocol, Origin="http://localhost:4200").status == 101
    assert plain(address, **upgrade, **key, **protocol, Origin="https://example.com").status == 403
    assert plain(address, **upgrade, **key, **protocol, Host="example.com").status == 403
    for less in (upgrade | key, upgrade | protocol, key | protocol, {}):
        assert plain(address, **less).status == 426


def test_nobody_publishes_or_subscribes_by_http(address):
    def post(query: str) -> tuple[int, dict]:
        connection = http.client.HTTPConnection(address, timeout=ENDLESS_SECONDS)
        connection.request("POST", "/graphql", json.dumps({"query": query}), {"Authorization": token_for("ana")})
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    given = ", ".join(f'{name}: "x"' for name in ARGUMENTS)
    status, answer = post(f"mutation {{ publishRequestEvent({given}) {{ {FIELDS} }} }}")
    assert (status, answer["errors"][0]["errorType"]) == (200, "Unauthorized")
    assert answer["data"] == {"publishRequestEvent": None}
    status, answer = post('subscription { onRequestEvent(userId: "ana") { status } }')
    assert (status, "WebSocket" in answer["errors"][0]["message"]) == (400, True)


def test_who_asks_for_tls_is_told_of_once_on_the_terminal(address, warnings):
    host, port = address.split(":")
    for _ in range(2):
        with socket.create_connection((host, int(port)), ENDLESS_SECONDS) as client:
            client.sendall(b"\x16\x03\x01\x02\x00\x01")
            assert client.recv(1) == b""
    (warning,) = warnings
    assert "HTTP:// in capitals" in warning
