"""AppSync's real-time protocol, for the stand-in's subscription: what Amplify's client speaks over a WebSocket.

https://docs.aws.amazon.com/appsync/latest/devguide/real-time-websocket-client.html says which messages there are; what
errors look like is what AppSync's clients were seen to get. What frames are, wsproto knows.
"""

from __future__ import annotations

import base64
import contextlib
import json
import selectors
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from socket import SHUT_RDWR, socket
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Request, TextMessage
from wsproto.utilities import ProtocolError, RemoteProtocolError

from hourbank.local.deployment import APPSYNC_QUEUE, Deployment
from hourbank.local.page.api import Api, NotSubscribed, Subscriber, caller_of
from hourbank.local.page.appsync import AppSyncRefusal, refused

PROTOCOL = "graphql-ws"
KEEP_ALIVE_SECONDS = 60
# AppSync's: a client that hears nothing for so long may go
CONNECTION_TIMEOUT_SECONDS = 5 * 60
# a start message has a query in it, and tokens
MOST_CHARACTERS = 300_000
WAIT_SECONDS = 1
GOING_AWAY, BROKEN, TOO_BIG, INTERNAL_ERROR = 1001, 1002, 1009, 1011


class Realtime:
    """The subscribers of an API, each in a thread of its own."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._open: set[_Conversation] = set()
        self._lock = threading.Lock()
        self._ended = False

    def publish(self, event: Mapping[str, str]) -> None:
        """Tell an event to everybody who subscribed to it.

        Raises
        ------
        ValueError
            If the API does not take it.
        """
        published = self._api.publish(event)
        with self._lock:
            conversations = list(self._open)
        for conversation in conversations:
            conversation.tell(published)

    def converse(self, connection: socket, path: str, headers: Message) -> None:
        """Serve one client until either side ends it; `connection` has a request for a WebSocket behind it.

        Raises
        ------
        RemoteProtocolError
            If it is no such request; nothing was answered.
        """
        web_socket = WSConnection(ConnectionType.SERVER)
        asked = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        web_socket.initiate_upgrade_connection(asked, path)
        protocols = [one for event in web_socket.events() if isinstance(event, Request) for one in event.subprotocols]
        if PROTOCOL not in protocols:
            raise RemoteProtocolError(f"Missing sub-protocol, {PROTOCOL}")
        conversation = _Conversation(self._api, connection, web_socket, _authorization(path, protocols))
        with self._lock:
            if self._ended:
                return
            self._open.add(conversation)
        try:
            conversation.hold()
        finally:
            with self._lock:
                self._open.discard(conversation)

    def end(self) -> None:
        """Close every WebSocket, and serve no more."""
        with self._lock:
            self._ended = True
            conversations = list(self._open)
        for conversation in conversations:
            conversation.end(GOING_AWAY)


class _Conversation:
    def __init__(self, api: Api, connection: socket, web_socket: WSConnection, authorization: str | None) -> None:
        self._api, self._connection, self._web_socket = api, connection, web_socket
        self._authorization = authorization
        self._subscribers: dict[str, Subscriber] = {}
        self._heard = ""
        # whoever publishes writes as well
        self._lock = threading.RLock()

    def hold(self) -> None:
        """Answer messages, and keep the client awake, until one side ends it."""
        try:
            self._write(AcceptConnection(subprotocol=PROTOCOL))
            keep_alive = time.monotonic() + KEEP_ALIVE_SECONDS
            with selectors.DefaultSelector() as readable:
                readable.register(self._connection, selectors.EVENT_READ)
                while self._is_open():
                    if readable.select(max(0, keep_alive - time.monotonic())):
                        self._read()
                    if time.monotonic() >= keep_alive:
                        self._send({"type": "ka"})
                        keep_alive += KEEP_ALIVE_SECONDS
        except (OSError, ProtocolError):
            return  # it went away
        except BaseException:
            self.end(INTERNAL_ERROR)
            raise

    def tell(self, event: Mapping[str, str]) -> None:
        """Send an event to those of the client's subscriptions that it is for."""
        try:
            with self._lock:
                for id_, subscriber in self._subscribers.items():
                    if (answer := subscriber(event)) is not None:
                        self._send({"id": id_, "type": "data", "payload": answer})
        except (OSError, ProtocolError):  # it went away, or does not listen: it will not hear of the next ones either
            self.end(BROKEN)

    def end(self, code: int) -> None:
        """Say that it is over, and wake the thread that holds the conversation."""
        with self._lock, contextlib.suppress(OSError, ProtocolError):
            self._write(CloseConnection(code))
        with contextlib.suppress(OSError):
            self._connection.shutdown(SHUT_RDWR)

    def _is_open(self) -> bool:
        with self._lock:
            return self._web_socket.state is ConnectionState.OPEN

    def _write(self, event: Event) -> None:
        with self._lock:
            self._connection.sendall(self._web_socket.send(event))

    def _send(self, message: Mapping[str, Any]) -> None:
        self._write(TextMessage(json.dumps(message)))

    def _read(self) -> None:
        received = self._connection.recv(65536)
        with self._lock:
            self._web_socket.receive_data(received or None)
            events = list(self._web_socket.events())
        for event in events:
            if isinstance(event, Ping):
                self._write(event.response())
            elif isinstance(event, CloseConnection):
                with contextlib.suppress(ProtocolError):  # it may be the answer to ours
                    self._write(event.response())
            elif isinstance(event, TextMessage):
                self._heard += event.data
                if len(self._heard) > MOST_CHARACTERS:
                    self._write(CloseConnection(TOO_BIG))
                    return
                if event.message_finished:
                    heard, self._heard = self._heard, ""
                    self._answer(heard)

    def _answer(self, text: str) -> None:
        try:
            caller_of(self._authorization)
        except AppSyncRefusal as refusal:
            error = {"errorType": refusal.error_type, "message": str(refusal), "errorCode": 401}
            self._send({"type": "connection_error", "payload": {"errors": [error]}})
            self._write(CloseConnection(1000))
            return
        message = _object(text)
        kind, id_ = message.get("type"), message.get("id")
        if kind == "connection_init":
            timeout = {"connectionTimeoutMs": CONNECTION_TIMEOUT_SECONDS * 1000}
            self._send({"type": "connection_ack", "payload": timeout})
            self._send({"type": "ka"})
        elif kind == "start" and isinstance(id_, str):
            self._start(id_, message.get("payload"))
        elif kind == "stop" and isinstance(id_, str):
            with self._lock:
                self._subscribers.pop(id_, None)
            self._send({"id": id_, "type": "complete"})
        else:
            words = "unknown not supported through the realtime channel"
            self._send({"type": "error", "payload": refused("UnsupportedOperation", words)})

    def _start(self, id_: str, payload: Any) -> None:
        match payload:
            case {"data": str(body), "extensions": {"authorization": dict(headers)}}:
                pass
            case _:
                body, headers = "", {}
        try:
            subscriber = self._api.subscribe(body, caller_of(_bearer(headers)))
        except AppSyncRefusal as refusal:
            self._send({"id": id_, "type": "error", "payload": refused(refusal.error_type, str(refusal))})
        except NotSubscribed as refusal:
            self._send({"id": id_, "type": "error", "payload": refusal.answer})
        else:
            with self._lock:  # no event comes before the start is acknowledged, and none is missed after
                self._subscribers[id_] = subscriber
                self._send({"id": id_, "type": "start_ack"})


@contextlib.contextmanager
def listening(deployment: Deployment, realtime: Realtime) -> Iterator[None]:
    """Publish, while the context lasts, what the stack's rule brings to the queue that is AppSync's place here.

    An event is told at least once: it leaves the queue when it was told. What the API refuses is dropped.
    """
    sqs = deployment.client("sqs")
    queue = sqs.create_queue(QueueName=APPSYNC_QUEUE)["QueueUrl"]
    over = threading.Event()

    def relay() -> None:
        while not over.is_set():
            try:
                answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS)
                for message in answer.get("Messages", []):
                    with contextlib.suppress(ValueError):
                        realtime.publish(json.loads(message["Body"]))
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            except (ClientError, BotoCoreError):  # the emulator may be gone, which others say
                over.wait(WAIT_SECONDS)

    thread = threading.Thread(target=relay, name="appsync")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _authorization(path: str, protocols: Iterable[str]) -> str | None:
    """Who connects: in a sub-protocol, as Amplify sends it, or in the address, as AppSync takes it as well."""
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("header", [])
    # a space was a + that nobody escaped
    given = [*(one.removeprefix("header-") for one in protocols if one.startswith("header-")), *asked]
    for header in given:
        with contextlib.suppress(ValueError):
            text = header.translate(str.maketrans("+/ ", "-_-"))
            return _bearer(_object(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
    return None


def _bearer(headers: Mapping[str, Any]) -> str | None:
    return next((str(value) for name, value in headers.items() if name.lower() == "authorization"), None)


def _object(text: str | bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(text), dict):
            return found
    return {}
