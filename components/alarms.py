"""The one way in which an alarm is declared."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.settings import Settings

FIVE_MINUTES = 5 * 60
# explains each alarm; a test holds the two together
RUNBOOK = "docs/operate/runbook.md"


def alarm(
    name: str,
    settings: Settings,
    *,
    description: str,
    section: str,
    namespace: str,
    metric: str,
    dimensions: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
    statistic: str = "Sum",
    threshold: float = 1,
    period: int = FIVE_MINUTES,
    when_missing: bool = False,
    is_kept: bool = False,
) -> aws.cloudwatch.MetricAlarm:
    """An alarm that goes off when the metric reaches the threshold in a period; no data is good news.

    With ``when_missing`` it is the other way round: it goes off when the metric stays below the threshold, or away.
    With ``is_kept`` no data is no news: the alarm stays what it was.
    Its description ends in the section of the runbook, by its anchor, that says what to do.
    It tells ``hourbank:alarmTopicArn``, where that is set, when it goes off and when it recovers.
    """
    actions = [settings.alarm_topic_arn] if settings.alarm_topic_arn else None
    return aws.cloudwatch.MetricAlarm(
        name,
        name=f"hourbank-{name}-{settings.env}",
        alarm_description=f"{description} What to do: {RUNBOOK}#{section}",
        namespace=namespace,
        metric_name=metric,
        dimensions=dimensions,
        statistic=statistic,
        period=period,
        evaluation_periods=1,
        threshold=threshold,
        comparison_operator="LessThanThreshold" if when_missing else "GreaterThanOrEqualToThreshold",
        treat_missing_data="breaching" if when_missing else "ignore" if is_kept else "notBreaching",
        alarm_actions=actions,
        ok_actions=actions,
        tags=settings.tags,
        opts=pulumi.ResourceOptions(parent=parent),
    )
