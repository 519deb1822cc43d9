"""The whole ledger at one moment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger import news, operations, schema
from activities.ledger.audit import WHAT_TO_DO, audit
from activities.requests import Difference, HandledNews, ProviderMoveKind


@dataclass(frozen=True)
class PurchaseBalances:
    """The money of one purchase, in minor units. The five amounts sum to its hold.

    `refunded`: by us and settled, or by others. `charged_back`: what the client's bank has
    withdrawn and not given back, before anything was paid out.
    """

    purchase_id: str
    currency: str
    held: int
    in_transit: int
    refunded: int
    released: int
    charged_back: int = 0


@dataclass(frozen=True)
class ProviderMove:
    """Money that moved at the provider without Recourse, in minor units. `reference`: the
    provider's name for the dispute or the refund."""

    key: str
    kind: ProviderMoveKind
    debit_account: str
    credit_account: str
    amount: int
    reference: str


@dataclass(frozen=True)
class AccountBalance:
    """The balance of one account: credits minus debits, in minor units."""

    account: str
    currency: str
    balance: int


@dataclass(frozen=True)
class Snapshot:
    """The whole ledger at one moment."""

    accounts: tuple[AccountBalance, ...]
    purchases: tuple[PurchaseBalances, ...]
    proofs: Mapping[str, str]
    """By purchase id: the reference with which its refund was settled."""
    differences: tuple[Difference, ...]
    """What the audit of the ledger found."""
    registered: frozenset[str] = frozenset()
    """The ids of all purchases that were registered before their client was charged."""
    moves: Mapping[str, tuple[ProviderMove, ...]] = field(default_factory=dict)
    """By purchase id: what moved at the provider without Recourse, the oldest first."""
    handled: Mapping[str, tuple[HandledNews, ...]] = field(default_factory=dict)
    """By purchase id: the news about its payment that were handled after its end."""


def accounts(connection: Connection) -> list[AccountBalance]:
    """The balance of every account, by name."""
    view = schema.account_balances
    rows = connection.execute(sa.select(view).order_by(view.c.account))
    return [AccountBalance(**row._mapping) for row in rows]


def snapshot(connection: Connection) -> Snapshot:
    """The whole ledger, audited. Reads every transfer."""
    view, operation, transfer = schema.purchase_balances, schema.operation.c, schema.transfer.c
    rows = connection.execute(sa.select(view).order_by(view.c.purchase_id))
    purchases = tuple(PurchaseBalances(**row._mapping) for row in rows)
    at_provider = (
        sa.select(
            operation.key,
            operation.kind,
            operation.purchase_id,
            operation.request,
            transfer.debit_account,
            transfer.credit_account,
            transfer.amount,
        )
        .join_from(schema.operation, schema.transfer, transfer.operation_key == operation.key)
        .where(operation.kind.in_(("settled", *operations.MOVE_ACCOUNTS)))
        .order_by(transfer.seq)
    )
    proofs: dict[str, str] = {}
    moves: dict[str, tuple[ProviderMove, ...]] = {}
    differences = audit(connection)
    for row in connection.execute(at_provider):
        try:
            reference = str(json.loads(row.request)["reference"])
        except (ValueError, KeyError, TypeError):
            kind = "settlement" if row.kind == "settled" else row.kind.replace("_", " ")
            what = f"The {kind} of {row.purchase_id} cannot be read."
            differences.append(
                Difference(purchase_id=row.purchase_id, what=what, what_to_do=WHAT_TO_DO)
            )
            continue
        if row.kind == "settled":
            proofs[row.purchase_id] = reference
        else:
            move = ProviderMove(
                row.key,
                row.kind,
                row.debit_account,
                row.credit_account,
                int(row.amount),
                reference,
            )
            moves[row.purchase_id] = (*moves.get(row.purchase_id, ()), move)
    registered = frozenset(connection.execute(sa.select(schema.purchase.c.purchase_id)).scalars())
    return Snapshot(
        tuple(accounts(connection)),
        purchases,
        proofs,
        tuple(differences),
        registered,
        moves,
        news.all_handled(connection),
    )
