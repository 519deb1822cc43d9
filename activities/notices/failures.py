"""Why a notice was not delivered: for now, or finally."""


class TransientFailure(Exception):
    """The notice was not delivered, but may be later. The message holds no mail address."""


class PermanentFailure(Exception):
    """The notice can never be delivered. The message holds no mail address."""


class ChannelUrlError(ValueError):
    """The address of a channel is wrong. The message says what to write and holds no password."""
