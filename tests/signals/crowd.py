"""What a crowd sends: good messages, and those that are refused."""

from typing import Any

from tests.purchases import CLIENT, FREELANCER
from tests.signals.payloads import raw

Signal = tuple[str, Any]

GOOD_ONES = 20
"""So many good messages hide in a crowd of bad ones."""


def good(number: int) -> Signal:
    """A message that must not be lost."""
    return "send_message", {"by": CLIENT, "message_id": f"good-{number}", "text": "Are you there?"}


def bad(number: int) -> Signal:
    """A signal that is refused: not allowed now, a stranger's, broken, or of no known name."""
    kinds: tuple[Signal, ...] = (
        ("deliver", {"by": FREELANCER}),
        ("cancel", {"by": {"role": "client", "id": "eve"}, "message_id": f"eve-{number}"}),
        ("send_message", raw(b'{"by": ')),
        ("refund_me", {"by": CLIENT}),
    )
    return kinds[number % len(kinds)]


def is_bad(signal: Signal) -> bool:
    """Everything but what one of the parties says to the other."""
    return signal[0] != "send_message" or not isinstance(signal[1], dict)
