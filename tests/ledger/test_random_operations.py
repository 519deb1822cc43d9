"""Random operations in random order: the ledger gives the same results as a simple model."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from activities.ledger import Ledger, LedgerRejected, PurchaseBalances
from activities.ledger.operations import MOVE_ACCOUNTS
from activities.requests import MoveAccount, ProviderMoveKind

AT = datetime(2026, 11, 1, tzinfo=UTC)
EXAMPLE = count()
UNBOUNDED = ("provider-clearing:", "platform-losses:", "freelancer-receivable:")

Answer = bool | str


@dataclass(frozen=True)
class Request:
    """One operation.

    `first` and `second` are refund and release of a decision; their sum is the amount of a hold. Of
    a settlement and of a move `first` is the amount and `second` the reference, which is not part
    of the terms. The kind of a move is `<kind> <account>`.
    """

    kind: str
    key: int
    purchase: int
    currency: str
    first: int
    second: int

    @property
    def meaning(self) -> tuple[object, ...]:
        first, second = self.first, self.second
        amounts = {"hold": (first + second,), "decide": (first, second)}.get(self.kind, (first,))
        # The transfer of a lost dispute is the same from wherever the money was taken.
        kind = "lost" if "lost" in self.kind else self.kind
        return kind, self.purchase, self.currency, amounts


MOVES = [f"{kind} {account}" for kind, accounts in MOVE_ACCOUNTS.items() for account in accounts]
amounts = st.sampled_from([10, 20, 30])
requests = st.builds(
    Request,
    kind=st.sampled_from(["hold", "decide", "settle"] * 4 + MOVES),
    key=st.integers(0, 60),
    purchase=st.integers(0, 2),
    currency=st.sampled_from(["USD"] * 7 + ["EUR"]),
    first=amounts,
    second=st.sampled_from([0, 10, 20]),
)


@dataclass
class Money:
    currency: str
    came_in: int
    held: int
    in_transit: int = 0
    refunded: int = 0
    released: int = 0
    decided: bool = False
    bank: int = 0
    lost: int = 0
    elsewhere: int = 0
    owed: int = 0


@dataclass
class Model:
    """A model of the ledger's rules without a database."""

    purchases: dict[int, Money] = field(default_factory=dict)
    known: dict[int, tuple[Request, Answer]] = field(default_factory=dict)

    def answer(self, request: Request) -> Answer:
        if request.key in self.known:
            first, answer = self.known[request.key]
            if first.meaning != request.meaning:
                return "KEY_REUSED"
            return False if answer is True else answer
        answer = self.validate(request)
        if answer in (True, "ALREADY_HELD", "ALREADY_DECIDED", "CURRENCY_MISMATCH"):
            self.known[request.key] = (request, answer)
        return answer

    def validate(self, request: Request) -> Answer:
        money = self.purchases.get(request.purchase)
        if request.kind == "hold":
            if money:
                return "ALREADY_HELD"
            amount = request.first + request.second
            self.purchases[request.purchase] = Money(request.currency, amount, amount)
            return True
        if not money:
            return "NO_HOLD"
        if money.currency != request.currency:
            return "CURRENCY_MISMATCH"
        if request.kind == "decide":
            return self.decide(money, request)
        return (self.settle if request.kind == "settle" else self.move)(money, request)

    def decide(self, money: Money, request: Request) -> Answer:
        total = request.first + request.second
        if money.decided:
            return "ALREADY_DECIDED"
        if money.bank:
            return "BANK_DISPUTE_OPEN"
        if total != money.held:
            return "NOT_ENOUGH_MONEY" if total > money.held else "MONEY_LEFT_OVER"
        money.decided, money.held = True, 0
        money.in_transit, money.released = request.first, request.second
        return True

    def settle(self, money: Money, request: Request) -> Answer:
        if request.first > money.in_transit:
            return "NOT_ENOUGH_MONEY"
        money.in_transit -= request.first
        money.refunded += request.first
        return True

    def move(self, money: Money, request: Request) -> Answer:
        kind, account = request.kind.split()
        if kind == "bank_dispute_won" and (account == "escrow") == money.decided:
            return "WRONG_ACCOUNT"
        if kind == "refund_elsewhere_failed" and money.decided:
            return "WRONG_ACCOUNT"
        source, target = {
            "bank_dispute_opened": (account, "bank"),
            "bank_dispute_won": ("bank", account),
            "bank_dispute_lost": ("bank", "lost"),
            "bank_dispute_loss": ("platform_losses", ""),
            "refunded_elsewhere": ("escrow", "elsewhere"),
            "refund_elsewhere_failed": ("elsewhere", "escrow"),
            "refund_returned": ("refunded", "in_transit"),
        }[kind]
        if account == "freelancer_receivable":
            if request.first > money.released - money.owed:
                return "NOT_ENOUGH_MONEY"
            money.owed += request.first
        elif source != "platform_losses":
            source, target = ("held" if place == "escrow" else place for place in (source, target))
            if request.first > getattr(money, source):
                return "NOT_ENOUGH_MONEY"
            setattr(money, source, getattr(money, source) - request.first)
            setattr(money, target, getattr(money, target) + request.first)
        return True


def ask(ledger: Ledger, example: int, request: Request) -> Answer:
    key, purchase = f"{example}/{request.key}", f"{example}/{request.purchase}"
    currency, first = request.currency, request.first
    try:
        if request.kind == "hold":
            amount = first + request.second
            return ledger.hold(
                key=key, purchase_id=purchase, amount=amount, currency=currency, at=AT
            )
        if request.kind == "decide":
            return ledger.decide(
                key=key,
                purchase_id=purchase,
                refund=first,
                release=request.second,
                currency=currency,
                at=AT,
            )
        if request.kind != "settle":
            kind, account = request.kind.split()
            return ledger.provider_moved(
                key=key,
                purchase_id=purchase,
                kind=cast(ProviderMoveKind, kind),
                account=cast(MoveAccount, account),
                amount=first,
                currency=currency,
                at=AT,
                reference=str(request.second),
            )
        return ledger.settle(
            key=key,
            purchase_id=purchase,
            amount=first,
            currency=currency,
            at=AT,
            reference=str(request.second),
        )
    except LedgerRejected as rejected:
        return rejected.code


@settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking 40 operations takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(asked=st.lists(requests, min_size=10, max_size=60))
def test_the_ledger_agrees_with_model(shared_engine: Engine, asked: list[Request]) -> None:
    ledger, example, model = Ledger(shared_engine), next(EXAMPLE), Model()
    for request in asked:
        assert ask(ledger, example, request) == model.answer(request)
    for number, money in model.purchases.items():
        purchase = f"{example}/{number}"
        balances = ledger.balances(purchase)
        assert balances == PurchaseBalances(
            purchase,
            money.currency,
            money.held,
            money.in_transit,
            money.refunded + money.elsewhere,
            money.released,
            money.bank + money.lost,
        )
        places = (balances.held, balances.in_transit, balances.refunded, balances.released)
        assert sum(places) + balances.charged_back == money.came_in
    accounts = ledger.accounts()
    for currency in ("USD", "EUR"):
        assert sum(a.balance for a in accounts if a.currency == currency) == 0
    assert all(a.balance >= 0 for a in accounts if not a.account.startswith(UNBOUNDED))
    assert ledger.audit() == []
