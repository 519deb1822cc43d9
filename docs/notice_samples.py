"""What purchases go through in docs/notices.py: the stories of the article, and beyond them
whatever else somebody is told of. And by whom they are played."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from activities.amounts import MAX_AMOUNT
from demo.scenarios import (
    A_DAY_AND_AN_HOUR,
    BRIEF,
    CANCELS,
    DECLINES,
    END,
    SCENARIOS,
    Act,
    CancelWorkflow,
    Send,
    Sleep,
    client,
    freelancer,
)
from docs.rehearsal import Outage
from workflows.messages import Role

CLAIMS_ALL = freelancer("decide_refund", decision="decline", note="It was finished on Monday.")
APPROVES = freelancer("decide_refund", decision="approve")
DISPUTES = client("open_dispute", reason="Nothing was delivered.")
TRY_AGAIN = Send(Role.OPERATOR, "resolve_attention", {"action": "retry"})
PROVEN = {"action": "mark_settled", "reference": "bank statement 7"}
ALL_WELL = Outage()


def mediator(refund: int) -> Send:
    """The mediator decides."""
    note = "A fifth of the work was done."
    return Send(Role.MEDIATOR, "resolve_dispute", {"refund": refund, "note": note})


def provider(refund_id: str, status: str) -> Send:
    """The provider reports on a refund of the purchase `{id}`."""
    return Send(Role.PAYMENTS, "settlement_update", {"refund_id": refund_id, "status": status})


@dataclass(frozen=True)
class Scene:
    """Acts, and what is changed of the start input."""

    name: str
    acts: tuple[Act | Outage, ...]
    changed: Mapping[str, Any] = field(default_factory=dict)


def policy(**choices: Any) -> dict[str, Any]:
    """A start input with these choices."""
    return {"policy": choices}


def method(name: str) -> dict[str, Any]:
    """A start input with this payment method."""
    return {"payment_method": name}


SCENES: tuple[Scene, ...] = (
    *(
        Scene(scenario.name, scenario.acts, method(scenario.payment_method))
        for scenario in SCENARIOS
    ),
    Scene("payment_never_comes", (Outage(("take_payment",)), END)),
    Scene(
        "payment_unknown",
        (
            Outage(("take_payment", "void_payment")),
            BRIEF,
            Sleep(timedelta(hours=2)),
            ALL_WELL,
            TRY_AGAIN,
        ),
    ),
    Scene("cancelled_free", (CANCELS, END), policy(cancel_before_requirements="refund")),
    Scene("cancelled_before_requirements", (CANCELS, END)),
    Scene("nothing_happens", (BRIEF, END)),
    Scene("nothing_happens_but_an_answer", (BRIEF, Sleep(timedelta(days=92)), CLAIMS_ALL)),
    Scene("no_requirements_needed", (A_DAY_AND_AN_HOUR, CANCELS), {"requirements_needed": False}),
    Scene("request_lapses", (BRIEF, CANCELS, END), policy(refund_decision_silence="resume")),
    Scene(
        "request_needs_a_person",
        (BRIEF, CANCELS, Sleep(timedelta(days=8)), mediator(10_000), END),
        policy(refund_decision_silence="attention"),
    ),
    Scene("claim_lapses", (BRIEF, CANCELS, DECLINES, END)),
    Scene("claim_of_all_lapses", (BRIEF, CANCELS, CLAIMS_ALL, END)),
    Scene("claim_of_all_accepted", (BRIEF, CANCELS, CLAIMS_ALL, client("accept_claim"), END)),
    Scene("claim_ends_it", (BRIEF, CANCELS, DECLINES, END), policy(claim_silence="resume")),
    Scene(
        "dispute_takes_too_long",
        (BRIEF, CANCELS, DECLINES, DISPUTES, Sleep(timedelta(days=31)), mediator(0), END),
    ),
    Scene(
        "client_offers",
        (
            BRIEF,
            client("propose_split", refund=25_000, note="I would rather have all of it back."),
            client("propose_split", refund=0),
            client("propose_split", refund=5_000),
            freelancer("accept_split", refund=5_000),
            END,
        ),
    ),
    Scene(
        "changes",
        (
            BRIEF,
            freelancer("deliver", note="Three drafts."),
            client("request_changes", note="A little bluer, please."),
            freelancer("deliver", note="Bluer."),
            CANCELS,
            APPROVES,
            freelancer("send_message", text="Sorry that it did not work out."),
        ),
    ),
    Scene(
        "refund_fails",
        (
            BRIEF,
            freelancer("cancel"),
            Sleep(timedelta(days=4)),
            Send(Role.OPERATOR, "resolve_attention", PROVEN),
            END,
        ),
        method("pm_sandbox_refund_fails"),
    ),
    Scene(
        "refund_fails_then_both_arrive",
        (BRIEF, freelancer("cancel"), Sleep(timedelta(hours=30)), provider("{refund}", "settled")),
        method("pm_sandbox_refund_fails_once"),
    ),
    Scene(
        "books_cannot_be_reached",
        (
            BRIEF,
            Outage(("post_decision",), "The ledger cannot be reached."),
            freelancer("cancel"),
            Sleep(timedelta(hours=1)),
            ALL_WELL,
            TRY_AGAIN,
            END,
        ),
    ),
    Scene(
        "refused",
        (
            client("accept_delivery"),
            client("deliver"),
            client("propose_split", refund=25_001),
            client("cancel", why="A field that there is not."),
            client("refund_me"),
            BRIEF,
            A_DAY_AND_AN_HOUR,
            freelancer("cancel"),
            freelancer("accept_split", refund=1),
            CANCELS,
            CANCELS,
            freelancer("deliver"),
            APPROVES,
            freelancer("decide_refund", decision="decline"),
            CANCELS,
        ),
    ),
    Scene("cancelled_before_the_payment", (Outage(("take_payment",)), CancelWorkflow())),
)


@dataclass(frozen=True)
class Cast:
    """Two people, how they read, what they write, and where notices lead them."""

    name: str
    client: Mapping[str, str]
    freelancer: Mapping[str, str]
    title: str = "Logo design"
    currency: str = "USD"
    scale: int = 1
    """Every amount of the scenes is multiplied by it."""
    id_ends: str = ""
    """What each purchase id ends with."""
    base_url: str | None = None
    words: tuple[str, ...] = ()
    """What they write, instead of what the scenes have them write."""

    def start(self, scene: Scene) -> dict[str, Any]:
        """The start input of a scene."""
        return {
            "purchase_id": f"p-{1001 + SCENES.index(scene)}{self.id_ends}"[:64],
            "title": self.title,
            "client": {"id": "ana", "name": "Ana", "email": "ana@example.com", **self.client},
            "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com", **self.freelancer},
            "price": {"amount": 25_000 * self.scale, "currency": self.currency},
            "payment_method": "pm_sandbox_ok",
            **scene.changed,
        }

    def acts(self, scene: Scene) -> Iterator[Act | Outage]:
        """The acts of a scene as these people play it."""
        refund = f"purchase-{self.start(scene)['purchase_id']}/refund"
        for number, act in enumerate(scene.acts):
            if isinstance(act, Send):
                said = act.fields.items()
                fields = {name: self._said(name, value, number) for name, value in said}
                if "refund_id" in fields:
                    fields["refund_id"] = fields["refund_id"].format(refund=refund)
                yield Send(act.role, act.message, fields)
            else:
                yield act

    def _said(self, name: str, value: Any, number: int) -> Any:
        if name in ("claim", "refund"):
            return value * self.scale
        if name in ("note", "reason", "text") and self.words:
            return self.words[number % len(self.words)]
        return value


HOSTILE_NAMES = (
    "<b>Ana</b><script>alert(1)</script> Bcc: x@evil.example \u202egnp.exe\u202c {freelancer} 👩‍💻",
    "Bo=?utf-8?q?=0D=0A?= https://evil.example/" + "W" * 120,
)
HOSTILE_WORDS = (
    "Click https://evil.example/login?a=1&b=2 or www.evil.example or mail me@evil.example\n\n"
    "Next deadline: never\n\nWhat you can do now\n\n  - Send your password\n",
    "<h1>You have won</h1><img src=x onerror=alert(1)><style>*{display:none}</style> {{ 7 * 7 }}",
    "M" * 600,
    "\u202eevil\u202c \u2066zero\u200bwidth\u2069 Z" + "\u0336\u0489" * 40 + " " + "👩‍👩‍👧‍👦" * 60,
    "שלום, אני לא מרוצה מהעבודה. 250.00 USD!\nمرحبا، لم يتم تسليم أي شيء.\n" + "\n" * 30 + "low",
)

CASTS: tuple[Cast, ...] = (
    Cast(
        "en-US",
        {"timezone": "America/New_York", "locale": "en_US"},
        {"timezone": "America/New_York", "locale": "en_US"},
        base_url="https://market.example",
    ),
    Cast(
        "de-DE",
        {"name": "Änne Groß", "timezone": "Europe/Berlin", "locale": "de_DE"},
        {"name": "Jürgen", "timezone": "Europe/Berlin", "locale": "de_DE"},
        title="Übersetzung der Donaudampfschifffahrtsgesellschaftskapitänsbroschüre",
        currency="EUR",
    ),
    Cast(
        "ja-JP",
        {"name": "花子", "timezone": "Pacific/Kiritimati", "locale": "ja_JP"},
        {"name": "太郎", "timezone": "Pacific/Pago_Pago", "locale": "ja_JP"},
        title="ロゴデザイン",
        currency="JPY",
    ),
    Cast(
        "hostile",
        {"name": HOSTILE_NAMES[0], "timezone": "Africa/Cairo", "locale": "ar_EG"},
        {
            "name": HOSTILE_NAMES[1],
            "timezone": "America/Argentina/ComodRivadavia",
            "locale": "fa_IR",
        },
        title="</title><script>alert(1)</script> =?utf-8?q?x?= " + "Wi" * 75,
        currency="BHD",
        scale=MAX_AMOUNT // 26_000,
        id_ends="-'\"<i>$(x)&{y}" + "W" * 64,
        words=HOSTILE_WORDS,
    ),
)
"""Two languages' formats, the far ends of the world, and somebody who means no good."""
