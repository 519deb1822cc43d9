"""The double-entry ledger of escrow money.

Every transfer debits one account and credits another by the same amount, in one currency. A balance
is credits minus debits. So escrow is positive while money is held, provider clearing is negative by
what the provider collected, and all balances of a currency sum to zero. The constraints and
triggers of the database enforce the rules for every program that writes to it.

| account | minimum balance | holds |
|---|---|---|
| `provider-clearing:<currency>` | none | minus what the provider collected and did not pay back |
| `provider-clearing:<currency>:<part>` | none | the same, if the clearing account is split |
| `escrow:<purchase id>` | 0 | held for the purchase |
| `refunds-in-transit:<purchase id>` | 0 | decided for the client, not settled yet |
| `freelancer-balance:<purchase id>` | 0 | released to the freelancer |
| `bank-disputes:<purchase id>` | 0 | withdrawn by the client's bank, which has not decided yet |
| `platform-losses:<currency>` | none | minus what banks took back after the money was paid out |
| `freelancer-receivable:<purchase id>` | none | minus what the freelancer owes of it |

The table `purchase` has a row for each purchase id: what was bought under it. `charge` has the one
purchase that each charge of the provider holds. `saved_state` has
what `recourse adopt` continues a purchase from, `adoption` which run has continued it. `person`
has fingerprints of the parties, by which staff find their purchases. `handled_news` has the news
about payments that closed purchases and their aftercare cases have handled.

Amounts are integer minor units; times are UTC instants.
"""

from activities.ledger.errors import LedgerRejected, PurchaseExists
from activities.ledger.history import Posting
from activities.ledger.ledger import Decision, Ledger, Transfer
from activities.ledger.position import InTransit, Position
from activities.ledger.purchases import BoughtPurchase, bought
from activities.ledger.snapshot import AccountBalance, ProviderMove, PurchaseBalances, Snapshot
from activities.ledger.states import SavedState

__all__ = [
    "AccountBalance",
    "BoughtPurchase",
    "Decision",
    "InTransit",
    "Ledger",
    "LedgerRejected",
    "Position",
    "Posting",
    "ProviderMove",
    "PurchaseBalances",
    "PurchaseExists",
    "SavedState",
    "Snapshot",
    "Transfer",
    "bought",
]
