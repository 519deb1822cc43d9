"""Sample signals for bursts and floods: messages that are accepted, and ones that are rejected."""

from typing import Any

from tests.purchases import CLIENT, FREELANCER
from tests.signals.payloads import raw

Signal = tuple[str, Any]

GOOD_COUNT = 20
"""How many good messages are sent among the bad ones."""


def good(number: int) -> Signal:
    """A message that is accepted and must not be lost."""
    return "send_message", {"by": CLIENT, "message_id": f"good-{number}", "text": "Are you there?"}


def bad(number: int) -> Signal:
    """A signal that is rejected: not allowed now, not from a party, broken, or unknown."""
    kinds: tuple[Signal, ...] = (
        ("deliver", {"by": FREELANCER}),
        ("cancel", {"by": {"role": "client", "id": "eve"}, "message_id": f"eve-{number}"}),
        ("send_message", raw(b'{"by": ')),
        ("refund_me", {"by": CLIENT}),
    )
    return kinds[number % len(kinds)]


def is_bad(signal: Signal) -> bool:
    """Whether a sample signal is rejected: all but the readable `send_message`."""
    return signal[0] != "send_message" or not isinstance(signal[1], dict)
