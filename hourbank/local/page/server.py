"""The local server of `hourbank up`: the stand-in for Amplify's API, and a page that shows what the workflows do.

It gives anybody everybody's token and shows everybody's hours. So it listens on the loopback interface alone, and
answers to no other name than that interface's, or a page elsewhere could give its own name this address. Pages of other
servers on this machine may use the API, as an app that is being developed must, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import MSG_PEEK
from typing import Any

from wsproto.utilities import RemoteProtocolError

from handlers.aws.dynamodb import date_time, now
from handlers.bank.hours import in_words
from hourbank import laws
from hourbank.drawing.graph import places, waits_for_token
from hourbank.drawing.svg import svg
from hourbank.local.deployment import MACHINES, Deployment, entered
from hourbank.local.emulator import REGION
from hourbank.local.page.api import Api, token_for
from hourbank.local.page.appsync import refused
from hourbank.local.page.realtime import Realtime
from hourbank.local.tables import read_ledger, scan
from hourbank.names import IS_INSTALLED, ROOT, workflow_name

PAGES = ROOT / "frontend" / "console" / "dist"
PORT = 4800
# what Amplify's client makes of an endpoint that is not AppSync's own: its path, and /realtime
API = GRAPHQL, REALTIME = ("/graphql", "/graphql/realtime")
LOOPBACK = r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?"
NOTICE = (
    "A stand-in for Amplify on this machine: it verifies nobody, and whoever opens this page may play everybody. "
    "Nothing here is AWS."
)
# the first byte of who wants TLS: https://www.rfc-editor.org/rfc/rfc8446#section-5.1
HANDSHAKE = b"\x16"
WANTS_TLS = (
    "An app asks for TLS, which is not spoken here. For Amplify's subscriptions, write the endpoint with HTTP:// in "
    "capitals: docs/try.md"
)
MOST_BYTES = 1_000_000
SECONDS_TO_SPEAK = 10
ESCROW = ("id", "requesterId", "providerId", "hours", "status", "createdAt", "updatedAt")
ENTRY = ("id", "requestId", "type", "hours", "fromAccount", "toAccount", "reason", "createdAt")
# Not the system's: what it says of .js differs, and a browser runs no module of another type.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; font-src 'self'; img-src 'self' data:; "
        "manifest-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# what to do where the page is not built
TO_BUILD = (
    "this hourbank was built where Node is not: install one that was built with the page"
    if IS_INSTALLED
    else "type make frontend in the project's folder, where Node is"
)
NOT_BUILT = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>HourBank</title>
<h1>The page is not built</h1>
<p>{TO_BUILD.capitalize()}, then load this again.</p>
<p>The API is here without it: <code>POST /graphql</code>.</p>
</html>
"""


class Console:
    """What can be seen of a deployment; never a task token.

    Parameters
    ----------
    deployment : Deployment
        Where everything is read.
    response_timeout_seconds : int
        How long people have to answer.
    run : str
        Names the run, for a page that was opened on another one.

    Attributes
    ----------
    api : Api
        The stand-in for Amplify's.
    realtime : Realtime
        Its subscribers.
    pictures : dict
        The SVG of each workflow, by its name without the stack's.
    """

    def __init__(self, deployment: Deployment, response_timeout_seconds: int, run: str) -> None:
        self._deployment = deployment
        self._run = run
        self._dynamodb = deployment.client("dynamodb")
        self._response_timeout_seconds = response_timeout_seconds
        self.api = Api(self._dynamodb, deployment.tables)
        self.realtime = Realtime(self.api)
        self.read_definitions()

    def read_definitions(self) -> None:
        """Read what the workflows are now, and draw them."""
        states = self._deployment.client("stepfunctions")
        machines = [states.describe_state_machine(stateMachineArn=self._deployment.outputs[one]) for one in MACHINES]
        self._definitions = {machine["name"]: json.loads(machine["definition"]) for machine in machines}
        self.pictures = {workflow_name(name): svg(definition) for name, definition in self._definitions.items()}

    def config(self) -> dict[str, Any]:
        """Return what the page has to know, with a token for everybody who has a balance."""
        balances = scan(self._dynamodb, self._deployment.tables["userBalance"])
        return {
            "notice": NOTICE,
            "run": self._run,
            "people": [
                {"userId": user, "name": user, "token": token_for(user)}
                for user in sorted(balance["userId"] for balance in balances)
            ],
            "responseTimeoutSeconds": self._response_timeout_seconds,
            "region": REGION,
            "graphqlEndpoint": GRAPHQL,
        }

    def ledger(self) -> dict[str, Any]:
        """Return everybody's balances, escrows and entries of the log, oldest first; hours are strings."""
        ledger = self._read_ledger()
        return {
            "balances": [
                {"userId": user, "availableBalance": in_words(hours)}
                for user, hours in sorted(ledger.spendable().items())
            ],
            "escrows": _shown(ledger.escrows.values(), ESCROW),
            "entries": _shown(ledger.log.values(), ENTRY),
            "held": in_words(ledger.total_held()),
            "total": in_words(ledger.total()),
        }

    def request(self, request_id: str) -> dict[str, Any]:
        """Return the time, and where a request's executions are, oldest first; none if there is no such request."""
        return {
            "now": now(),
            "executions": [self._progress(one) for one in self._deployment.named_executions(request_id)],
        }

    def _read_ledger(self) -> laws.Ledger:
        ledger = read_ledger(self._dynamodb, self._deployment.tables)
        # four scans are no snapshot: hours that move meanwhile would seem lost, or to be there twice
        for _ in range(5):
            before, ledger = ledger, read_ledger(self._dynamodb, self._deployment.tables)
            if before == ledger:
                break
        return ledger

    def _progress(self, execution: Mapping[str, Any]) -> dict[str, Any]:
        events = self._deployment.history(execution["executionArn"])
        states = entered(events)
        progress: dict[str, Any] = {
            "machine": workflow_name(execution["machine"]),
            "name": execution["name"],
            "status": execution["status"],
            "path": [name for name, _ in states],
            "current": None,
            "enteredAt": None,
            "deadline": None,
            "error": execution.get("error"),
        }
        if states and execution["status"] == "RUNNING":
            name, at = states[-1]
            progress |= {"current": name, "enteredAt": date_time(at)}
            place = places(self._definitions[execution["machine"]]).get(name)  # it may have been changed since
            if place and waits_for_token(place.state):
                # not since the entry: each attempt has the whole time
                tried = [event["timestamp"] for event in events if event["type"] == "TaskScheduled"][-1]
                progress["deadline"] = date_time(tried + timedelta(seconds=_seconds_to_answer(place.state, events)))
        return progress


def _seconds_to_answer(state: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> int:
    """What the request, or the stack where it does not say, gives people: from where the state takes it."""
    (*_, given) = (
        event["stateEnteredEventDetails"]["input"] for event in events if "stateEnteredEventDetails" in event
    )
    found = json.loads(given)
    for name in state["TimeoutSecondsPath"].split(".")[1:]:
        found = found[name]
    return int(found)


def _shown(items: Iterable[laws.Item], fields: Iterable[str]) -> list[dict[str, Any]]:
    oldest_first = sorted(items, key=lambda item: (str(item.get("createdAt")), item["id"]))
    return [{field: _in_words(item.get(field)) for field in fields} for item in oldest_first]


def _in_words(value: Any) -> Any:
    return in_words(value) if isinstance(value, Decimal) else value


class Refused(Exception):
    """What is answered instead of what was asked for."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def serve(console: Console, port: int = PORT, warn: Callable[[str], object] = lambda _: None) -> Iterator[str]:
    """Answer on the loopback interface while the context lasts; yields the address, such as http://127.0.0.1:4800.

    Where the port is taken, another one is. After the context neither a thread nor the port is left. `warn` is told
    once where an app cannot get through.
    """
    handler = partial(_Handler, console, cache(warn))
    try:
        server = _Server(("127.0.0.1", port), handler)
    except OSError:
        server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        console.realtime.end()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that goes away in the midst of an answer is no event."""


class _Handler(BaseHTTPRequestHandler):
    timeout = SECONDS_TO_SPEAK
    server_version, sys_version = "hourbank", ""

    def __init__(self, console: Console, warn: Callable[[str], object], *connection: Any) -> None:
        self._console, self._warn = console, warn
        super().__init__(*connection)

    def handle(self) -> None:
        if self.connection.recv(1, MSG_PEEK) == HANDSHAKE:
            self._warn(WANTS_TLS)
        else:
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: the terminal shows what the workflows do."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_OPTIONS(self) -> None:
        self._answer()

    def _answer(self) -> None:
        try:
            self._route(urllib.parse.unquote(self.path.partition("?")[0]))
        except Refused as refusal:
            self._send_json(refusal.status, refused(refusal.status.phrase.replace(" ", ""), str(refusal)))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it says, it was not written for a client
            message = f"The local server failed ({type(error).__name__}): is the emulator still there?"
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, refused("InternalFailure", message))

    def _route(self, path: str) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not re.fullmatch(LOOPBACK, host):
            raise Refused(HTTPStatus.FORBIDDEN, "Only 127.0.0.1 and localhost are answered to")
        if path in API and origin is not None and not re.fullmatch(f"https?://{LOOPBACK}", origin):
            raise Refused(HTTPStatus.FORBIDDEN, "Only pages of this machine may use the API")
        if path == REALTIME:
            self._realtime()
        elif path == GRAPHQL:
            self._graphql({"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {})
        elif self.command not in ("GET", "HEAD"):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Only the API at /graphql takes anything but a GET")
        elif path.startswith("/local/"):
            if origin not in (None, f"http://{host}") or self.headers.get("Sec-Fetch-Site") in (
                "cross-site",
                "same-site",
            ):
                raise Refused(HTTPStatus.FORBIDDEN, "Only the page of this server may look at this")
            self._local(path.removeprefix("/local/"))
        else:
            self._file(path)

    def _graphql(self, headers: dict[str, str]) -> None:
        if self.command == "OPTIONS":
            # by name: `*` does not cover Authorization (https://fetch.spec.whatwg.org/#cors-non-wildcard-request-header-name)
            asked = self.headers.get("Access-Control-Request-Headers", "")
            allowed = {"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": asked}
            self._send(HTTPStatus.NO_CONTENT, TYPES[".txt"], b"", headers | allowed)
            return
        if self.command != "POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "The API takes a POST")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", length):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "A request says how long it is")
        if int(length) > MOST_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request has at most {MOST_BYTES} bytes")
        status, answer = self._console.api.answer(self.rfile.read(int(length)), self.headers.get("Authorization"))
        if status == HTTPStatus.UNAUTHORIZED:
            headers["x-amzn-ErrorType"] = "UnauthorizedException"
        self._send_json(status, answer, headers)

    def _realtime(self) -> None:
        try:
            self._console.realtime.converse(self.connection, self.path, self.headers)
        except RemoteProtocolError as error:
            raise Refused(HTTPStatus.UPGRADE_REQUIRED, f"Subscribers come by WebSocket ({error})") from None

    def _local(self, what: str) -> None:
        console = self._console
        if what == "config":
            self._send_json(HTTPStatus.OK, console.config())
        elif what == "ledger":
            self._send_json(HTTPStatus.OK, console.ledger())
        elif what.startswith("requests/") and (request_id := what.removeprefix("requests/")):
            self._send_json(HTTPStatus.OK, console.request(request_id))
        elif picture := console.pictures.get(what.removeprefix("diagrams/").removesuffix(".svg")):
            self._send(HTTPStatus.OK, TYPES[".svg"], picture.encode(), {"Cache-Control": "no-cache"})
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing of this name")

    def _file(self, path: str) -> None:
        index = PAGES / "index.html"
        if path == "/" and not index.is_file():
            self._send(HTTPStatus.OK, TYPES[".html"], NOT_BUILT.encode(), {"Cache-Control": "no-store"})
            return
        file = index if path == "/" else PAGES / path.lstrip("/")
        try:
            file = file.resolve()
            content = file.read_bytes() if file.is_relative_to(PAGES.resolve()) and file.suffix in TYPES else None
        except (OSError, ValueError):
            content = None
        if content is None:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing of this name")
        # what a bundler names after its content never changes
        kept = "public, max-age=31536000, immutable" if file.parent.name == "assets" else "no-cache"
        self._send(HTTPStatus.OK, TYPES[file.suffix], content, {"Cache-Control": kept})

    def _send_json(self, status: int, answer: Any, headers: Mapping[str, str] = {}) -> None:
        body = json.dumps(answer, ensure_ascii=False).encode(errors="replace")
        self._send(status, "application/json; charset=utf-8", body, {"Cache-Control": "no-store", **headers})

    def _send(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        fixed = {"Content-Type": content_type, "Content-Length": str(len(body))}
        for name, value in (HEADERS | fixed | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
