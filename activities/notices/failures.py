"""Why a notice did not arrive: for now, or for good."""


class TransientFailure(Exception):
    """The notice did not arrive now, but may later. Its sentence names no mail address."""


class PermanentFailure(Exception):
    """The notice can never arrive at this reader. Its sentence names no mail address."""


class ChannelUrlError(ValueError):
    """The address of a channel is wrong; the sentence says how, and never shows a password."""
