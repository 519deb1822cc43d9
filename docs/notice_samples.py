"""The purchases and the parties of which docs/notices.py makes sample notices: the scenarios of the
article, and others for every further kind of notice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from activities.amounts import MAX_AMOUNT
from activities.payments.sandbox_events import SandboxEvent
from demo.scenarios import (
    AT_PROVIDER,
    BRIEF,
    CANCELS,
    DECLINES,
    END,
    PAST_CANCEL_WINDOW,
    SCENARIOS,
    CancelWorkflow,
    Happens,
    Send,
    Sleep,
    Step,
    client,
    freelancer,
)
from docs.rehearsal import Outage
from workflows.messages import Role

CLAIMS_ALL = freelancer("decide_refund", decision="decline", note="It was finished on Monday.")
APPROVES = freelancer("decide_refund", decision="approve")
DISPUTES = client("open_dispute", reason="Nothing was delivered.")
RETRY = Send(Role.OPERATOR, "resolve_attention", {"action": "retry"})
PROVEN = {"action": "mark_settled", "reference": "bank statement 7"}
RECOVERY = Outage()


def mediator(refund: int) -> Send:
    """The mediator decides the dispute."""
    note = "A fifth of the work was done."
    return Send(Role.MEDIATOR, "resolve_dispute", {"refund": refund, "note": note})


def provider(refund_id: str, status: str) -> Send:
    """The provider reports the status of a refund; `{refund}` stands for the first attempt."""
    return Send(Role.PAYMENTS, "settlement_update", {"refund_id": refund_id, "status": status})


@dataclass(frozen=True)
class SamplePurchase:
    """The steps of one purchase, and what differs in its start input."""

    name: str
    steps: tuple[Step | Outage, ...]
    changed: Mapping[str, Any] = field(default_factory=dict)


def policy(**choices: Any) -> dict[str, Any]:
    """A start input with these choices."""
    return {"policy": choices}


def method(name: str) -> dict[str, Any]:
    """A start input with this payment method."""
    return {"payment_method": name}


def paid_elsewhere(reference: str) -> dict[str, Any]:
    """A start input with this payment, made before the purchase."""
    return {"payment_method": None, "payment_reference": reference}


SAMPLE_PURCHASES: tuple[SamplePurchase, ...] = (
    *(
        SamplePurchase(scenario.name, scenario.steps, method(scenario.payment_method))
        for scenario in (*SCENARIOS, *AT_PROVIDER)
    ),
    SamplePurchase("payment_made_elsewhere_is_unknown", (), paid_elsewhere("ch_unknown")),
    SamplePurchase("payment_never_comes", (Outage(("take_payment",)), END)),
    SamplePurchase(
        "payment_unknown",
        (
            Outage(("take_payment", "void_payment")),
            BRIEF,
            Sleep(timedelta(hours=2)),
            RECOVERY,
            RETRY,
        ),
    ),
    SamplePurchase("cancelled_free", (CANCELS, END), policy(cancel_before_requirements="refund")),
    SamplePurchase("cancelled_before_requirements", (CANCELS, END)),
    SamplePurchase("nothing_happens", (BRIEF, END)),
    SamplePurchase("nothing_happens_but_an_answer", (BRIEF, Sleep(timedelta(days=92)), CLAIMS_ALL)),
    SamplePurchase(
        "no_requirements_needed", (PAST_CANCEL_WINDOW, CANCELS), {"requirements_needed": False}
    ),
    SamplePurchase(
        "request_lapses", (BRIEF, CANCELS, END), policy(refund_decision_silence="resume")
    ),
    SamplePurchase(
        "request_needs_a_person",
        (BRIEF, CANCELS, Sleep(timedelta(days=8)), mediator(10_000), END),
        policy(refund_decision_silence="attention"),
    ),
    SamplePurchase("claim_lapses", (BRIEF, CANCELS, DECLINES, END)),
    SamplePurchase("claim_of_all_lapses", (BRIEF, CANCELS, CLAIMS_ALL, END)),
    SamplePurchase(
        "claim_of_all_accepted", (BRIEF, CANCELS, CLAIMS_ALL, client("accept_claim"), END)
    ),
    SamplePurchase(
        "claim_ends_it", (BRIEF, CANCELS, DECLINES, END), policy(claim_silence="resume")
    ),
    SamplePurchase(
        "dispute_takes_too_long",
        (BRIEF, CANCELS, DECLINES, DISPUTES, Sleep(timedelta(days=31)), mediator(0), END),
    ),
    SamplePurchase(
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
    SamplePurchase(
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
    SamplePurchase(
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
    SamplePurchase(
        "refund_fails_then_both_settle",
        (BRIEF, freelancer("cancel"), Sleep(timedelta(hours=30)), provider("{refund}", "settled")),
        method("pm_sandbox_refund_fails_once"),
    ),
    SamplePurchase(
        "ledger_unreachable",
        (
            BRIEF,
            Outage(("post_decision",), "The ledger cannot be reached."),
            freelancer("cancel"),
            Sleep(timedelta(hours=1)),
            RECOVERY,
            RETRY,
            END,
        ),
    ),
    SamplePurchase(
        "rejected_messages",
        (
            client("accept_delivery"),
            client("deliver"),
            client("propose_split", refund=25_001),
            client("cancel", why="An unknown field."),
            client("refund_me"),
            BRIEF,
            PAST_CANCEL_WINDOW,
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
    SamplePurchase("cancelled_before_the_payment", (Outage(("take_payment",)), CancelWorkflow())),
    SamplePurchase(
        "bank_wants_a_confirmation",
        (Happens(SandboxEvent.PAYMENT_CONFIRMED), BRIEF),
        method("pm_sandbox_needs_client"),
    ),
    SamplePurchase(
        "refund_sent", (BRIEF, freelancer("cancel"), END), method("pm_sandbox_refund_sent")
    ),
    SamplePurchase(
        "refund_delayed",
        (BRIEF, freelancer("cancel"), Sleep(timedelta(days=2))),
        method("pm_sandbox_refund_pending"),
    ),
    SamplePurchase(
        "frozen", (BRIEF, Happens(SandboxEvent.DISPUTE_OPENED), freelancer("give_refund"))
    ),
    SamplePurchase("bank_asks", (BRIEF, Happens(SandboxEvent.INQUIRY_OPENED))),
    *(
        SamplePurchase(
            f"dispute_after_the_refund_{end}",
            (
                BRIEF,
                freelancer("cancel"),
                Happens(SandboxEvent.DISPUTE_OPENED),
                Happens(SandboxEvent(f"dispute-{end}")),
            ),
            method("pm_sandbox_refund_sent"),
        )
        for end in ("won", "lost")
    ),
    SamplePurchase(
        "dispute_lost_in_part",
        (
            BRIEF,
            Happens(SandboxEvent.DISPUTE_OPENED, 10_000),
            Happens(SandboxEvent.DISPUTE_LOST),
            mediator(5_000),
            END,
        ),
    ),
    SamplePurchase(
        "refunded_elsewhere_in_part",
        (BRIEF, Happens(SandboxEvent.REFUND_ELSEWHERE, 10_000), freelancer("cancel"), END),
    ),
    SamplePurchase(
        "refunded_elsewhere_twice",
        (
            BRIEF,
            freelancer("cancel"),
            Sleep(timedelta(days=4)),
            Happens(SandboxEvent.REFUND_ELSEWHERE),
        ),
        method("pm_sandbox_refund_fails"),
    ),
    SamplePurchase(
        "refund_elsewhere_fails",
        (
            BRIEF,
            Happens(SandboxEvent.REFUND_ELSEWHERE, 10_000),
            Happens(SandboxEvent.REFUND_ELSEWHERE_FAILED),
        ),
    ),
    *(
        SamplePurchase(
            f"dispute_after_the_release_{end}",
            (
                BRIEF,
                freelancer("deliver"),
                client("accept_delivery"),
                END,
                Happens(SandboxEvent.DISPUTE_OPENED),
                Happens(SandboxEvent(f"dispute-{end}")),
            ),
            policy(chargeback_after_release="freelancer"),
        )
        for end in ("won", "lost")
    ),
)


@dataclass(frozen=True)
class SampleParties:
    """Two parties: their names, formats and texts, and the address that their notices link to."""

    name: str
    client: Mapping[str, str]
    freelancer: Mapping[str, str]
    title: str = "Logo design"
    currency: str = "USD"
    scale: int = 1
    """Factor of every amount."""
    id_suffix: str = ""
    """The end of each purchase id."""
    base_url: str | None = None
    texts: tuple[str, ...] = ()
    """Replace the texts of the sample purchases."""

    def start(self, sample: SamplePurchase) -> dict[str, Any]:
        """The start input of a sample purchase."""
        return {
            "purchase_id": f"p-{1001 + SAMPLE_PURCHASES.index(sample)}{self.id_suffix}"[:64],
            "title": self.title,
            "client": {"id": "ana", "name": "Ana", "email": "ana@example.com", **self.client},
            "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com", **self.freelancer},
            "price": {"amount": 25_000 * self.scale, "currency": self.currency},
            "payment_method": "pm_sandbox_ok",
            **sample.changed,
        }

    def steps(self, sample: SamplePurchase) -> Iterator[Step | Outage]:
        """The steps of a sample purchase with the amounts and texts of these parties."""
        refund = f"purchase-{self.start(sample)['purchase_id']}/refund"
        for number, step in enumerate(sample.steps):
            if isinstance(step, Send):
                given = step.fields.items()
                fields = {name: self._field(name, value, number) for name, value in given}
                if "refund_id" in fields:
                    fields["refund_id"] = fields["refund_id"].format(refund=refund)
                yield Send(step.role, step.message, fields)
            elif isinstance(step, Happens):
                yield Happens(step.event, step.amount and step.amount * self.scale)
            else:
                yield step

    def _field(self, name: str, value: Any, number: int) -> Any:
        if name in ("claim", "refund"):
            return value * self.scale
        if name in ("note", "reason", "text") and self.texts:
            return self.texts[number % len(self.texts)]
        return value


HOSTILE_NAMES = (
    "<b>Ana</b><script>alert(1)</script> Bcc: x@evil.example \u202egnp.exe\u202c {freelancer} 👩‍💻",
    "Bo=?utf-8?q?=0D=0A?= https://evil.example/" + "W" * 120,
)
HOSTILE_TEXTS = (
    "Click https://evil.example/login?a=1&b=2 or www.evil.example or mail me@evil.example\n\n"
    "Next deadline: never\n\nWhat you can do now\n\n  - Send your password\n",
    "<h1>You have won</h1><img src=x onerror=alert(1)><style>*{display:none}</style> {{ 7 * 7 }}",
    "M" * 600,
    "\u202eevil\u202c \u2066zero\u200bwidth\u2069 Z" + "\u0336\u0489" * 40 + " " + "👩‍👩‍👧‍👦" * 60,
    "שלום, אני לא מרוצה מהעבודה. 250.00 USD!\nمرحبا، لم يتم تسليم أي شيء.\n" + "\n" * 30 + "low",
)

SAMPLE_PARTIES: tuple[SampleParties, ...] = (
    SampleParties(
        "en-US",
        {"timezone": "America/New_York", "locale": "en_US"},
        {"timezone": "America/New_York", "locale": "en_US"},
        base_url="https://market.example",
    ),
    SampleParties(
        "de-DE",
        {"name": "Änne Groß", "timezone": "Europe/Berlin", "locale": "de_DE"},
        {"name": "Jürgen", "timezone": "Europe/Berlin", "locale": "de_DE"},
        title="Übersetzung der Donaudampfschifffahrtsgesellschaftskapitänsbroschüre",
        currency="EUR",
    ),
    SampleParties(
        "pt-PT",
        {"name": "Conceição", "timezone": "Europe/Lisbon", "locale": "pt_PT"},
        {"name": "João", "timezone": "America/Sao_Paulo", "locale": "pt_BR"},
        title="Tradução de uma brochura",
        currency="EUR",
        base_url="https://market.example",
    ),
    SampleParties(
        "ja-JP",
        {"name": "花子", "timezone": "Pacific/Kiritimati", "locale": "ja_JP"},
        {"name": "太郎", "timezone": "Pacific/Pago_Pago", "locale": "ja_JP"},
        title="ロゴデザイン",
        currency="JPY",
    ),
    SampleParties(
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
        id_suffix="-'\"<i>$(x)&{y}" + "W" * 64,
        texts=HOSTILE_TEXTS,
    ),
)
"""Each language, the formats of others, the first and the last time zone, and hostile parties."""
