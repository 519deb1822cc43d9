"""The budget of a purchase in bytes: what it keeps, and what it sends to the server.

All sizes are bytes of JSON in UTF-8, as the data converter writes it: a control character has six,
an emoji four. By default a server rejects a payload over 2 MB and a workflow task over 4 MB; a
purchase that exceeds them cannot continue. Each bound here holds at the place where the text comes
in, so that no list has to be measured again. Together they keep `WorkflowState` below
`LARGEST_STATE`, and every other payload far below that.

| what is kept | at most | together |
|---|---|---|
| the start input and the policy | names of 400 bytes, 10 reminders a deadline | 12 KB |
| `requirements` | 64 KiB | 64 KiB |
| `timeline` | 200 sentences, with senders and notes | 210 KB |
| `rejected`, with name and sender | 50 sentences | 70 KB |
| `undelivered` | 50 sentences | 30 KB |
| answers to repeated messages | 500 accepted, 100 rejected | 280 KB |
| waiting notices | 30, with notes of 64 KiB in all | 300 KB |
| events that are not stored | 64 KB of JSON | 64 KB |
"""

import json

LARGEST_STATE = 1_000_000
"""What continue-as-new may carry: half of what a server accepts by default, and less than a server
accepts with the settings in `deploy/temporal`."""

LARGEST_START = 32 * 1024
"""A start input; larger ones are rejected unparsed."""

LARGEST_ANSWER = 64 * 1024
"""The answer of an activity. An operator can complete an activity with anything."""

LONGEST_PERSON = 400
"""The name of a person: two of them may be in each sentence of the timeline."""

LONGEST_SENTENCE = 400
"""A sentence in the timeline, in a receipt, or about an undelivered notice."""

LONGEST_NOTE = 200
"""A note in the timeline; the notice to the other side has all of it."""

LONGEST_PROBLEM = 600
"""Why a message was rejected or an effect is blocked; it says what to do as well."""

TIMELINE_KEPT = 200
REJECTED_KEPT = 50
UNDELIVERED_KEPT = 50
ACCEPTED_ANSWERS_KEPT = 500
REJECTED_ANSWERS_KEPT = 100

NOTICES_WAITING = 30
"""Notices that may wait for an unreachable mail server; further ones are given up."""

NOTES_WAITING = 64 * 1024
"""The notes of people in those notices, together."""

EVENTS_WAITING = 64_000
"""Bytes of events that may wait for an activity to store them: about 45 events. Further ones are
given up; a consumer sees the gap in their numbers."""

LONG_HISTORY = 2_000_000
"""Bytes of history after which a purchase continues as new. By default a server suggests it at 4 MB
and terminates the workflow at 50 MB."""

SIGNALS_PER_RUN = 25
"""Signals after which a purchase continues as new: half of what the settings in `deploy/temporal`
accept in one run."""


def size(text: str) -> int:
    """The bytes of a text in JSON, without its quotation marks."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")) - 2


def check(text: str, most: int) -> str:
    """The text. Raises ValueError with the end of a sentence if it has more bytes."""
    if size(text) > most:
        raise ValueError(f"must have at most {most} bytes as JSON in UTF-8")
    return text


def cut(text: str, most: int) -> str:
    """The text in at most `most` bytes; a longer one ends with an ellipsis."""
    if size(text) <= most:
        return text
    used = size("…")
    for end, character in enumerate(text):
        used += size(character)
        if used > most:
            return text[:end] + "…"
    return text
