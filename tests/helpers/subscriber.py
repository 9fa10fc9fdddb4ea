"""A client of AppSync's real-time protocol that is not the server's own library."""

import base64
import json
from typing import Any

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from components.subscriptions import ARGUMENTS
from hourbank.local.page.api import token_for
from tests.helpers.waiting import ENDLESS_SECONDS

FIELDS = " ".join(ARGUMENTS)
MINE = f"subscription Mine($userId: ID!) {{ onRequestEvent(userId: $userId) {{ {FIELDS} }} }}"


def header(user: str | None) -> dict[str, str]:
    return {"host": "127.0.0.1"} | ({"Authorization": token_for(user)} if user else {})


class Subscriber:
    """Connects and authorizes as Amplify does, in a sub-protocol; or, where there is a query, in that."""

    def __init__(
        self, address: str, user: str | None = "ana", *, protocol: str = "", query: str = "", **options: Any
    ) -> None:
        encoded = base64.urlsafe_b64encode(json.dumps(header(user)).encode()).decode().rstrip("=")
        given = [] if query else [protocol or f"header-{encoded}"]
        protocols = [Subprotocol(one) for one in ("graphql-ws", *given)]
        uri = f"ws://{address}/graphql/realtime{query}"
        self.socket = connect(
            uri, subprotocols=protocols, open_timeout=ENDLESS_SECONDS, proxy=None, ping_interval=None, **options
        )
        self.user = user

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, **message) -> None:
        self.socket.send(json.dumps(message))

    def receive(self) -> dict:
        """Return the next message, whatever it is."""
        return json.loads(self.socket.recv(timeout=ENDLESS_SECONDS))

    def hear(self) -> dict:
        """Return the next message but those that keep alive, which may come at any time."""
        while (heard := self.receive()) == {"type": "ka"}:
            pass
        return heard

    def initiate(self) -> None:
        self.send(type="connection_init")
        assert self.hear() == {"type": "connection_ack", "payload": {"connectionTimeoutMs": 300_000}}

    def start(self, id_: str, query: str = MINE, user: str | None = None, **variables) -> dict:
        data = json.dumps({"query": query, "variables": variables})
        extensions = {"authorization": header(user or self.user)}
        self.send(id=id_, type="start", payload={"data": data, "extensions": extensions})
        return self.hear()

    def subscribed(self, id_: str = "1"):
        self.initiate()
        assert self.start(id_, userId=self.user) == {"id": id_, "type": "start_ack"}
        return self
