"""Logs and metrics. A task token is a secret, so events, which carry it, are never logged."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

Handler = Callable[[dict[str, Any], Any], Any]

logger = Logger()


def logged(handler: Handler) -> Handler:
    """Every line that the handler logs carries the request's id; the environment cannot turn on logging the event."""
    return logger.inject_lambda_context(
        handler, correlation_id_path="execution.Input.requestId", log_event=False, clear_state=True
    )


def count(metric: str, **dimensions: str) -> None:
    """One occurrence, in the Embedded Metric Format: a line of the log that CloudWatch turns into a metric."""
    with single_metric(name=metric, unit=MetricUnit.Count, value=1) as embedded:
        for name, value in dimensions.items():
            embedded.add_dimension(name=name, value=value)


def measure(metric: str, hours: Decimal) -> None:
    """Hours for a graph; the exact number is in the ledger."""
    with single_metric(name=metric, unit=MetricUnit.NoUnit, value=float(hours)):
        pass


def gauge(metric: str, value: int) -> None:
    """A number as it is at this moment."""
    with single_metric(name=metric, unit=MetricUnit.NoUnit, value=value):
        pass
