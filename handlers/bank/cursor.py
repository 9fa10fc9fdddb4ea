"""Where the auditor goes on: what outlives a run, in one parameter of Systems Manager.

What it says is never trusted: where it is missing, or none of ours, the auditor begins anew.
"""

import json
from typing import Any, Literal, NamedTuple, Self

from botocore.exceptions import BotoCoreError, ClientError

from handlers.aws import dynamodb, environment
from handlers.aws.dynamodb import client
from handlers.aws.telemetry import logger

# One for each hour of a week.
SHARES = 7 * 24
# https://docs.aws.amazon.com/general/latest/gr/ssm.html: of a parameter that costs nothing
LARGEST_BYTES = 4096
_SEPARATOR = ", "
# More subjects do not fit, however short their keys are.
MOST_AGAIN = LARGEST_BYTES // len(f'"x"{_SEPARATOR}')
# In the order in which a run looks at them; the first two have what can still change.
MODELS = ("ServiceRequest", "Escrow", "TransactionLog", "UserBalance")
OPEN_MODELS = MODELS[:2]


class Subject(NamedTuple):
    """What something is found about: a row of a model's table; of ServiceRequest, all there is about the request."""

    model: str
    key: str


class Cursor(NamedTuple):
    """Where the next run goes on.

    Attributes
    ----------
    hour
        The share that is next, in hours since 1970; its segment of the tables is that, modulo ``SHARES``.
    part
        Whether time ran out in what can still change, or in a share.
    model, after
        Where it ran out: the table, and the key after which to go on.
    again
        That about which something was found: each run looks at it again, until it fits. What only this shows again
        comes first, because there is room for few.
    """

    hour: int
    part: Literal["OPEN", "SHARE"] = "SHARE"
    model: str = MODELS[0]
    after: str | None = None
    again: tuple[Subject, ...] = ()

    def behind(self, hour: int) -> int:
        """How many hourly shares were not looked at in their time, up to the one of this hour."""
        return max(0, hour + 1 - self.hour)

    def caught_up(self, hour: int) -> Self:
        """The same place of the tables, where going through all of them more than twice would show nothing new."""
        return self._replace(hour=self.hour + SHARES * max(0, self.behind(hour) // SHARES - 1))

    def noting(self, subject: Subject, *, first: bool) -> Self:
        """With what is to be looked at again; ``first``: nothing else would show it again before its share does."""
        if subject in self.again and not first:
            return self
        others = tuple(one for one in self.again if one != subject)
        return self._replace(again=((subject, *others) if first else (*others, subject))[:MOST_AGAIN])

    def without(self, subject: Subject) -> Self:
        """With one thing less to be looked at again."""
        return self._replace(again=tuple(one for one in self.again if one != subject))

    def text(self) -> str:
        """As a parameter takes it; what does not fit is left out, at last the key, so that a share begins anew."""
        room = LARGEST_BYTES - len(_text(self._replace(again=()))) + len(_SEPARATOR)
        if room < 0:
            return self._replace(after=None).text()
        kept = []
        for subject in self.again:
            taken = len(_escaped(json.dumps(_short(subject)))) + len(_SEPARATOR)
            if taken <= room:
                room -= taken
                kept.append(subject)
        return _text(self._replace(again=tuple(kept)))


def _short(subject: Subject) -> str | Subject:
    """A request, which is the rule, is its id alone."""
    return subject.key if subject.model == MODELS[0] else subject


def _text(cursor: Cursor) -> str:
    return f"{{{_escaped(json.dumps(cursor._asdict() | {'again': list(map(_short, cursor.again))})[1:-1])}}}"


def _escaped(text: str) -> str:
    # Braces in a client's id would make a reference to another parameter of it, which SSM refuses.
    return text.replace("{", "\\u007b").replace("}", "\\u007d")


def parsed(text: Any, hour: int) -> Cursor:
    """The cursor of a parameter's text, or one that begins with this hour's share."""
    try:
        said = json.loads(text)
        again = tuple(Subject(MODELS[0], one) if isinstance(one, str) else Subject(*one) for one in said["again"])
        cursor = Cursor(**said | {"again": again})
    except (ValueError, TypeError, KeyError, RecursionError):
        return Cursor(hour)
    is_place = cursor.part in ("OPEN", "SHARE") and cursor.model in (MODELS if cursor.part == "SHARE" else OPEN_MODELS)
    # One that DynamoDB refuses would be refused again in each run.
    is_key = cursor.after is None or dynamodb.is_key(cursor.after)
    # One from the future would stand still until then.
    is_hour = type(cursor.hour) is int and 0 <= cursor.hour <= hour + 1
    is_about = all(model in MODELS and dynamodb.is_key(key) for model, key in cursor.again)
    return cursor if is_place and is_key and is_hour and is_about else Cursor(hour)


def load(hour: int) -> Cursor:
    """What the last run has left."""
    try:
        answer = client("ssm").get_parameter(Name=environment.audit_cursor())
    except (ClientError, BotoCoreError) as error:
        logger.warning("The auditor begins anew: where it was is not known", reason=_code(error))
        return Cursor(hour)
    return parsed(answer["Parameter"]["Value"], hour)


def save(cursor: Cursor) -> None:
    """Leaves it to the next run; where that cannot be, the next run does this one's work again."""
    try:
        client("ssm").put_parameter(Name=environment.audit_cursor(), Value=cursor.text(), Type="String", Overwrite=True)
    except (ClientError, BotoCoreError) as error:
        logger.warning("The next run will not know where this one was", reason=_code(error))


def _code(error: ClientError | BotoCoreError) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
