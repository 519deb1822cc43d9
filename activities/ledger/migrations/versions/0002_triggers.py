"""What no constraint can state: append-only tables, balances moved by transfers and nothing else.

An account remembers the last transfer that moved it. Its balance may change only by the amount of
a later transfer that names it, so that each balance is the sum of its transfers by induction, at
a constant cost however many transfers the account has.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None

# SQLite: an outer INSERT OR IGNORE or OR REPLACE also governs the statements inside a trigger, and
# REPLACE deletes without firing delete triggers. RAISE(ABORT) is above both, so duplicates are
# refused before they can replace anything, and the two balances are looked at after they moved.
SQLITE = (
    """
    CREATE TRIGGER account_insert BEFORE INSERT ON account BEGIN
        SELECT RAISE(ABORT, 'an account is born empty')
            WHERE NEW.balance <> 0 OR NEW.last_transfer IS NOT NULL;
        SELECT RAISE(ABORT, 'the account exists')
            WHERE EXISTS (SELECT 1 FROM account WHERE id = NEW.id);
    END
    """,
    """
    CREATE TRIGGER account_update BEFORE UPDATE ON account BEGIN
        SELECT RAISE(ABORT, 'the terms of an account never change')
            WHERE NEW.id <> OLD.id OR NEW.currency <> OLD.currency OR NEW.floor IS NOT OLD.floor;
        SELECT RAISE(ABORT, 'a balance moves only with a new transfer')
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
        SELECT RAISE(ABORT, 'the key has its operation')
            WHERE EXISTS (SELECT 1 FROM operation WHERE key = NEW.key);
        SELECT RAISE(ABORT, 'a purchase has one hold')
            WHERE NEW.status = 'applied' AND NEW.kind = 'hold' AND EXISTS (
                SELECT 1 FROM operation WHERE purchase_id = NEW.purchase_id
                AND status = 'applied' AND kind = 'hold');
        SELECT RAISE(ABORT, 'a purchase has one decision')
            WHERE NEW.status = 'applied' AND NEW.kind IN ('refund', 'release', 'split')
            AND EXISTS (SELECT 1 FROM operation WHERE purchase_id = NEW.purchase_id
                AND status = 'applied' AND kind IN ('refund', 'release', 'split'));
    END
    """,
    """
    CREATE TRIGGER transfer_insert BEFORE INSERT ON transfer BEGIN
        SELECT RAISE(ABORT, 'a leg follows the one before it, once')
            WHERE NEW.leg <> 1 + (
                SELECT count(*) FROM transfer WHERE operation_key = NEW.operation_key);
        SELECT RAISE(ABORT, 'a leg belongs to an applied operation')
            WHERE NOT EXISTS (SELECT 1 FROM operation WHERE key = NEW.operation_key
                AND status = 'applied' AND legs = NEW.legs AND kind = NEW.kind
                AND purchase_id = NEW.purchase_id AND currency = NEW.currency);
        SELECT RAISE(ABORT, 'the sequence number is taken')
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
        SELECT RAISE(ABORT, 'a transfer moves two accounts of its currency, above their floors')
            WHERE 2 <> (SELECT count(*) FROM account
                WHERE id IN (NEW.debit_account, NEW.credit_account) AND last_transfer = NEW.seq);
        SELECT RAISE(ABORT, 'a decision is about all that is held')
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

# PostgreSQL: the functions read the ledger's own tables whatever search_path or temporary tables
# the session has.
FUNCTIONS = {
    "ledger_append_only": """
        RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'integrity_constraint_violation';
    """,
    "ledger_account_insert": """
        IF NEW.balance <> 0 OR NEW.last_transfer IS NOT NULL THEN
            RAISE EXCEPTION 'an account is born empty'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    """,
    "ledger_account_update": """
        IF NEW.id <> OLD.id OR NEW.currency <> OLD.currency
                OR NEW.floor IS DISTINCT FROM OLD.floor THEN
            RAISE EXCEPTION 'the terms of an account never change'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NOT EXISTS (
                SELECT 1 FROM transfer
                WHERE seq = NEW.last_transfer
                AND seq > coalesce(OLD.last_transfer, 0)
                AND NEW.balance - OLD.balance = CASE NEW.id
                    WHEN credit_account THEN amount WHEN debit_account THEN -amount END) THEN
            RAISE EXCEPTION 'a balance moves only with a new transfer'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    """,
    "ledger_transfer_insert": """
        IF NEW.leg <> 1 + (
                SELECT count(*) FROM transfer WHERE operation_key = NEW.operation_key) THEN
            RAISE EXCEPTION 'a leg follows the one before it, once'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    """,
    "ledger_transfer_apply": """
        IF NEW.seq > (SELECT last_value FROM transfer_seq_seq) THEN
            RAISE EXCEPTION 'the sequence is the database''s own'
            USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        UPDATE account SET balance = balance - NEW.amount, last_transfer = NEW.seq
            WHERE id = NEW.debit_account AND currency = NEW.currency;
        UPDATE account SET balance = balance + NEW.amount, last_transfer = NEW.seq
            WHERE id = NEW.credit_account AND currency = NEW.currency;
        IF NEW.leg = NEW.legs AND NEW.kind IN ('refund', 'release', 'split')
                AND 0 <> (SELECT balance FROM account
                    WHERE id = 'escrow:' || NEW.purchase_id) THEN
            RAISE EXCEPTION 'a decision is about all that is held'
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


def downgrade() -> None:
    raise NotImplementedError("The ledger is append-only: its schema moves forward only.")
