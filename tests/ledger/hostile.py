"""SQL statements that break the rules of the ledger. Each attempt is one transaction.

The ledger before an attempt: `open` holds 100 USD, `decided` has 60 of its 100 USD in transit and
40 released, `euro` holds 100 EUR, and the key `rejected` was once rejected. `open` is registered,
and the database belongs to the deployment `local`. `disputed` has 60 of its 100 USD in a bank
dispute. The charge `ch_1` is of `open`.
"""

from dataclasses import dataclass

INSTANT = "'2026-11-01T12:00:00.000000Z'"
HASH = "0" * 64
LARGEST = 2**53 - 1


def account(name: str, currency: str = "USD", min_balance: str = "0", balance: str = "0") -> str:
    return (
        "INSERT INTO account (id, currency, min_balance, balance)"
        f" VALUES ('{name}', '{currency}', {min_balance}, {balance});"
    )


def accounts(purchase: str, currency: str = "USD") -> str:
    names = ("escrow", "refunds-in-transit", "freelancer-balance")
    return "".join(account(f"{name}:{purchase}", currency) for name in names)


def operation(
    kind: str, purchase: str = "open", currency: str = "USD", legs: int = 1, key: str = "bad"
) -> str:
    return (
        "INSERT INTO operation"
        " (key, kind, purchase_id, currency, request, request_hash, status, legs, at) VALUES"
        f" ('{key}', '{kind}', '{purchase}', '{currency}', '{{}}', '{HASH}', 'applied', {legs},"
        f" {INSTANT});"
    )


def leg(
    kind: str,
    debit: str,
    credit: str,
    amount: object,
    *,
    purchase: str = "open",
    currency: str = "USD",
    number: int = 1,
    legs: int = 1,
    key: str = "bad",
    how: str = "INSERT",
) -> str:
    return (
        f"{how} INTO transfer (operation_key, leg, legs, kind, purchase_id, debit_account,"
        f" credit_account, currency, amount) VALUES ('{key}', {number}, {legs}, '{kind}',"
        f" '{purchase}', '{debit}', '{credit}', '{currency}', {amount});"
    )


def new_hold(amount: object, currency: str = "USD") -> str:
    return (
        accounts("new", currency)
        + operation("hold", "new", currency)
        + leg(
            "hold",
            f"provider-clearing:{currency}",
            "escrow:new",
            amount,
            purchase="new",
            currency=currency,
        )
    )


def refund(amount: object, how: str = "INSERT") -> str:
    return operation("refund") + leg(
        "refund", "escrow:open", "refunds-in-transit:open", amount, how=how
    )


def moved(
    kind: str,
    debit: str,
    credit: str,
    amount: object,
    purchase: str = "open",
    currency: str = "USD",
) -> str:
    return operation(kind, purchase, currency) + leg(
        kind, debit, credit, amount, purchase=purchase, currency=currency
    )


def charge(reference: str, purchase: str, how: str = "INSERT") -> str:
    return f"{how} INTO charge (reference, purchase_id) VALUES ('{reference}', '{purchase}');"


BANK = "bank-disputes:open"
LOSSES, RECEIVABLE = "platform-losses:USD", "freelancer-receivable:decided"
CLEARING = "provider-clearing:USD"


def bought(purchase: str = "new", how: str = "INSERT", **changed: str) -> str:
    values = {
        "purchase_id": f"'{purchase}'",
        "client": "'ana'",
        "freelancer": "'bo'",
        "amount": "100",
        "currency": "'USD'",
        "deployment": "'local'",
        "terms": "'{}'",
        "terms_hash": f"'{HASH}'",
        "first_run": "'run'",
        "at": INSTANT,
    } | changed
    return f"{how} INTO purchase ({', '.join(values)}) VALUES ({', '.join(values.values())});"


def owner(value: str, kind: str = "deployment", how: str = "INSERT") -> str:
    return f"{how} INTO owner (kind, value) VALUES ('{kind}', '{value}');"


def saved(run: str, how: str = "INSERT", kind: str = "state") -> str:
    """A copy of the terms of `open`."""
    return (
        f"{how} INTO saved_state (purchase_id, run_id, kind, document)"
        f" SELECT 'open', '{run}', '{kind}', document FROM saved_state WHERE run_id = 'terms';"
    )


def adoption(run: str, by: str, how: str = "INSERT") -> str:
    return f"{how} INTO adoption (purchase_id, run_id, first_run) VALUES ('open', '{run}', '{by}');"


def news(how: str = "INSERT", **changed: str) -> str:
    values = {
        "purchase_id": "'open'",
        "kind": "'dispute'",
        "reference": "'dp_1'",
        "status": "'inquiry'",
        "amount": "100",
    } | changed
    return f"{how} INTO handled_news ({', '.join(values)}) VALUES ({', '.join(values.values())});"


@dataclass(frozen=True)
class Attempt:
    """`needs_foreign_keys`: SQLite rejects it only on a connection with foreign keys enabled."""

    what: str
    sql: str
    needs_foreign_keys: bool = False


ON_BOTH = (
    Attempt("hold nothing", new_hold(0)),
    Attempt("hold a negative amount", new_hold(-1)),
    Attempt("hold half a cent", new_hold("1.5")),
    Attempt("hold a tenth of a cent", new_hold("0.1")),
    Attempt("hold more than is exact", new_hold(LARGEST + 1)),
    Attempt("hold more than a bigint", new_hold(2**63)),
    Attempt("hold an unknown amount", new_hold("NULL")),
    Attempt("hold a word", new_hold("'much'")),
    Attempt(
        "hold in a currency in small letters",
        account("provider-clearing:usd", "usd", "NULL") + new_hold(1, "usd"),
    ),
    Attempt(
        "hold in another currency than its accounts",
        account("provider-clearing:CHF", "CHF", "NULL")
        + accounts("new")
        + operation("hold", "new", "CHF")
        + leg("hold", "provider-clearing:CHF", "escrow:new", 1, purchase="new", currency="CHF"),
    ),
    Attempt(
        "move euros between dollar accounts",
        operation("refund", currency="EUR")
        + leg("refund", "escrow:open", "refunds-in-transit:open", 100, currency="EUR"),
    ),
    Attempt(
        "move in another currency than the operation's",
        operation("refund", currency="EUR")
        + leg("refund", "escrow:open", "refunds-in-transit:open", 100),
    ),
    Attempt(
        "take from one purchase for another",
        operation("refund") + leg("refund", "escrow:open", "refunds-in-transit:decided", 100),
    ),
    Attempt(
        "move from an account to itself",
        operation("refund") + leg("refund", "escrow:open", "escrow:open", 100),
    ),
    Attempt(
        "move the other way round",
        operation("refund") + leg("refund", "refunds-in-transit:open", "escrow:open", 100),
    ),
    Attempt(
        "release under the name of a refund",
        operation("refund") + leg("refund", "escrow:open", "freelancer-balance:open", 100),
    ),
    Attempt(
        "move without an operation",
        leg("refund", "escrow:open", "refunds-in-transit:open", 100, key="unknown"),
    ),
    Attempt(
        "move under a rejected operation",
        leg("refund", "escrow:open", "refunds-in-transit:open", 100, key="rejected"),
    ),
    Attempt(
        "move to an account that does not exist",
        operation("hold", "new")
        + leg("hold", "provider-clearing:USD", "escrow:new", 100, purchase="new"),
    ),
    Attempt(
        "repeat the leg of a finished operation",
        leg("hold", "provider-clearing:USD", "escrow:open", 100, key="open/hold"),
    ),
    Attempt(
        "add a leg to a finished operation",
        leg("hold", "provider-clearing:USD", "escrow:open", 1, number=2, key="open/hold"),
    ),
    Attempt(
        "add a leg and call the finished operation longer",
        leg("hold", "provider-clearing:USD", "escrow:open", 1, number=2, legs=2, key="open/hold"),
    ),
    Attempt(
        "add a third leg to a split",
        leg(
            "split",
            "escrow:decided",
            "freelancer-balance:decided",
            1,
            purchase="decided",
            number=3,
            legs=3,
            key="decided/decision",
        ),
    ),
    Attempt(
        "write the second leg of a split without the first",
        operation("split", legs=2)
        + leg("split", "escrow:open", "freelancer-balance:open", 100, number=2, legs=2),
    ),
    Attempt(
        "write only the first leg of a split",
        operation("split", legs=2)
        + leg("split", "escrow:open", "refunds-in-transit:open", 100, legs=2),
        needs_foreign_keys=True,
    ),
    Attempt("apply an operation without money", operation("refund"), needs_foreign_keys=True),
    Attempt("apply a hold of two legs", operation("hold", "new", legs=2)),
    Attempt("invent a kind of operation", operation("gift")),
    Attempt(
        "hold a second time",
        operation("hold") + leg("hold", "provider-clearing:USD", "escrow:open", 1),
    ),
    Attempt("refund more than is held", refund(101)),
    Attempt("refund less than is held", refund(99)),
    Attempt(
        "refund and release more than is held",
        operation("split", legs=2)
        + leg("split", "escrow:open", "refunds-in-transit:open", 60, legs=2)
        + leg("split", "escrow:open", "freelancer-balance:open", 41, number=2, legs=2),
    ),
    Attempt(
        "refund after the money was decided",
        operation("refund", "decided")
        + leg("refund", "escrow:decided", "refunds-in-transit:decided", 40, purchase="decided"),
    ),
    Attempt(
        "decide a second time",
        operation("release", "decided")
        + leg("release", "escrow:decided", "freelancer-balance:decided", 100, purchase="decided"),
    ),
    Attempt(
        "settle more than is in transit",
        operation("settled", "decided")
        + leg(
            "settled",
            "refunds-in-transit:decided",
            "provider-clearing:USD",
            61,
            purchase="decided",
        ),
    ),
    Attempt("use a key again", operation("refund", key="open/hold")),
    Attempt("use a rejected key again", operation("refund", key="rejected")),
    Attempt("change an amount", "UPDATE transfer SET amount = 1;"),
    Attempt("change where money went", "UPDATE transfer SET credit_account = 'escrow:euro';"),
    Attempt("delete a transfer", "DELETE FROM transfer WHERE operation_key = 'open/hold';"),
    Attempt("delete all transfers", "DELETE FROM transfer;"),
    Attempt("change what a key means", f"UPDATE operation SET request_hash = '{'1' * 64}';"),
    Attempt(
        "turn a rejection into an applied operation",
        "UPDATE operation SET status = 'applied', legs = 1, code = NULL, reason = NULL"
        " WHERE key = 'rejected';",
    ),
    Attempt("delete an operation", "DELETE FROM operation WHERE key = 'rejected';"),
    Attempt("delete an account", "DELETE FROM account WHERE id = 'escrow:open';"),
    Attempt("raise a balance", "UPDATE account SET balance = 200 WHERE id = 'escrow:open';"),
    Attempt(
        "raise two balances that still sum to zero",
        "UPDATE account SET balance = balance + CASE id WHEN 'escrow:open' THEN 1 ELSE -1 END"
        " WHERE id IN ('escrow:open', 'provider-clearing:USD');",
    ),
    Attempt(
        "apply a transfer's balance twice",
        "UPDATE account SET balance = balance + 100,"
        " last_transfer = (SELECT max(seq) FROM transfer WHERE operation_key = 'open/hold')"
        " WHERE id = 'escrow:open';",
    ),
    Attempt(
        "apply another account's transfer",
        "UPDATE account SET balance = balance + 100,"
        " last_transfer = (SELECT max(seq) FROM transfer) WHERE id = 'escrow:open';",
    ),
    Attempt(
        "forget the last transfer",
        "UPDATE account SET last_transfer = NULL WHERE id = 'escrow:open';",
    ),
    Attempt(
        "remove the minimum balance",
        "UPDATE account SET min_balance = NULL WHERE id = 'escrow:open';",
    ),
    Attempt(
        "lower the minimum balance",
        "UPDATE account SET min_balance = -100 WHERE id = 'escrow:open';",
    ),
    Attempt("change the currency", "UPDATE account SET currency = 'EUR' WHERE id = 'escrow:open';"),
    Attempt("rename an account", "UPDATE account SET id = 'escrow:x' WHERE id = 'escrow:open';"),
    Attempt("open an account with money", account("escrow:new", balance="100")),
    Attempt("open an account with a little money", account("escrow:new", balance="0.4")),
    Attempt("open an account in debt", account("escrow:new", balance="-100")),
    Attempt("open an escrow without a minimum balance", account("escrow:new", min_balance="NULL")),
    Attempt("open an escrow with a lower minimum balance", account("escrow:new", min_balance="-1")),
    Attempt("open an account of an unknown kind", account("mine")),
    Attempt("open an escrow without a purchase", account("escrow:")),
    Attempt("open clearing in two currencies", account("provider-clearing:CHF", "USD", "NULL")),
    Attempt("open clearing with a minimum balance", account("provider-clearing:CHF", "CHF")),
    *(
        Attempt(
            f"open clearing account {part!r}", account(f"{CLEARING}:{part}", min_balance="NULL")
        )
        for part in ("", "0", "01", "64", "100", "-1", "1.0", "x", " 1", "1:1")
    ),
    Attempt("open a part of clearing with a minimum balance", account(f"{CLEARING}:1")),
    Attempt(
        "open a part of clearing in two currencies",
        account("provider-clearing:CHF:1", "USD", "NULL"),
    ),
    Attempt(
        "hold with a clearing account of another currency",
        account("provider-clearing:CHF:1", "CHF", "NULL")
        + accounts("new")
        + operation("hold", "new")
        + leg("hold", "provider-clearing:CHF:1", "escrow:new", 1, purchase="new"),
    ),
    Attempt(
        "hold with a part of clearing that does not exist",
        accounts("new")
        + operation("hold", "new")
        + leg("hold", f"{CLEARING}:2", "escrow:new", 1, purchase="new"),
    ),
    Attempt(
        "hold a second time with another clearing account",
        account(f"{CLEARING}:2", min_balance="NULL")
        + operation("hold")
        + leg("hold", f"{CLEARING}:2", "escrow:open", 1),
    ),
    *(
        Attempt(
            f"move between clearing accounts as {kind}",
            account(f"{CLEARING}:2", min_balance="NULL")
            + moved(kind, CLEARING, f"{CLEARING}:2", 1, purchase),
        )
        for kind, purchase in (("hold", "new"), ("settled", "decided"), ("refund_returned", "open"))
    ),
    Attempt("open an account twice", account("escrow:open")),
    Attempt("buy under a used id", bought("open", client="'eve'")),
    Attempt("buy the same again", bought("open")),
    Attempt("buy without an id", bought("")),
    Attempt("buy from oneself", bought(client="'bo'")),
    Attempt("buy for nothing", bought(amount="0")),
    Attempt("buy for half a cent", bought(amount="1.5")),
    Attempt("buy for more than is exact", bought(amount=str(LARGEST + 1))),
    Attempt("buy in small letters", bought(currency="'usd'")),
    Attempt("buy without terms", bought(terms="NULL")),
    Attempt("buy without the hash of the terms", bought(terms_hash="''")),
    Attempt("buy without a first run", bought(first_run="''")),
    Attempt("buy in no deployment", bought(deployment="''")),
    Attempt("change who bought", "UPDATE purchase SET client = 'eve';"),
    Attempt("change the first run", "UPDATE purchase SET first_run = 'another';"),
    Attempt("free a purchase id", "DELETE FROM purchase WHERE purchase_id = 'open';"),
    Attempt("free all purchase ids", "DELETE FROM purchase;"),
    Attempt("rename the deployment", "UPDATE owner SET value = 'staging';"),
    Attempt("take the database over", "DELETE FROM owner;" + owner("staging")),
    Attempt("belong to two deployments", owner("staging")),
    Attempt("belong to nobody in particular", owner("", "provider_account")),
    Attempt("belong in another way", owner("staging", "friend")),
    Attempt("save another state of a run", saved("terms")),
    Attempt("save half a state", saved("run", kind="half")),
    Attempt("save the state of no run", saved("")),
    Attempt("change the terms", "UPDATE saved_state SET kind = 'state';"),
    Attempt("forget the terms", "DELETE FROM saved_state;"),
    Attempt("continue a run twice", adoption("terms", "run-2") + adoption("terms", "run-3")),
    Attempt("continue by no run", adoption("terms", "")),
    Attempt("handle news twice", news() + news()),
    Attempt("handle news of nobody", news(purchase_id="''")),
    Attempt("handle news of another kind", news(kind="'rumour'")),
    Attempt("handle news without a name", news(reference="''")),
    Attempt("handle news below zero", news(amount="-1")),
    Attempt("change handled news", news() + "UPDATE handled_news SET status = 'lost';"),
    Attempt("forget handled news", news() + "DELETE FROM handled_news;"),
    Attempt(
        "let the bank take more than is held",
        account(BANK) + moved("bank_dispute_opened", "escrow:open", BANK, 101),
    ),
    Attempt(
        "let the bank take from another purchase",
        account(BANK) + moved("bank_dispute_opened", "escrow:disputed", BANK, 10),
    ),
    Attempt(
        "let the bank take what was released",
        account("bank-disputes:decided")
        + moved(
            "bank_dispute_opened",
            "freelancer-balance:decided",
            "bank-disputes:decided",
            40,
            "decided",
        ),
    ),
    Attempt(
        "win more than the bank has",
        moved("bank_dispute_won", "bank-disputes:disputed", "escrow:disputed", 61, "disputed"),
    ),
    Attempt(
        "win for the freelancer",
        moved(
            "bank_dispute_won",
            "bank-disputes:disputed",
            "freelancer-balance:disputed",
            60,
            "disputed",
        ),
    ),
    Attempt(
        "win into a decision that is not made",
        moved(
            "bank_dispute_won",
            "bank-disputes:disputed",
            "refunds-in-transit:disputed",
            60,
            "disputed",
        ),
    ),
    Attempt(
        "win back into escrow after the decision",
        account("bank-disputes:decided")
        + moved(
            "bank_dispute_opened",
            "refunds-in-transit:decided",
            "bank-disputes:decided",
            60,
            "decided",
        )
        + operation("bank_dispute_won", "decided", key="bad/2")
        + leg(
            "bank_dispute_won",
            "bank-disputes:decided",
            "escrow:decided",
            60,
            purchase="decided",
            key="bad/2",
        ),
    ),
    Attempt(
        "lose more than the bank has",
        moved("bank_dispute_lost", "bank-disputes:disputed", CLEARING, 61, "disputed"),
    ),
    Attempt(
        "decide during a bank dispute",
        operation("release", "disputed")
        + leg("release", "escrow:disputed", "freelancer-balance:disputed", 40, purchase="disputed"),
    ),
    Attempt(
        "refund elsewhere more than is held",
        moved("refunded_elsewhere", "escrow:open", CLEARING, 101),
    ),
    Attempt(
        "refund elsewhere what is in transit",
        moved("refunded_elsewhere", "refunds-in-transit:decided", CLEARING, 60, "decided"),
    ),
    Attempt(
        "return more than others have refunded",
        moved("refund_elsewhere_failed", CLEARING, "escrow:open", 1),
    ),
    Attempt(
        "return what others have refunded after the decision",
        moved("refund_elsewhere_failed", CLEARING, "escrow:decided", 1, "decided"),
    ),
    Attempt(
        "return a refund that was not settled",
        moved("refund_returned", CLEARING, "refunds-in-transit:decided", 1, "decided"),
    ),
    Attempt(
        "return a refund into escrow",
        moved("refund_returned", CLEARING, "escrow:open", 1),
    ),
    Attempt(
        "pay a loss out of escrow",
        moved("bank_dispute_loss", "escrow:open", CLEARING, 100),
    ),
    Attempt(
        "gain from a loss",
        account(LOSSES, min_balance="NULL") + moved("bank_dispute_loss", CLEARING, LOSSES, 100),
    ),
    Attempt(
        "lose for a purchase that is not held",
        account(LOSSES, min_balance="NULL")
        + moved("bank_dispute_loss", LOSSES, CLEARING, 100, "new"),
    ),
    Attempt(
        "lose in another currency than the hold's",
        account("platform-losses:EUR", "EUR", "NULL")
        + moved(
            "bank_dispute_loss", "platform-losses:EUR", "provider-clearing:EUR", 1, "open", "EUR"
        ),
    ),
    Attempt(
        "owe more than was released",
        account(RECEIVABLE, min_balance="NULL")
        + moved("bank_dispute_loss", RECEIVABLE, CLEARING, 41, "decided"),
    ),
    Attempt(
        "move twice in one operation of the provider",
        account(LOSSES, min_balance="NULL") + operation("bank_dispute_loss", legs=2),
    ),
    Attempt("let a bank dispute be overdrawn", account(BANK, min_balance="NULL")),
    Attempt("bound the losses", account(LOSSES)),
    Attempt("open losses in two currencies", account("platform-losses:CHF", "USD", "NULL")),
    Attempt("open a receivable of nobody", account("freelancer-receivable:", "USD", "NULL")),
    Attempt("hold two purchases with one charge", charge("ch_1", "new")),
    Attempt("record a charge without a name", charge("", "open")),
    Attempt("record a charge of no purchase", charge("ch_2", "")),
    Attempt("give a charge to another purchase", "UPDATE charge SET purchase_id = 'new';"),
    Attempt("free a charge", "DELETE FROM charge;"),
    Attempt("continue what is not saved", adoption("run-9", "run-2"), needs_foreign_keys=True),
)

ON_SQLITE = (
    Attempt("overdraw and ignore the rejection", refund(101, how="INSERT OR IGNORE")),
    Attempt(
        "decide during a bank dispute and ignore the rejection",
        operation("release", "disputed")
        + leg(
            "release",
            "escrow:disputed",
            "freelancer-balance:disputed",
            40,
            purchase="disputed",
            how="INSERT OR IGNORE",
        ),
    ),
    Attempt("overdraw by replacing", refund(101, how="INSERT OR REPLACE")),
    Attempt(
        "replace a finished leg",
        leg(
            "hold",
            "provider-clearing:USD",
            "escrow:open",
            1,
            key="open/hold",
            how="INSERT OR REPLACE",
        ),
    ),
    Attempt(
        "replace a rejected operation",
        operation("refund", key="rejected").replace("INSERT", "INSERT OR REPLACE", 1),
    ),
    Attempt(
        "replace the hold of a purchase",
        operation("hold").replace("INSERT", "INSERT OR REPLACE", 1),
    ),
    Attempt(
        "replace the decision of a purchase",
        operation("release", "decided").replace("INSERT", "INSERT OR REPLACE", 1),
    ),
    Attempt(
        "replace an account by an empty one",
        account("escrow:open").replace("INSERT", "INSERT OR REPLACE", 1),
    ),
    Attempt(
        "replace an account through an update",
        "UPDATE OR REPLACE account SET id = 'escrow:euro' WHERE id = 'escrow:open';",
    ),
    Attempt(
        "change an account while opening it again",
        account("escrow:open").replace(";", " ON CONFLICT DO UPDATE SET balance = 7;"),
    ),
    Attempt(
        "jump ahead in the sequence",
        operation("refund")
        + "INSERT INTO transfer SELECT 9223372036854775807, 'bad', 1, 1, 'refund', 'open',"
        " 'escrow:open', 'refunds-in-transit:open', 'USD', 100;",
    ),
    Attempt("replace a purchase", bought("open", "INSERT OR REPLACE", client="'eve'")),
    Attempt("replace the deployment", owner("staging", how="INSERT OR REPLACE")),
    Attempt("replace the terms", saved("terms", "INSERT OR REPLACE")),
    Attempt("replace a charge", charge("ch_1", "new", "INSERT OR REPLACE")),
    Attempt("buy at no instant", bought(at="'soon'")),
    Attempt(
        "start the sequence before its beginning",
        operation("refund") + "INSERT INTO transfer SELECT -1, 'bad', 1, 1, 'refund', 'open',"
        " 'escrow:open', 'refunds-in-transit:open', 'USD', 100;",
    ),
)

ON_POSTGRESQL = (
    Attempt("empty the transfers", "TRUNCATE transfer CASCADE;"),
    Attempt("empty the operations", "TRUNCATE operation CASCADE;"),
    Attempt("empty the accounts", "TRUNCATE account CASCADE;"),
    Attempt("empty the purchases", "TRUNCATE purchase;"),
    Attempt("empty the owners", "TRUNCATE owner;"),
    Attempt("empty the saved states", "TRUNCATE saved_state CASCADE;"),
    Attempt("empty the charges", "TRUNCATE charge;"),
    Attempt("buy for NaN", bought(amount="'NaN'")),
    Attempt(
        "change a purchase while buying it again",
        bought("open").replace(";", " ON CONFLICT (purchase_id) DO UPDATE SET client = 'eve';"),
    ),
    Attempt("hold NaN", new_hold("'NaN'")),
    Attempt("hold infinity", new_hold("'Infinity'")),
    Attempt("update nothing at all", "UPDATE transfer SET amount = 1 WHERE false;"),
    Attempt(
        "change an operation while writing it again",
        operation("hold", key="open/hold").replace(
            ";", " ON CONFLICT (key) DO UPDATE SET request_hash = excluded.request_hash;"
        ),
    ),
    Attempt(
        "change an account while opening it again",
        account("escrow:open").replace(";", " ON CONFLICT (id) DO UPDATE SET balance = 7;"),
    ),
    Attempt(
        "jump ahead in the sequence",
        operation("refund")
        + "INSERT INTO transfer OVERRIDING SYSTEM VALUE SELECT 9223372036854775807, 'bad', 1, 1,"
        " 'refund', 'open', 'escrow:open', 'refunds-in-transit:open', 'USD', 100;",
    ),
    Attempt(
        "hide the accounts behind a temporary table",
        "CREATE TEMPORARY TABLE account (id text, currency text, balance numeric,"
        " last_transfer bigint); INSERT INTO account VALUES ('escrow:open', 'USD', 101, 0);"
        + refund(101),
    ),
    Attempt(
        "leave the checks for later",
        "SET CONSTRAINTS ALL DEFERRED;" + refund(101),
    ),
    Attempt(
        "merge",
        "MERGE INTO account USING (SELECT 1) AS one ON id = 'escrow:open'"
        " WHEN MATCHED THEN UPDATE SET balance = 7;",
    ),
)
