"""The whole thing on the emulator, and what tests do with it: people, waits, time-outs that are skipped, laws."""

import json
from decimal import Decimal

from hourbank import laws
from hourbank.local import deploy, people
from hourbank.local.emulator import Emulator
from hourbank.local.tables import plain, read_ledger
from hourbank.stories import stage, stories
from tests.helpers.waiting import until

CONFIG = {"hourbank:startRequestsFrom": "2026-01-01T00:00:00Z"}
RICH = Decimal(1000)
FOR_FIVE = Decimal("12.5")


class World:
    """The deployment, and what a test does with it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.dynamodb = emulator.client("dynamodb")
        self.states = emulator.client("stepfunctions")
        self.tables = deploy.create_tables(emulator)
        self.old = stage.old_records()
        for record in self.old:
            people.submit(self.dynamodb, self.tables, record)
        self.deploy()
        deploy.grant_hours(self.deployment, {**stories.BALANCES, "rosa": RICH, "theo": RICH, "vera": FOR_FIVE})
        self.before = self.ledger()

    def deploy(self) -> None:
        # whose time runs out is for a test to say
        self.deployment = deploy.deploy(self.emulator, config=CONFIG, response_timeout_seconds=24 * 3600)

    def ledger(self) -> laws.Ledger:
        return read_ledger(self.dynamodb, self.tables)

    def submit(self, **changes) -> str:
        record = people.request_record(requester="rosa", provider="theo", hours=Decimal(2)) | changes
        return people.submit(self.dynamodb, self.tables, record)

    def record(self, request_id: str) -> dict:
        key = {"id": {"S": request_id}}
        answer = self.dynamodb.get_item(TableName=self.tables["serviceRequest"], Key=key, ConsistentRead=True)
        return plain(answer.get("Item", {}))

    def until(self, request_id: str, *statuses: str) -> dict:
        """Wait until the request has one of the statuses, and return its record."""

        def found() -> dict:
            record = self.record(request_id)
            return record if record.get("status") in statuses else {}

        return until(found, moving=lambda: self.moving(request_id), what=f"{' or '.join(statuses)} of {request_id}")

    def until_closed(self, request_id: str) -> list[dict]:
        """Wait until the executions of a request have ended, and return them."""

        def found() -> list[dict]:
            executions = self.deployment.executions(request_id)
            return [] if any(execution["status"] == "RUNNING" for execution in executions) else executions

        return until(found, moving=lambda: self.moving(request_id), what=f"the end of {request_id}'s executions")

    def outcome(self, execution_arn: str) -> str:
        """Wait until an execution has ended, and return its outcome."""

        def found() -> dict:
            execution = self.states.describe_execution(executionArn=execution_arn)
            return {} if execution["status"] == "RUNNING" else execution

        ended = until(
            found, moving=lambda: len(self.deployment.history(execution_arn)), what=f"its end: {execution_arn}"
        )
        return str(json.loads(ended["output"])["outcome"])

    def moving(self, request_id: str) -> object:
        """All that may change while a request goes on, or others do that are before it."""
        executions = self.deployment.executions(request_id)
        return self.ledger(), [len(self.deployment.history(one["executionArn"])) for one in executions]

    def run_out(self, token: str) -> None:
        """Let the time of the wait with this token run out now: what Step Functions does when it has."""
        self.states.send_task_failure(taskToken=token, error="States.Timeout", cause="a test skips the time")

    def provider(self, request_id: str, response: str, **offer) -> None:
        people.provider_says(self.dynamodb, self.tables, request_id, response, **offer)

    def requester(self, request_id: str, response: str) -> None:
        people.requester_says(self.dynamodb, self.tables, request_id, response)

    def assert_laws(self) -> None:
        after = self.ledger()
        statuses = {
            escrow["executionArn"]: self.states.describe_execution(executionArn=escrow["executionArn"])["status"]
            for escrow in after.escrows.values()
            if escrow["status"] == "HELD"
        }
        assert laws.made_or_lost(self.before, after) == []
        assert laws.hours_held_for_nobody(after, statuses) == []
