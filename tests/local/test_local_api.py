"""A request goes through both workflows by what people do in an app: mutations of Amplify's API, and nothing else."""

import http.client
import json
from datetime import timedelta
from decimal import Decimal

import pytest

from components.subscriptions import ARGUMENTS
from handlers.aws.dynamodb import date_time, now
from hourbank import laws
from hourbank.local import deploy
from hourbank.local.deployment import APPSYNC_ENDPOINT
from hourbank.local.emulator import Emulator
from hourbank.local.page.realtime import listening
from hourbank.local.page.server import Console, serve
from hourbank.local.tables import read_ledger
from tests.helpers.subscriber import Subscriber
from tests.helpers.waiting import ENDLESS_SECONDS, until

pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("local-api")]

MINUTES = 24 * 60


class Browser:
    """What a page does; it keeps every answer that it was given."""

    def __init__(self, address: str) -> None:
        self._address, self.answers = address.removeprefix("http://"), []
        self._tokens = {person["userId"]: person["token"] for person in self.get("config")["people"]}

    def get(self, path: str):
        return json.loads(self.load(f"/local/{path}"))

    def ask(self, who: str, query: str, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = json.loads(self.load("/graphql", "POST", body, {"Authorization": self._tokens[who]}))
        assert "errors" not in answer, answer
        return answer["data"]

    def until(self, who: str, request_id: str, status: str) -> None:
        query = "query Get($id: ID!) { getServiceRequest(id: $id) { status } }"

        def has_the_status() -> bool:
            seen = self.ask(who, query, id=request_id)["getServiceRequest"]["status"]
            # whenever one looks, no hour is missing, and none is there twice
            assert self.get("ledger")["total"] == "20"
            return seen == status

        until(has_the_status, moving=lambda: self.get(f"requests/{request_id}"), what=status)

    def answer(self, who: str, **given) -> None:
        say = "mutation Say($input: UpdateServiceRequestInput!) { updateServiceRequest(input: $input) { id } }"
        self.ask(who, say, input=given)

    def load(self, path: str, method: str = "GET", body: bytes | None = None, headers: dict | None = None) -> str:
        connection = http.client.HTTPConnection(self._address, timeout=ENDLESS_SECONDS)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        assert response.status == 200
        self.answers.append(response.read().decode())
        return self.answers[-1]


def test_a_counter_offer_is_made_accepted_and_paid_by_mutations_alone():
    with Emulator() as emulator:
        dynamodb, tables = emulator.client("dynamodb"), deploy.create_tables(emulator)
        config = {"hourbank:startRequestsFrom": now(), "hourbank:appsyncEndpoint": APPSYNC_ENDPOINT}
        deployment = deploy.deploy(emulator, response_timeout_seconds=MINUTES * 60, config=config)
        deploy.grant_hours(deployment, {"ana": Decimal(10), "chloé": Decimal(10)})
        before = read_ledger(dynamodb, tables)
        console = Console(deployment, MINUTES * 60, "a run")
        with listening(deployment, console.realtime), serve(console, port=0) as address:
            browser, tokens = Browser(address), set()
            told = {who: Subscriber(address.removeprefix("http://"), who).subscribed() for who in ("ana", "chloé")}

            def remember_the_token(request_id: str) -> None:
                item = dynamodb.get_item(TableName=tables["serviceRequest"], Key={"id": {"S": request_id}})["Item"]
                tokens.add(item["taskToken"]["S"])

            # Given a request that was made, and countered, through the API
            create = "mutation Ask($input: CreateServiceRequestInput!) { createServiceRequest(input: $input) { id } }"
            given = {"serviceId": "garden", "requesterId": "ana", "providerId": "chloé", "estimatedHours": 2.5}
            request_id = browser.ask("ana", create, input=given)["createServiceRequest"]["id"]
            browser.until("chloé", request_id, "AWAITING_PROVIDER")
            remember_the_token(request_id)
            (execution,) = browser.get(f"requests/{request_id}")["executions"]
            assert (execution["machine"], execution["status"]) == ("ServiceRequestWorkflow", "RUNNING")
            assert execution["path"][-1] == execution["current"] == "WaitForProviderResponse"
            (own,) = deployment.executions(request_id)
            events = deployment.history(own["executionArn"])
            asked = [event["timestamp"] for event in events if event["type"] == "TaskScheduled"][-1]
            assert execution["deadline"] == date_time(asked + timedelta(minutes=MINUTES))
            browser.answer("chloé", id=request_id, providerResponse="COUNTER_OFFER", counterOfferHours=3.25)
            browser.until("ana", request_id, "NEGOTIATING")
            remember_the_token(request_id)
            # When the requester accepts, and confirms
            browser.answer("ana", id=request_id, requesterResponse="ACCEPTED")
            browser.until("ana", request_id, "IN_PROGRESS")
            browser.answer("ana", id=request_id, requesterResponse="COMPLETED")
            browser.until("ana", request_id, "COMPLETED")
            # Then the provider has the hours, and both see what became of them
            look = """query Look($me: ID!) {
              getUserBalance(userId: $me) { availableBalance }
              listEscrows { items { hours status } }
            }"""
            for who, hours in (("ana", 6.75), ("chloé", 13.25)):
                assert browser.ask(who, look, me=who) == {
                    "getUserBalance": {"availableBalance": hours},
                    "listEscrows": {"items": [{"hours": 3.25, "status": "RELEASED"}]},
                }
            entries = [(entry["type"], entry["hours"]) for entry in browser.get("ledger")["entries"]]
            moved = [("ESCROW_ADJUST", "0.75"), ("ESCROW_HOLD", "2.5"), ("ESCROW_RELEASE", "3.25")]
            assert sorted(entries) == [*moved, ("GRANT", "10"), ("GRANT", "10")]
            executions = browser.get(f"requests/{request_id}")["executions"]
            assert [one["machine"] for one in executions] == ["ServiceRequestWorkflow", "EscrowManagementWorkflow"]
            assert executions[0]["status"] == "SUCCEEDED"
            assert executions[0]["path"][-1] == "StartServiceExecution"
            assert executions[0]["deadline"] is None
            # and each has heard, at least once, what concerns them, and nothing else
            for who, status in (("chloé", "AWAITING_PROVIDER"), ("ana", "COMPLETED")):
                heard: list[dict[str, str]] = []
                while status not in [one["status"] for one in heard]:
                    heard.append(told[who].hear()["payload"]["data"]["onRequestEvent"])
                told[who].socket.close()
                assert all(one.keys() == ARGUMENTS.keys() for one in heard)
                assert {(one["userId"], one["requestId"]) for one in heard} == {(who, request_id)}
            for machine in ("ServiceRequestWorkflow", "EscrowManagementWorkflow"):
                assert browser.load(f"/local/diagrams/{machine}.svg").startswith("<svg")
        assert laws.made_or_lost(before, read_ledger(dynamodb, tables)) == []
    # and no answer had a task token
    assert len(tokens) == 2
    assert [answer for answer in browser.answers if any(token in answer for token in tokens)] == []
    assert "taskToken" not in "".join(answer for answer in browser.answers if not answer.startswith("<svg"))
