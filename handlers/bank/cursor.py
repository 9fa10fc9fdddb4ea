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
# More requests do not fit, however short their ids are.
MOST_AGAIN = LARGEST_BYTES // len(f'"x"{_SEPARATOR}')
# In the order in which a run looks at them.
MODELS = ("ServiceRequest", "Escrow")


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
        The requests about which something was found: each run looks at them again, until they fit. What only this
        shows again comes first, because there is room for few.
    """

    hour: int
    part: Literal["OPEN", "SHARE"] = "SHARE"
    model: str = MODELS[0]
    after: str | None = None
    again: tuple[str, ...] = ()

    def behind(self, hour: int) -> int:
        """How many hourly shares were not looked at in their time, up to the one of this hour."""
        return max(0, hour + 1 - self.hour)

    def caught_up(self, hour: int) -> Self:
        """The same place of the tables, where going through all of them more than twice would show nothing new."""
        return self._replace(hour=self.hour + SHARES * max(0, self.behind(hour) // SHARES - 1))

    def noting(self, request_id: str, *, first: bool) -> Self:
        """With a request to be looked at again; ``first``: nothing else would show it again before its share does."""
        if request_id in self.again and not first:
            return self
        others = tuple(id_ for id_ in self.again if id_ != request_id)
        return self._replace(again=((request_id, *others) if first else (*others, request_id))[:MOST_AGAIN])

    def text(self) -> str:
        """As a parameter takes it; what does not fit is left out, at last the key, so that a share begins anew."""
        room = LARGEST_BYTES - len(_text(self._replace(again=()))) + len(_SEPARATOR)
        if room < 0:
            return self._replace(after=None).text()
        kept = []
        for id_ in self.again:
            taken = len(_escaped(json.dumps(id_))) + len(_SEPARATOR)
            if taken <= room:
                room -= taken
                kept.append(id_)
        return _text(self._replace(again=tuple(kept)))


def _text(cursor: Cursor) -> str:
    return f"{{{_escaped(json.dumps(cursor._asdict())[1:-1])}}}"


def _escaped(text: str) -> str:
    # Braces in a client's id would make a reference to another parameter of it, which SSM refuses.
    return text.replace("{", "\\u007b").replace("}", "\\u007d")


def parsed(text: Any, hour: int) -> Cursor:
    """The cursor of a parameter's text, or one that begins with this hour's share."""
    try:
        said = json.loads(text)
        cursor = Cursor(**said | {"again": tuple(said["again"])})
    except (ValueError, TypeError, KeyError, RecursionError):
        return Cursor(hour)
    is_place = cursor.part in ("OPEN", "SHARE") and cursor.model in MODELS
    # One that DynamoDB refuses would be refused again in each run.
    has_key = cursor.after is None or dynamodb.is_key(cursor.after)
    # One from the future would stand still until then.
    is_hour = type(cursor.hour) is int and 0 <= cursor.hour <= hour + 1
    is_ours = is_place and has_key and is_hour and all(map(dynamodb.is_key, cursor.again))
    return cursor if is_ours else Cursor(hour)


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
