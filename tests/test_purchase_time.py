"""`purchased_at`: an instant that cannot be right is rejected, one slightly ahead counts as now."""

from datetime import UTC, datetime, timedelta

import pytest

from workflows.acceptance import purchase_time

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_a_purchase_is_never_made_in_the_future() -> None:
    """R-31: a clock that is four minutes ahead makes cancelling no freer."""
    assert purchase_time(None, NOW) is None
    assert purchase_time(NOW + timedelta(minutes=4), NOW) == NOW
    assert purchase_time(NOW - timedelta(minutes=4), NOW) == NOW - timedelta(minutes=4)
    with pytest.raises(ValueError, match="in the future"):
        purchase_time(NOW + timedelta(minutes=6), NOW)


def test_a_purchase_is_at_most_ten_years_old() -> None:
    """The year 1 is the zero time of some language, and no purchase."""
    with pytest.raises(ValueError, match="over ten years ago"):
        purchase_time(datetime(1, 1, 1, tzinfo=UTC), NOW)
