"""What doctor says of an account: one line on each thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GONE = {"NoSuchEntity", "NotFound", "NotFoundException", "ResourceNotFoundException"}


class Outcome(Enum):
    """How a check ended: the mark that it has in the table, and its colour."""

    FITS = ("✓", "green")
    NOTE = ("!", "yellow")
    MISS = ("✗", "bold red")
    UNSEEN = ("?", "yellow")


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes
    ----------
    what : str
        What was looked at.
    found : str
        What is so.
    remedy : str
        What to do; empty where nothing is to be done.
    """

    what: str
    outcome: Outcome
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Account:
    """Where the stack is, or is going to be."""

    id: str
    region: str
    partition: str
    led: str = ""
    """What of the stack's configuration leads there, in words."""

    def __str__(self) -> str:
        return f"account {self.id} in {self.region}{self.led and f', by {self.led}'}"
