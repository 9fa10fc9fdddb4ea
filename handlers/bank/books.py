"""Balances held against the log: what each user has beside what all entries say.

No index has the entries by user, so one pass reads all balances, and then all entries; a user takes some hundred bytes.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from handlers.aws import dynamodb
from handlers.aws.dynamodb import Item
from handlers.bank import hours, ledger, requests
from handlers.bank.errors import ReleaseRefused

# Of what a page reads; how long a transaction may take to be seen; what is kept of a balance, for little memory.
_PAGE = 1000
_MOMENT = timedelta(minutes=1)
_KEPT = ("availableBalance", "updatedAt")


@dataclass(slots=True)
class UserAccount:
    """A user's balance beside what its entries say.

    Attributes
    ----------
    row
        Number and last change as they were read before the entries; None: there is none.
    said
        What the entries add up to.
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


class Books:
    """All users' accounts; complete once ``read`` is exhausted."""

    def __init__(self) -> None:
        self.accounts: defaultdict[str, UserAccount] = defaultdict(UserAccount)
        self.balances = 0
        self.entries = 0
        self.grants = 0

    def read(self) -> Iterator[None]:
        """Reads a page at a time, so that whoever waits can show how far it is, or stop.

        Balances come first: what moves meanwhile is in the entries, and its balance was written since it was read.
        """
        for page in dynamodb.pages("UserBalance", _PAGE):
            self.balances += len(page)
            for row in page:
                self._read_balance(row)
            yield
        for page in dynamodb.pages("TransactionLog", _PAGE):
            self.entries += len(page)
            for entry in page:
                self._read_entry(entry)
            yield

    def due(self) -> dict[str, UserAccount]:
        """The accounts whose balance is not what the entries say, by user."""
        return {user: account for user, account in sorted(self.accounts.items()) if account.difference}

    def odd(self) -> dict[str, str]:
        """Why nothing can be said of an account, by user."""
        return {user: account.problem for user, account in sorted(self.accounts.items()) if account.problem}

    def _read_balance(self, row: Item) -> None:
        account = self.accounts[row["userId"]]
        account.row = {name: row[name] for name in _KEPT if name in row}
        if not hours.adds_up(row.get("availableBalance", Decimal(0)), Decimal(0)):
            account.problem = "its balance is no number"

    def _read_entry(self, entry: Item) -> None:
        is_grant = entry.get("type") == ledger.GRANT
        self.grants += is_grant
        for user in users_of(entry):
            account = self.accounts[user]
            account.openings += is_grant and str(entry.get("reason")).startswith(ledger.OPENING)
            try:
                account.said = hours.total([account.said, ledger.balance_by(user, [entry])])
            except ReleaseRefused as refusal:
                account.problem = str(refusal)


def users_of(entry: Item) -> Iterator[str]:
    """The users whose accounts an entry names."""
    for account in {str(entry.get("fromAccount")), str(entry.get("toAccount"))}:
        if account.startswith("user:"):
            yield account.removeprefix("user:")


def is_unmoved(user: str, account: UserAccount, began: datetime) -> bool:
    """Whether a balance rests on the entries that were read, and on no others.

    It is what it was before they were read, and was so for a moment already: a scan can see one row of a transaction
    before the other.
    """
    row = account.row or {}
    now = (dynamodb.read("UserBalance", user) if dynamodb.is_key(user) else None) or {}
    last = requests.moment(row, "updatedAt")
    return all(now.get(name) == row.get(name) for name in _KEPT) and (last is None or began - last >= _MOMENT)


def in_words(difference: Decimal) -> str:
    """What a balance has more, or less, than its entries say."""
    if difference > 0:
        return f"The balance has {hours.in_words(difference)} h that no entry explains"
    return f"The balance has {hours.in_words(difference.copy_negate())} h less than its entries say"
