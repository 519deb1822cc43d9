"""`setup`: migrates the database and registers with the server what this version needs."""

from activities.services import Settings, engine_of, migrate
from starter import show
from starter.exits import command
from starter.options import Json
from temporal.client import connect
from temporal.limits import missing_limits
from temporal.registration import register_schedules, register_search_attributes


@command
async def setup(as_json: Json = False) -> None:
    """Migrate the database, register search attributes and the daily audit. Safe to repeat."""
    settings = Settings.from_environment()
    engine = engine_of(settings)
    try:
        database = "migrated" if migrate(engine, settings) else "up_to_date"
    finally:
        engine.dispose()
    client = await connect()
    registered = await register_search_attributes(client)
    scheduled = await register_schedules(client)
    limits = await missing_limits(client)
    show.answer(
        {
            "database": database,
            "search_attributes_registered": registered,
            "schedules_registered": scheduled,
            "server_limits_missing": limits,
        },
        show.fields(
            [
                ("Database", database.replace("_", " ")),
                ("Search attributes", ", ".join(registered) or "were registered already"),
                ("Daily audit", "scheduled" if scheduled else "was scheduled already"),
                ("Server limits", limits or "are set"),
            ]
        ),
        as_json=as_json,
    )
