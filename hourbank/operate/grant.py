"""`hourbank grant`: hours of the bank for a user, and entries for what users were given before there were any."""

from __future__ import annotations

import os
from decimal import Decimal

from rich.console import Console

from handlers.aws.dynamodb import client
from handlers.bank import hours, ledger
from handlers.bank.books import Books, UserAccount
from handlers.bank.errors import GrantRefused
from handlers.bank.ledger import OPENING
from hourbank.account.stack import Stack
from hourbank.errors import HourBankError
from hourbank.local import people
from hourbank.operate.orders import Confirm, caller, log
from hourbank.operate.report import live, many, so_far
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
    with so_far(lambda: "give the same again: it is granted once for each reason"):
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
    books = _read_books()
    due, odd = books.due(), books.odd()
    if not as_json:
        _tell(console, books, due, odd)
    outcomes: dict[str, str] = {}
    if due:
        if not confirm(f"Enter {'it' if len(due) == 1 else 'them'} so? No balance changes."):
            raise HourBankError("nothing was done")
        who = by or caller()
        outcomes = _enter_all(due)
        entered = sum(outcome == "ENTERED" for outcome in outcomes.values())
        log(stack, "grant", who, OPENING, entered=entered, left=len(due) - entered)
    left = {user: outcome for user, outcome in outcomes.items() if outcome != "ENTERED"}
    ok = not left and not odd
    if as_json:
        rows = [
            {"userId": user, "hours": account.difference, "outcome": outcomes[user]} for user, account in due.items()
        ]
        rows += [{"userId": user, "hours": None, "outcome": problem} for user, problem in odd.items()]
        print_json(
            console,
            stack=stack.env,
            region=stack.region,
            ok=ok,
            rows=rows,
            balances=books.balances,
            entries=books.entries,
        )
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


def _read_books() -> Books:
    """Read all balances and entries."""
    books = Books()

    def words() -> str:
        return f"{many(books.balances, 'balance')} and {many(books.entries, 'entry', 'entries')} read"

    with so_far(lambda: f"{words()}; nothing was entered: give it again"), live(words):
        for _ in books.read():
            pass
    return books


def _enter_all(due: dict[str, UserAccount]) -> dict[str, str]:
    """Enter what each lacks, one by one; return what came of it."""
    outcomes: dict[str, str] = {}

    def words() -> str:
        return f"{len(outcomes)} of {len(due)} entered"

    with so_far(lambda: f"{words()}; give it again for the others"), live(words):
        for user, account in due.items():
            outcomes[user] = _enter(user, account)
    return outcomes


def _enter(user: str, account: UserAccount) -> str:
    reason = OPENING if not account.openings else f"{OPENING} {account.openings + 1}"
    if not hours.adds_up(Decimal(0), account.difference):
        return "it has more digits than an entry takes"
    try:
        ledger.explain(user, account.row, account.difference, reason)
    except GrantRefused as refusal:
        return str(refusal)
    return "ENTERED"


def _tell(console: Console, books: Books, due: dict[str, UserAccount], odd: dict[str, str]) -> None:
    """Print what was read, what would be entered, and of whom nothing can be said."""
    say(console, f"{many(books.balances, 'balance')} and {many(books.entries, 'entry', 'entries')} read")
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
