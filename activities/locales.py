"""Time zones and locales by name."""

from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError


def find_zone(name: str) -> ZoneInfo | None:
    """Return the time zone with this IANA name; None if it is unknown."""
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):  # OSError: "America" is a directory
        return None


def find_locale(name: str) -> Locale | None:
    """Return the locale of a name such as pt_PT or pt-PT; None if it is unknown."""
    try:
        found = Locale.parse(name.replace("-", "_"))
    except (ValueError, TypeError, UnknownLocaleError):
        return None
    # "C" is the language of no person; Babel knows it as a variant of English since 2.19.
    return None if found.variant == "POSIX" else found
