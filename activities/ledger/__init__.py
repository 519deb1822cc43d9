"""The double-entry ledger of escrow money: the database is the judge, this package is its clerk.

Every movement debits one account and credits another by one amount, in one currency. A balance is
credits less debits, so escrow is positive while money is held, provider clearing is what came in
through the provider as a negative number, and all balances of a currency sum to zero.

| account | floor | holds |
|---|---|---|
| `provider-clearing:<currency>` | none | minus what the provider has collected and not paid back |
| `escrow:<purchase id>` | 0 | held for the purchase |
| `refunds-in-transit:<purchase id>` | 0 | decided for the client, not yet arrived |
| `freelancer-balance:<purchase id>` | 0 | released to the freelancer |

Amounts are integer minor units; times are UTC instants.
"""

from activities.ledger.audit import Difference
from activities.ledger.books import AccountBalance, Ledger, PurchaseBalances, Snapshot, Transfer
from activities.ledger.engine import create_engine
from activities.ledger.errors import LedgerRejected, LedgerUnreachable, SchemaMismatch
from activities.ledger.position import InTransit, Position
from activities.ledger.upgrade import check_schema, migrate

__all__ = [
    "AccountBalance",
    "Difference",
    "InTransit",
    "Ledger",
    "LedgerRejected",
    "LedgerUnreachable",
    "Position",
    "PurchaseBalances",
    "SchemaMismatch",
    "Snapshot",
    "Transfer",
    "check_schema",
    "create_engine",
    "migrate",
]
