"""The tables and views as queries see them. Their constraints are in the migrations only."""

import sqlalchemy as sa

from activities.database.types import Instant

metadata = sa.MetaData()

account = sa.Table(
    "account",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("currency", sa.Text),
    sa.Column("min_balance", sa.BigInteger),
    sa.Column("balance", sa.Numeric),
    sa.Column("last_transfer", sa.BigInteger),
)
operation = sa.Table(
    "operation",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("purchase_id", sa.Text),
    sa.Column("currency", sa.Text),
    sa.Column("request", sa.Text),
    sa.Column("request_hash", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("legs", sa.Integer),
    sa.Column("code", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("at", Instant),
    sa.Column("recorded_at", Instant, sa.FetchedValue()),
)
transfer = sa.Table(
    "transfer",
    metadata,
    sa.Column("seq", sa.BigInteger, sa.FetchedValue(), primary_key=True),
    sa.Column("operation_key", sa.Text),
    sa.Column("leg", sa.Integer),
    sa.Column("legs", sa.Integer),
    sa.Column("kind", sa.Text),
    sa.Column("purchase_id", sa.Text),
    sa.Column("debit_account", sa.Text),
    sa.Column("credit_account", sa.Text),
    sa.Column("currency", sa.Text),
    sa.Column("amount", sa.BigInteger),
)

purchase = sa.Table(
    "purchase",
    metadata,
    sa.Column("purchase_id", sa.Text, primary_key=True),
    sa.Column("client", sa.Text),
    sa.Column("freelancer", sa.Text),
    sa.Column("amount", sa.BigInteger),
    sa.Column("currency", sa.Text),
    sa.Column("deployment", sa.Text),
    sa.Column("terms", sa.Text),
    sa.Column("terms_hash", sa.Text),
    sa.Column("first_run", sa.Text),
    sa.Column("at", Instant),
    sa.Column("registered_at", Instant, sa.FetchedValue()),
)

saved_state = sa.Table(
    "saved_state",
    metadata,
    sa.Column("purchase_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("document", sa.LargeBinary),
    sa.Column("saved_at", Instant, sa.FetchedValue()),
)
adoption = sa.Table(
    "adoption",
    metadata,
    sa.Column("purchase_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("first_run", sa.Text),
    sa.Column("adopted_at", Instant, sa.FetchedValue()),
)

charge = sa.Table(
    "charge",
    metadata,
    sa.Column("reference", sa.Text, primary_key=True),
    sa.Column("purchase_id", sa.Text),
    sa.Column("recorded_at", Instant, sa.FetchedValue()),
)

handled_news = sa.Table(
    "handled_news",
    metadata,
    sa.Column("purchase_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("reference", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger),
    sa.Column("recorded_at", Instant, sa.FetchedValue()),
)

person = sa.Table(
    "person",
    metadata,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("purchase_id", sa.Text, primary_key=True),
)

account_balances = sa.table(
    "account_balances",
    sa.column("account", sa.Text),
    sa.column("currency", sa.Text),
    sa.column("balance", sa.BigInteger),
)
purchase_balances = sa.table(
    "purchase_balances",
    sa.column("purchase_id", sa.Text),
    sa.column("currency", sa.Text),
    sa.column("held", sa.BigInteger),
    sa.column("in_transit", sa.BigInteger),
    sa.column("refunded", sa.BigInteger),
    sa.column("released", sa.BigInteger),
    sa.column("charged_back", sa.BigInteger),
)
