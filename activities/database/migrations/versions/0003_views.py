"""The auditor's views: the only public part of the schema."""

from alembic import op

revision = "0003"
down_revision = "0002"

VIEWS = {
    "account_balances": """
        SELECT id AS account, currency, CAST(balance AS BIGINT) AS balance FROM account
    """,
    "purchase_balances": """
        SELECT
            hold.purchase_id,
            hold.currency,
            CAST(coalesce(escrow.balance, 0) AS BIGINT) AS held,
            CAST(coalesce(transit.balance, 0) AS BIGINT) AS in_transit,
            CAST(coalesce((
                SELECT sum(amount) FROM transfer
                WHERE transfer.purchase_id = hold.purchase_id AND transfer.kind = 'settled'
            ), 0) AS BIGINT) AS refunded,
            CAST(coalesce(freelancer.balance, 0) AS BIGINT) AS released
        FROM operation AS hold
        LEFT JOIN account AS escrow ON escrow.id = 'escrow:' || hold.purchase_id
        LEFT JOIN account AS transit ON transit.id = 'refunds-in-transit:' || hold.purchase_id
        LEFT JOIN account AS freelancer
            ON freelancer.id = 'freelancer-balance:' || hold.purchase_id
        WHERE hold.kind = 'hold' AND hold.status = 'applied'
    """,
    "transfers": """
        SELECT
            operation.key,
            transfer.leg,
            transfer.debit_account,
            transfer.credit_account,
            transfer.currency,
            CAST(transfer.amount AS BIGINT) AS amount,
            operation.at AS created_at
        FROM transfer JOIN operation ON operation.key = transfer.operation_key
    """,
}


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
