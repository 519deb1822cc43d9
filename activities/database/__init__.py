"""The one database of Recourse: how it is opened, how its schema is made and checked.

SQLite in one file, or PostgreSQL. The ledger and the delivery log of notices have their tables in
it; the migrations of both are in `migrations`, in one line of versions.
"""

from activities.database.engine import create_engine
from activities.database.errors import DatabaseUnreachable, SchemaMismatch
from activities.database.owner import claim
from activities.database.upgrade import check_schema, migrate

__all__ = [
    "DatabaseUnreachable",
    "SchemaMismatch",
    "check_schema",
    "claim",
    "create_engine",
    "migrate",
]
