"""Receiving messages: parsed by this package, answered once per id, unable to stop a purchase.

`handlers` gives the workflow a signal and an update for every message, `queue` processes bursts in
batches, `parsing` turns payloads into messages, `idempotency` answers repeated messages.
"""
