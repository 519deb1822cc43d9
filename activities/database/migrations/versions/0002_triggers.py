"""The rules that no constraint can state: append-only tables, balances moved only by transfers.

An account stores the last transfer that moved it. Its balance may change only by the amount of a
later transfer that names it. So each balance is the sum of its transfers by induction, and the
cost of the check does not grow with the number of transfers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite: INSERT OR IGNORE and INSERT OR REPLACE also apply to the statements inside a trigger, and
# REPLACE deletes without firing delete triggers. RAISE(ABORT) overrides both. So the triggers
# reject duplicates before REPLACE can delete anything, and check both balances after the transfer.
SQLITE = (
    """
    CREATE TRIGGER account_insert BEFORE INSERT ON account BEGIN
        SELECT RAISE(ABORT, 'a new account has a balance of 0')
            WHERE NEW.balance <> 0 OR NEW.last_transfer IS NOT NULL;
        SELECT RAISE(ABORT, 'the account exists already')
            WHERE EXISTS (SELECT 1 FROM account WHERE id = NEW.id);
    END
    """,
    """
    CREATE TRIGGER account_update BEFORE UPDATE ON account BEGIN
        SELECT RAISE(ABORT, 'the id, currency and minimum balance of an account never change')
            WHERE NEW.id <> OLD.id OR NEW.currency <> OLD.currency
            OR NEW.min_balance IS NOT OLD.min_balance;
        SELECT RAISE(ABORT, 'a balance changes only with a new transfer')
            WHERE NOT EXISTS (
                SELECT 1 FROM transfer
                WHERE seq = NEW.last_transfer
                AND seq > coalesce(OLD.last_transfer, 0)
                AND NEW.balance - OLD.balance = CASE NEW.id
                    WHEN credit_account THEN amount WHEN debit_account THEN -amount END);
    END
    """,
    """
    CREATE TRIGGER operation_insert BEFORE INSERT ON operation BEGIN
        SELECT RAISE(ABORT, 'the key has an operation already')
            WHERE EXISTS (SELECT 1 FROM operation WHERE key = NEW.key);
        SELECT RAISE(ABORT, 'the purchase has a hold already')
            WHERE NEW.status = 'applied' AND NEW.kind = 'hold' AND EXISTS (
                SELECT 1 FROM operation WHERE purchase_id = NEW.purchase_id
                AND status = 'applied' AND kind = 'hold');
        SELECT RAISE(ABORT, 'the purchase has a decision already')
            WHERE NEW.status = 'applied' AND NEW.kind IN ('refund', 'release', 'split')
            AND EXISTS (SELECT 1 FROM operation WHERE purchase_id = NEW.purchase_id
                AND status = 'applied' AND kind IN ('refund', 'release', 'split'));
    END
    """,
    """
    CREATE TRIGGER transfer_insert BEFORE INSERT ON transfer BEGIN
        SELECT RAISE(ABORT, 'the legs of an operation are numbered 1, 2 without gap or repetition')
            WHERE NEW.leg <> 1 + (
                SELECT count(*) FROM transfer WHERE operation_key = NEW.operation_key);
        SELECT RAISE(ABORT, 'a leg belongs to an applied operation')
            WHERE NOT EXISTS (SELECT 1 FROM operation WHERE key = NEW.operation_key
                AND status = 'applied' AND legs = NEW.legs AND kind = NEW.kind
                AND purchase_id = NEW.purchase_id AND currency = NEW.currency);
        SELECT RAISE(ABORT, 'the sequence number exists already')
            WHERE EXISTS (SELECT 1 FROM transfer WHERE seq = NEW.seq);
    END
    """,
    """
    CREATE TRIGGER transfer_apply AFTER INSERT ON transfer BEGIN
        SELECT RAISE(ABORT, 'the sequence has no gaps')
            WHERE NEW.seq <> 1
            AND NOT EXISTS (SELECT 1 FROM transfer WHERE seq = NEW.seq - 1);
        UPDATE account SET balance = balance - NEW.amount, last_transfer = NEW.seq
            WHERE id = NEW.debit_account AND currency = NEW.currency;
        UPDATE account SET balance = balance + NEW.amount, last_transfer = NEW.seq
            WHERE id = NEW.credit_account AND currency = NEW.currency;
        SELECT RAISE(ABORT, 'an account is unknown, of another currency, or below its minimum')
            WHERE 2 <> (SELECT count(*) FROM account
                WHERE id IN (NEW.debit_account, NEW.credit_account) AND last_transfer = NEW.seq);
        SELECT RAISE(ABORT, 'a decision moves the whole escrow')
            WHERE NEW.leg = NEW.legs AND NEW.kind IN ('refund', 'release', 'split')
            AND 0 <> (SELECT balance FROM account WHERE id = 'escrow:' || NEW.purchase_id);
    END
    """,
    *(
        f"""
        CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} BEGIN
            SELECT RAISE(ABORT, '{table} is append-only');
        END
        """
        for table, action in (
            ("account", "DELETE"),
            ("operation", "UPDATE"),
            ("operation", "DELETE"),
            ("transfer", "UPDATE"),
            ("transfer", "DELETE"),
        )
    ),
)

# PostgreSQL: the functions set their search_path, so that a session cannot make them read other
# tables.
FUNCTIONS = {
    "ledger_append_only": """
        RAISE EXCEPTION '% is append-only: % is not allowed', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'integrity_constraint_violation';
    """,
    "ledger_account_insert": """
        IF NEW.balance <> 0 OR NEW.last_transfer IS NOT NULL THEN
            RAISE EXCEPTION 'a new account has a balance of 0'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    """,
    "ledger_account_update": """
        IF NEW.id <> OLD.id OR NEW.currency <> OLD.currency
                OR NEW.min_balance IS DISTINCT FROM OLD.min_balance THEN
            RAISE EXCEPTION 'the id, currency and minimum balance of an account never change'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NOT EXISTS (
                SELECT 1 FROM transfer
                WHERE seq = NEW.last_transfer
                AND seq > coalesce(OLD.last_transfer, 0)
                AND NEW.balance - OLD.balance = CASE NEW.id
                    WHEN credit_account THEN amount WHEN debit_account THEN -amount END) THEN
            RAISE EXCEPTION 'a balance changes only with a new transfer'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    """,
    "ledger_transfer_insert": """
        IF NEW.leg <> 1 + (
                SELECT count(*) FROM transfer WHERE operation_key = NEW.operation_key) THEN
            RAISE EXCEPTION 'the legs of an operation are numbered 1, 2 without gap or repetition'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    """,
    "ledger_transfer_apply": """
        IF NEW.seq > (SELECT last_value FROM transfer_seq_seq) THEN
            RAISE EXCEPTION 'only the database assigns sequence numbers'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        UPDATE account SET balance = balance - NEW.amount, last_transfer = NEW.seq
            WHERE id = NEW.debit_account AND currency = NEW.currency;
        UPDATE account SET balance = balance + NEW.amount, last_transfer = NEW.seq
            WHERE id = NEW.credit_account AND currency = NEW.currency;
        IF NEW.leg = NEW.legs AND NEW.kind IN ('refund', 'release', 'split')
                AND 0 <> (SELECT balance FROM account
                    WHERE id = 'escrow:' || NEW.purchase_id) THEN
            RAISE EXCEPTION 'a decision moves the whole escrow'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    """,
}
TRIGGERS = (
    "account_no_delete BEFORE DELETE OR TRUNCATE ON account"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()",
    "operation_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operation"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()",
    "transfer_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()",
    "account_insert BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION ledger_account_insert()",
    "account_update BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION ledger_account_update()",
    "transfer_insert BEFORE INSERT ON transfer"
    " FOR EACH ROW EXECUTE FUNCTION ledger_transfer_insert()",
    "transfer_apply AFTER INSERT ON transfer FOR EACH ROW EXECUTE FUNCTION ledger_transfer_apply()",
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for trigger in SQLITE:
            connection.execute(sa.text(trigger))
        return
    schema = connection.scalar(sa.text("SELECT quote_ident(current_schema())"))
    for name, body in FUNCTIONS.items():
        connection.execute(
            sa.text(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
                f" SET search_path = {schema}, pg_temp AS $$ BEGIN {body} END $$"
            )
        )
    for trigger in TRIGGERS:
        connection.execute(sa.text(f"CREATE TRIGGER {trigger}"))
