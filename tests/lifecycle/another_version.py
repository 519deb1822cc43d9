"""A pytest plugin: registers another version of the rules before the tests are collected, made as
the README says.

R-21 has words of its own, and a new row, R-29, lets the client take a disputed cancellation back.
"""

from dataclasses import replace
from typing import cast

from workflows.lifecycle import texts, versions
from workflows.lifecycle.guards import Guard
from workflows.lifecycle.state import Stage
from workflows.lifecycle.transition import Form, To, Transition, message
from workflows.lifecycle.versions import Rules, newest, newest_rules
from workflows.messages import Role

REFUND_DECLINED_2 = replace(
    texts.REFUND_DECLINED,
    explanation="{Client} may accept the claim, make an offer or open a dispute.",
)
DISPUTE_WITHDRAWN = texts.Text(
    heading="Dispute withdrawn",
    summary="{Client} took the dispute and the cancellation back.",
    explanation="{Client} may take a cancellation back until a mediator has decided.",
)
ANOTHER = newest_rules().with_rows(
    replace(newest_rules().row("R-21"), text=REFUND_DECLINED_2),
    Transition(
        id="R-29",
        name="dispute_withdrawn",
        cause=message("withdraw_cancellation", Role.CLIENT),
        stages=(Stage.DISPUTED,),
        guard=Guard(
            "the client has cancelled", lambda draft: draft.state.stage_before_request is not None
        ),
        to=To.BEFORE_REQUEST,
        text=DISPUTE_WITHDRAWN,
        source="O",
        form=Form(label="Take the cancellation back", sample={}),
    ),
)

cast(dict[int, Rules], versions.VERSIONS)[newest() + 1] = ANOTHER
