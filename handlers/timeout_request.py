"""TimeoutRequest and TimeoutNegotiation: an answer that was stored counts, even if its delivery was late."""

from typing import Any

from handlers.aws.telemetry import logged
from handlers.bank import ledger, requests
from handlers.bank.endings import TIME_OUTS
from handlers.bank.events import publish_end
from handlers.bank.execution import Execution


@logged
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """The answer that was stored, as the wait would have given it; TIMED_OUT, or how an operator ended it before."""
    run = Execution.of(event)
    find_answer = requests.provider_silence if run.state == "TimeoutRequest" else requests.requester_silence
    ended = ledger.refund(run, "TIMED_OUT", TIME_OUTS[run.state], unless=find_answer)
    if ended.answer:
        return {"answer": ended.answer}
    publish_end(run.request_id, ended)
    return {"answer": ended.outcome}
