"""The local server of `hourbank up`: the stand-in for Amplify's API, and a page that shows what the workflows do.

It gives everybody everybody's token and shows everybody's hours, so it listens on the loopback interface alone, answers
no other name than that interface's (a page elsewhere could give itself this address), and lets other pages of this
machine use the API, with a token, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hourbank import ledger_view
from hourbank.deployment import Deployment
from hourbank.emulator import PROJECT, REGION
from hourbank.graphql_stand_in import Api, refused, token_for

PAGES = PROJECT / "frontend" / "console" / "dist"
PORT = 4800
NAMES = ("127.0.0.1", "localhost", "::1")
NOTICE = (
    "A stand-in for Amplify on this machine: it verifies nobody, and whoever opens this page may play everybody. "
    "Nothing here is AWS."
)
# AppSync takes no more either: https://docs.aws.amazon.com/general/latest/gr/appsync.html
MOST_BYTES = 1_000_000
SECONDS_TO_SPEAK = 10
# By hand, because what the system says of .js differs, and a browser runs no module of another type.
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
NOT_BUILT = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>HourBank</title>
<h1>The page is not built</h1>
<p>Type <code>make frontend</code> in the project's folder (Node is needed), then load this again.</p>
<p>The API is here without it: <code>POST /graphql</code>.</p>
</html>
"""


class Answer(Exception):
    """What ends a request early."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Console:
    """What the server answers, without HTTP.

    Parameters
    ----------
    deployment : Deployment
        Where everything is read.
    response_timeout_seconds : int
        How long people have to answer.
    """

    def __init__(self, deployment: Deployment, response_timeout_seconds: int) -> None:
        self._deployment = deployment
        self._response_timeout_seconds = response_timeout_seconds
        self.api = Api(deployment.client("dynamodb"), deployment.tables)

    def local(self, path: str) -> dict[str, Any] | None:
        """Return the JSON of a path below /local/; None where there is nothing."""
        if path == "config":
            return self._config()
        if path == "ledger":
            return self._ledger()
        return None

    def _config(self) -> dict[str, Any]:
        balances = ledger_view.scan(self._deployment.client("dynamodb"), self._deployment.tables["userBalance"])
        people = sorted(balance["userId"] for balance in balances)
        return {
            "standIn": True,
            "notice": NOTICE,
            "people": [{"userId": user, "name": user, "token": token_for(user)} for user in people],
            "responseTimeoutSeconds": self._response_timeout_seconds,
            "region": REGION,
            "graphqlEndpoint": "/graphql",
        }

    def _ledger(self) -> dict[str, Any]:
        ledger = ledger_view.read(self._deployment.client("dynamodb"), self._deployment.tables)
        return {
            "balances": [
                {"userId": user, "availableBalance": ledger_view.in_words(hours)}
                for user, hours in sorted(ledger.balances.items())
            ],
            "escrows": [_in_words(escrow) for escrow in _oldest_first(ledger.escrows.values())],
            "entries": [_in_words(entry) for entry in _oldest_first(ledger.entries)],
            "held": ledger_view.in_words(ledger.held),
            "total": ledger_view.in_words(ledger.total),
        }


def _oldest_first(items: Any) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: (str(item.get("createdAt")), item["id"]))


def _in_words(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"hours": ledger_view.in_words(item["hours"])}


@contextlib.contextmanager
def serve(console: Console, port: int = PORT) -> Iterator[str]:
    """Answer on the loopback interface while the context lasts; gives the address, such as http://127.0.0.1:4800.

    Where the port is taken, another one is.
    """

    class Handler(_Handler):
        answers = console

    try:
        server = _Server(("127.0.0.1", port), Handler)
    except OSError:
        server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a browser that goes away in the midst of an answer is no event."""


class _Handler(BaseHTTPRequestHandler):
    answers: Console
    timeout = SECONDS_TO_SPEAK
    server_version, sys_version = "hourbank", ""

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal shows what the workflows do."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_OPTIONS(self) -> None:
        self._answer(self._preflight)

    def _answer(self, do: Any) -> None:
        try:
            self._refuse_strangers()
            do()
        except Answer as answer:
            self._send_json(answer.status, refused(answer.status.phrase.replace(" ", ""), str(answer)))
        except OSError:
            raise
        except Exception as error:
            # whatever it says, it was not written for a client
            message = f"The local server failed ({type(error).__name__})"
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, refused("InternalFailure", message))

    @property
    def _path(self) -> str:
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)

    def _refuse_strangers(self) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if _name_of(f"http://{host}") not in NAMES:
            raise Answer(HTTPStatus.FORBIDDEN, "Only requests to 127.0.0.1 or localhost are answered")
        own = origin is None or origin == f"http://{host}"
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and origin is None:
            own = False
        if not own and not (self._path == "/graphql" and origin and _name_of(origin) in NAMES):
            raise Answer(HTTPStatus.FORBIDDEN, "Pages of another origin are not answered")

    def _get(self) -> None:
        path = self._path
        if path == "/graphql":
            raise Answer(HTTPStatus.METHOD_NOT_ALLOWED, "The API takes a POST")
        if path.startswith("/local/"):
            found = self.answers.local(path.removeprefix("/local/"))
            if found is None:
                raise Answer(HTTPStatus.NOT_FOUND, f"There is nothing at {path}")
            self._send_json(HTTPStatus.OK, found)
        else:
            self._send_file(path)

    def _post(self) -> None:
        if self._path != "/graphql":
            raise Answer(HTTPStatus.NOT_FOUND, "The API is at /graphql")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Answer(HTTPStatus.LENGTH_REQUIRED, "A request says how long it is")
        if int(length) > MOST_BYTES:
            raise Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request has at most {MOST_BYTES} bytes")
        body = self.rfile.read(int(length))
        status, answer = self.answers.api.answer(body, self.headers.get("Authorization"))
        if status == HTTPStatus.UNAUTHORIZED:
            self._send_json(status, answer, {"x-amzn-ErrorType": "UnauthorizedException"})
        else:
            self._send_json(status, answer)

    def _preflight(self) -> None:
        allowed = {
            "Access-Control-Allow-Methods": "POST",
            # by name: in the Fetch standard `*` does not cover Authorization
            "Access-Control-Allow-Headers": self.headers.get("Access-Control-Request-Headers", ""),
            "Access-Control-Max-Age": "600",
        }
        self._send(HTTPStatus.NO_CONTENT, "text/plain", b"", allowed)

    def _send_file(self, path: str) -> None:
        file = (PAGES / path.lstrip("/")).resolve()
        if file == PAGES.resolve():
            file /= "index.html"
            if not file.is_file():
                self._send(HTTPStatus.OK, TYPES[".html"], NOT_BUILT, {"Cache-Control": "no-store"})
                return
        if not (file.is_relative_to(PAGES.resolve()) and file.is_file() and file.suffix in TYPES):
            raise Answer(HTTPStatus.NOT_FOUND, f"There is nothing at {path}")
        self._send(HTTPStatus.OK, TYPES[file.suffix], file.read_bytes(), {"Cache-Control": _cache(file)})

    def _send_json(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(answer, ensure_ascii=False, allow_nan=False).encode(errors="replace")
        self._send(status, "application/json; charset=utf-8", body, {"Cache-Control": "no-store", **(headers or {})})

    def _send(self, status: int, content_type: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        origin = self.headers.get("Origin")
        if self._path == "/graphql" and origin and _name_of(origin) in NAMES:
            headers = {**headers, "Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        for name, value in {**HEADERS, **headers, "Content-Type": content_type, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)


def _name_of(origin: str) -> str | None:
    try:
        return urllib.parse.urlsplit(origin).hostname
    except ValueError:
        return None


def _cache(file: Path) -> str:
    # what a bundler names after its content never changes
    return "public, max-age=31536000, immutable" if file.parent.name == "assets" else "no-cache"
