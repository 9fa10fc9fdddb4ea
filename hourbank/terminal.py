"""What a person reads in a terminal: lines, steps, hours and times."""

from __future__ import annotations

import codecs
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what only prints a line starts without Rich
    from rich.console import Console, RenderableType
    from rich.text import Text

# What stands for a character that the user's locale does not have.
PLAIN = {"→": "->", "✓": "+", "✗": "x", "…": "...", "≤": "<=", "≥": ">=", "−": "-", "│": "|", "▶": ">"}


def print_in_any_locale() -> None:
    """From now on, print what the user's locale has no character for as something like it, and never fail of it."""
    codecs.register_error("hourbank", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # nothing where it is closed
            stream.reconfigure(errors="hourbank")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(char, "?") for char in error.object[error.start : error.end]), error.end


def put(text: str) -> None:
    """Write a whole file's text to standard output: UTF-8, as its readers expect, unless a person reads it here."""
    if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    if sys.stdout:  # it may be closed
        sys.stdout.write(text)


def printable(text: object) -> str:
    """Return a text in which nothing can speak to a terminal: ids and names are whatever clients chose."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def say(console: Console, *parts: str | tuple[str, str]) -> None:
    """Print a whole line, for a terminal to wrap and for copying; parts may have a style."""
    from rich.text import Text

    line = Text()
    for text, style in ((part, "") if isinstance(part, str) else part for part in parts):
        line.append(printable(text), style)
    console.print(line, soft_wrap=True)


def title(console: Console, title: str) -> None:
    """Print a heading, with a line before it."""
    console.print()
    say(console, (title, "bold"))


class JsonDocument:
    """What a command finds as JSON, in the one shape that all of them have: docs/operate/commands.md.

    Each row is a line, printed when it is there. Decimals become strings with all of their digits, times ISO 8601 in
    UTC.
    """

    def __init__(self, console: Console, *, stack: str, region: str) -> None:
        self._console, self._begin = console, {"stack": stack, "region": region}
        self._rows, self.is_open = 0, False

    def row(self, row: Mapping[str, Any]) -> None:
        """Print a row; the frame begins with the first one."""
        self._console.file.write(",\n " if self._rows else f'{self._opening()}"rows": [\n ')
        self._console.file.write(json.dumps(row, default=_in_json))
        self._console.file.flush()
        self._rows, self.is_open = self._rows + 1, True

    def end(self, *, ok: bool, **more: Any) -> None:
        """Print what is known at the end.

        Parameters
        ----------
        ok : bool
            Whether the command's exit status is 0.
        more
            What else the command says.
        """
        self.is_open = False
        begin = "\n], " if self._rows else f'{self._opening()}"rows": [], '
        self._console.file.write(begin + json.dumps({"ok": ok} | more, default=_in_json)[1:] + "\n")

    def _opening(self) -> str:
        return json.dumps(self._begin)[:-1] + ", "


@contextmanager
def json_document(console: Console, *, stack: str, region: str) -> Iterator[JsonDocument]:
    """Let rows be printed as they are found; what ends in their midst is closed, with `incomplete`, and can be read."""
    document = JsonDocument(console, stack=stack, region=region)
    try:
        yield document
    except BrokenPipeError:
        raise
    except BaseException:
        if document.is_open:
            document.end(ok=False, incomplete=True)
        raise


def print_json(
    console: Console, *, stack: str, region: str, ok: bool, rows: Iterable[Mapping[str, Any]], **more: Any
) -> None:
    """Print what a command has found as a `JsonDocument`."""
    with json_document(console, stack=stack, region=region) as document:
        for row in rows:
            document.row(row)
        document.end(ok=ok, **more)


def _in_json(value: object) -> object:
    from handlers.aws.dynamodb import date_time  # the command line must start without the handlers

    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return date_time(value)
    return sorted(map(str, value)) if isinstance(value, set) else str(value)


def show(console: Console, what: RenderableType) -> None:
    """Print, with no spaces at the ends of a file's lines, which Rich fills up to its width."""
    with console.capture() as capture:
        console.print(what)
    for line in capture.get().splitlines():
        console.file.write(line.rstrip() + "\n")


@contextmanager
def step(console: Console, text: str) -> Iterator[None]:
    """Show what is being done, and at its end how long it took."""
    from rich.text import Text

    began = time.monotonic()
    with console.status(text):
        yield
    console.print(tick(text), Text(f"{time.monotonic() - began:.1f} s", style="dim"), soft_wrap=True)


def tick(text: str) -> Text:
    """Return a line for what is done."""
    from rich.text import Text

    return Text.assemble(("✓ ", "bold green"), text)


def one_line(error: Exception) -> str:
    """Return an error's own words in one line."""
    return " ".join(str(error).split())[:300]


def in_hours(hours: Decimal) -> str:
    """Return `1 hour` or `2.5 hours`."""
    from handlers.bank.hours import in_words  # the command line must start without the handlers

    return f"{in_words(hours)} hour{'' if hours == 1 else 's'}"


def duration(time_: timedelta) -> str:
    """Return a time span in words, to its largest unit: 3 days, 2 h, 5 min, 10 s."""
    seconds = int(time_.total_seconds())
    for unit, size in ((" days", 86400), (" h", 3600), (" min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds} s"


def short_duration(time_: timedelta) -> str:
    """Return a time span as `duration`, with a decimal where it is below 10 s."""
    seconds = time_.total_seconds()
    return f"{seconds:.1f} s" if seconds < 10 else duration(time_)


def at(moment: datetime | None) -> str:
    """Return a moment to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "at an unknown time"
