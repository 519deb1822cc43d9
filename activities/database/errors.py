"""The errors of a database that is unreachable or has another schema."""


class DatabaseUnreachable(Exception):
    """The database is away, locked or overloaded. The error is transient: retry with the same key.

    It may be unknown whether the operation was recorded; the key makes the retry safe.
    """


class SchemaMismatch(Exception):
    """The schema of the database is not the one that this version works with."""
