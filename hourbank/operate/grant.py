"""`hourbank grant`: hours of the bank for a user, and entries for what users were given before there were any."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.console import Console

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item, client
from handlers.bank import hours, ledger
from handlers.bank.errors import GrantRefused, ReleaseRefused
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError
from hourbank.laws import OPENING
from hourbank.local import people
from hourbank.operate.orders import Confirm, caller, log
from hourbank.operate.report import live, many
from hourbank.terminal import in_hours, print_json, say

MOST_LINES = 20


def grant_hours(
    console: Console,
    stack: Stack,
    user_id: str,
    amount: Decimal,
    *,
    by: str | None,
    reason: str,
    confirm: Confirm,
    as_json: bool = False,
) -> bool:
    """Let the stack's grantHours give a user hours, and return whether the user has been granted them, now or before.

    Raises
    ------
    HourBankError
        If there is no yes, no such function, or it fails.
    """
    if not as_json:
        say(console, f"{in_hours(amount)} go from bank to user:{user_id}, for: {reason}")
    if not confirm("Grant them so?"):
        raise HourBankError("nothing was done")
    who = by or caller()
    answer = people.ask_for_hours(client("lambda"), stack.env, user_id, amount, reason)
    outcome, message = answer["outcome"], answer["message"]
    is_granted = outcome == "GRANTED"
    if as_json:
        row = {"userId": user_id, "hours": amount, "reason": reason, "outcome": outcome, "message": message}
        print_json(console, stack=stack.env, region=stack.region, ok=is_granted, rows=[row])
    else:
        say(console, message if is_granted else f"refused: {message}")
    log(stack, "grant", who, reason, userId=user_id, hours=str(amount), outcome=outcome)
    return is_granted


# --- opening balances -------------------------------------------------------------------------------------------------


@dataclass
class UserAccount:
    """A user's balance beside what its entries say.

    Attributes
    ----------
    row
        As it was read before the entries; None: there is none.
    said
        What they add up to.
    openings
        How many opening balances are among them.
    problem
        Why nothing can be said of it; empty where something can.
    """

    row: Item | None = None
    said: Decimal = Decimal(0)
    openings: int = 0
    problem: str = ""

    @property
    def difference(self) -> Decimal:
        """What the balance has more than its entries say; 0 where nothing can be said."""
        if self.problem:
            return Decimal(0)
        has = (self.row or {}).get("availableBalance", Decimal(0))
        return hours.total([has, self.said.copy_negate()])


def open_books(console: Console, stack: Stack, *, by: str | None, confirm: Confirm, as_json: bool = False) -> bool:
    """Enter what balances have beside their entries as opening balances; no balance changes.

    Returns
    -------
    Whether by now every balance is what its entries say.

    Raises
    ------
    HourBankError
        If there is no yes.
    """
    os.environ |= _tables(stack)
    accounts: defaultdict[str, UserAccount] = defaultdict(UserAccount)
    read = [0, 0]
    with live(lambda: f"{many(read[0], 'balance')} and {many(read[1], 'entry', 'entries')} read"):
        for page in dynamodb.pages("UserBalance"):
            read[0] += len(page)
            _read_balances(accounts, page)
        # only then the entries: what moves meanwhile is in them, and its balance was written since it was read
        for page in dynamodb.pages("TransactionLog"):
            read[1] += len(page)
            _read_entries(accounts, page)
    due = {user: account for user, account in sorted(accounts.items()) if account.difference}
    odd = {user: account.problem for user, account in sorted(accounts.items()) if account.problem}
    if not as_json:
        _tell(console, read, due, odd)
    outcomes = {}
    if due:
        if not confirm(f"Enter {'it' if len(due) == 1 else 'them'} so? No balance changes."):
            raise HourBankError("nothing was done")
        who = by or caller()
        with live(lambda: f"{len(outcomes)} of {len(due)} entered"):
            for user, account in due.items():
                outcomes[user] = _enter(user, account)
        entered = sum(outcome == "ENTERED" for outcome in outcomes.values())
        log(stack, "grant", who, OPENING, entered=entered, left=len(due) - entered)
    left = {user: outcome for user, outcome in outcomes.items() if outcome != "ENTERED"}
    ok = not left and not odd
    if as_json:
        rows = [
            {"userId": user, "hours": account.difference, "outcome": outcomes[user]} for user, account in due.items()
        ]
        rows += [{"userId": user, "hours": None, "outcome": problem} for user, problem in odd.items()]
        print_json(console, stack=stack.env, region=stack.region, ok=ok, rows=rows, balances=read[0], entries=read[1])
    elif due:
        for user, outcome in left.items():
            say(console, f"{user}: {outcome}")
        say(console, f"{many(len(due) - len(left), 'opening balance')} entered" + ("; give it again" if left else ""))
    return ok


def _tables(stack: Stack) -> dict[str, str]:
    """Return the variables that name the tables, as the function that grants hours has them."""
    functions, name = client("lambda"), f"hourbank-grantHours-{stack.env}"
    try:
        told = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    except functions.exceptions.ResourceNotFoundException:
        raise HourBankError(f"stack {stack.env} has no function {name}: deploy this version first") from None
    return {variable: value for variable, value in told.items() if variable.endswith("_TABLE_NAME")}


def _read_balances(accounts: defaultdict[str, UserAccount], page: list[Item]) -> None:
    for row in page:
        account = accounts[row["userId"]]
        account.row = row
        if not hours.adds_up(row.get("availableBalance", Decimal(0)), Decimal(0)):
            account.problem = "its balance is no number"


def _read_entries(accounts: defaultdict[str, UserAccount], page: list[Item]) -> None:
    for entry in page:
        for user in _users(entry):
            account = accounts[user]
            account.openings += entry.get("type") == ledger.GRANT and str(entry.get("reason")).startswith(OPENING)
            try:
                account.said = hours.total([account.said, ledger.balance_by(user, [entry])])
            except ReleaseRefused as refusal:
                account.problem = str(refusal)


def _users(entry: Item) -> Iterator[str]:
    """Yield the users whose accounts an entry names."""
    for account in {str(entry.get("fromAccount")), str(entry.get("toAccount"))}:
        if account.startswith("user:"):
            yield account.removeprefix("user:")


def _enter(user: str, account: UserAccount) -> str:
    reason = OPENING if not account.openings else f"{OPENING} {account.openings + 1}"
    if not hours.adds_up(Decimal(0), account.difference):
        return "it has more digits than an entry takes"
    try:
        ledger.explain(user, account.row, account.difference, reason)
    except GrantRefused as refusal:
        return str(refusal)
    return "ENTERED"


def _tell(console: Console, read: list[int], due: dict[str, UserAccount], odd: dict[str, Any]) -> None:
    """Print what was read, what would be entered, and of whom nothing can be said."""
    say(console, f"{many(read[0], 'balance')} and {many(read[1], 'entry', 'entries')} read")
    lines = [_in_words(user, account.difference) for user, account in due.items()]
    lines += [f"user:{user} is left out: {problem}" for user, problem in odd.items()]
    for line in lines[:MOST_LINES]:
        say(console, line)
    if len(lines) > MOST_LINES:
        say(console, f"and {len(lines) - MOST_LINES} more, which --json prints")
    if due:
        total = hours.total(account.difference for account in due.values())
        say(console, f"{many(len(due), 'balance')} to explain, {hours.in_words(total)} h in all")
    elif not odd:
        say(console, ("every balance is what its entries say", "bold green"))


def _in_words(user: str, difference: Decimal) -> str:
    if difference > 0:
        return f"user:{user} has {hours.in_words(difference)} h that no entry explains: bank → user:{user}"
    less = hours.in_words(difference.copy_negate())
    return f"user:{user} has {less} h less than its entries say: user:{user} → bank"
