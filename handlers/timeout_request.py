"""TimeoutRequest and TimeoutNegotiation: an answer that was stored counts, even if its delivery was late."""

from typing import Any

from handlers import ledger, requests
from handlers.endings import TIME_OUTS
from handlers.events import publish_end
from handlers.execution import Execution
from handlers.telemetry import logged


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """The answer that was stored, as the wait would have given it; TIMED_OUT, or how an operator ended it before."""
    run = Execution.of(event)
    find_answer = requests.provider_answer if run.state == "TimeoutRequest" else requests.requester_answer
    ended = ledger.refund(run, "TIMED_OUT", TIME_OUTS[run.state], unless=find_answer)
    if ended.answer:
        return {"answer": ended.answer}
    publish_end(run.request_id, ended)
    return {"answer": ended.outcome}
