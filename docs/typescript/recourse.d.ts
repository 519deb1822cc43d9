/**
 * The public contract of Recourse. Generated from docs/contract/ by
 * `python -m tests.signals.typescript_types`; do not edit.
 */

/**
 * The role of a sender.
 */
export type Role = 'client' | 'freelancer' | 'mediator' | 'operator' | 'payments';
export type Actions = Permission[];
export type JsonValue = unknown;

/**
 * Everything that a purchase receives, answers and sends, by its name.
 */
export interface Contract {
  start: PurchaseStart;
  submit_requirements: SubmitRequirements;
  cancel: Cancel;
  decide_refund: DecideRefund;
  withdraw_cancellation: WithdrawCancellation;
  accept_claim: AcceptClaim;
  open_dispute: OpenDispute;
  propose_split: ProposeSplit;
  accept_split: AcceptSplit;
  resolve_dispute: ResolveDispute;
  deliver: Deliver;
  request_changes: RequestChanges;
  accept_delivery: AcceptDelivery;
  give_refund: GiveRefund;
  send_message: SendMessage;
  settlement_update: SettlementUpdate;
  check_payment: CheckPayment;
  resolve_attention: ResolveAttention;
  receipt: Receipt;
  status: Status;
  actions: Actions;
  result: PurchaseResult;
  event: PurchaseEvent;
}
/**
 * The start input. One that cannot be right is rejected before money moves.
 */
export interface PurchaseStart {
  /**
   * The purchase's id, 1 to 64 characters without spaces and invisible characters; it is used once, ever. The workflow id is purchase-<purchase_id>
   */
  purchase_id: string;
  /**
   * What is bought, one line of at most 200 characters
   */
  title: string;
  /**
   * The person who buys
   */
  client: GivenParty;
  /**
   * Who sells; another person than the client
   */
  freelancer: GivenParty;
  /**
   * What the client pays
   */
  price: GivenMoney;
  /**
   * The provider's name for how the client pays, such as pm_sandbox_ok; one line of at most 200 characters. Either this or payment_reference. Default: none
   */
  payment_method?: string | null;
  /**
   * For a purchase that is paid already: the provider's charge or payment intent, one line of at most 200 characters. Default: none
   */
  payment_reference?: string | null;
  /**
   * Whether the client has to send requirements. Default: true
   */
  requirements_needed?: boolean;
  /**
   * When the client bought, UTC, RFC 3339; at most five minutes in the future, which counts as the start of the workflow, and at most ten years ago. Default: when the workflow starts
   */
  purchased_at?: string | null;
  /**
   * Windows and choices of this purchase. Default: the policy's defaults
   */
  policy?: GivenPolicy;
  /**
   * Where the purchase stands, if it already runs elsewhere: it needs payment_reference and purchased_at; nothing is charged, and no deadline begins anew. Default: none
   */
  imported?: GivenImport | null;
}
/**
 * A party in a start input.
 */
export interface GivenParty {
  /**
   * The person's id in your system, 1 to 64 characters without spaces and invisible characters
   */
  id: string;
  /**
   * How the person is addressed, one line of at most 200 characters and 400 bytes
   */
  name: string;
  /**
   * Where notices go, at most 254 characters
   */
  email: string;
  /**
   * An IANA time zone, such as Europe/Lisbon. Default: UTC
   */
  timezone?: string;
  /**
   * Language and country for dates and amounts, such as pt_PT. Default: en_US
   */
  locale?: string;
}
/**
 * A price in a start input: an amount above zero in one currency.
 */
export interface GivenMoney {
  /**
   * The amount in minor units of the currency, such as cents, an integer; 25000 is 250.00 USD; above zero
   */
  amount: number;
  /**
   * Three capital letters of ISO 4217, such as USD
   */
  currency: string;
}
/**
 * A policy in a start input, with its limits.
 */
export interface GivenPolicy {
  /**
   * How long the payment may take, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: PT1H
   */
  payment_window?: string;
  /**
   * How long the client has for the requirements from the purchase on, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: P2D
   */
  requirements_window?: string;
  /**
   * How long the freelancer can cancel after the requirements, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: P1D
   */
  freelancer_cancel_window?: string;
  /**
   * How long the freelancer has to answer a refund request, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: P7D
   */
  refund_decision_window?: string;
  /**
   * What happens at its end. Default: refund
   */
  refund_decision_silence?: 'refund' | 'resume' | 'attention';
  /**
   * How long the client has to answer a claim, written as "N business days", N from 1 to 366, in the policy's calendar. Default: 5 business days
   */
  claim_window?: string;
  /**
   * What happens at its end. Default: pay_claim
   */
  claim_silence?: 'pay_claim' | 'resume';
  /**
   * How long the client has to answer a delivery, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: P14D
   */
  review_window?: string;
  /**
   * How long the work may go without a message of either party, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: P90D
   */
  dormancy_window?: string;
  /**
   * After which staff are reminded of a dispute, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: P30D
   */
  dispute_window?: string;
  /**
   * How long a refund takes at most, written as "N business days", N from 1 to 366, in the policy's calendar. Default: 5 business days
   */
  settlement_window?: string;
  /**
   * presumed: a refund that was sent and did not come back in time has arrived. proved: it waits for proof. Default: presumed
   */
  arrival?: 'presumed' | 'proved';
  /**
   * How long after the end news about the payment opens a case, an ISO 8601 duration of elapsed time, longer than zero, at most P3650D. Default: P120D
   */
  aftercare_window?: string;
  /**
   * Who bears a payment that the bank takes back after it was released. Default: platform
   */
  chargeback_after_release?: 'platform' | 'freelancer';
  /**
   * ask: the client's cancellation needs the freelancer's answer also before requirements. refund: then it is free. Default: ask
   */
  cancel_before_requirements?: 'ask' | 'refund';
  /**
   * How long the client can cancel freely from the purchase on, an ISO 8601 duration, at most P3650D; PT0S: never. Default: PT0S
   */
  free_cancel_window?: string;
  /**
   * Whose bank holidays count: a country (PT), a part of one (US-CA), a bank system (XECB), or up to five of them joined by +. Default: US
   */
  calendar?: string;
  /**
   * The IANA time zone in which business days end. Default: UTC
   */
  calendar_timezone?: string;
  /**
   * When the parties are reminded of a deadline. Default: see each
   */
  reminders?: Reminders;
}
/**
 * How long before a deadline the parties are reminded of it.
 */
export interface Reminders {
  /**
   * Of the requirements, at most 10 ISO 8601 durations, each how long before the deadline. Default: P1D, PT4H
   */
  requirements?: string[];
  /**
   * Of the end of the time to cancel, at most 10 ISO 8601 durations, each how long before the deadline. Default: PT6H
   */
  freelancer_cancel?: string[];
  /**
   * Of the answer to a request, at most 10 ISO 8601 durations, each how long before the deadline. Default: P4D, P1D, PT4H
   */
  refund_decision?: string[];
  /**
   * Of the answer to a claim, at most 10 ISO 8601 durations, each how long before the deadline. Default: P1D
   */
  claim?: string[];
  /**
   * Of the answer to a delivery, at most 10 ISO 8601 durations, each how long before the deadline. Default: P2D
   */
  review?: string[];
}
/**
 * Where a purchase stands that already runs elsewhere, with its limits.
 */
export interface GivenImport {
  /**
   * The stage that the purchase is in; one that is decided already ends elsewhere
   */
  stage:
    | 'awaiting_requirements'
    | 'freelancer_review'
    | 'in_progress'
    | 'delivered'
    | 'refund_requested'
    | 'contested'
    | 'disputed';
  /**
   * The instant of each open deadline, UTC, RFC 3339: that of the stage, and while a refund request is open also requirements or freelancer_cancel, if the stage before it was awaiting_requirements or freelancer_review
   */
  deadlines: {
    [k: string]: string;
  };
  /**
   * The stage that the client's cancellation left; required in refund_requested, contested and disputed. Default: none
   */
  stage_before_request?:
    ('awaiting_requirements' | 'freelancer_review' | 'in_progress' | 'delivered') | null;
  /**
   * What is left of the review window, an ISO 8601 duration such as PT36H, longer than zero; required if the stage before the request was delivered. Default: none
   */
  review_time_left?: string | null;
  /**
   * What the freelancer wants to keep, in minor units of the currency, such as cents, above zero and at most the price; required in contested and disputed. Default: none
   */
  claim?: number | null;
}
/**
 * The client says what is needed.
 */
export interface SubmitRequirements {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text or a JSON object, not empty, at most 64 KiB as JSON
   */
  requirements:
    | string
    | {
        [k: string]: unknown;
      };
}
/**
 * Who sends a message. A party's messages count only under that party's id.
 */
export interface Sender {
  /**
   * The role in which the sender acts
   */
  role: Role;
  /**
   * The sender's id, 1 to 64 characters without spaces and invisible characters; a party's messages count only under that party's id
   */
  id: string;
}
/**
 * The client asks for a refund, or the freelancer cancels inside the cancel window.
 */
export interface Cancel {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * Why, a text for the other side, at most 4,000 characters. Default: none
   */
  reason?: string | null;
}
/**
 * The freelancer's answer to a refund request: approve, or decline with a claim.
 */
export interface DecideRefund {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * approve: all of the escrow is refunded. decline: the freelancer keeps `claim`
   */
  decision: 'approve' | 'decline';
  /**
   * With decline: what the freelancer wants to keep in minor units of the currency, such as cents, above zero and at most the escrow. Default: all of the escrow
   */
  claim?: number | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
}
/**
 * The client takes the cancellation back; the purchase returns to the stage it left.
 */
export interface WithdrawCancellation {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
}
/**
 * The client accepts what the freelancer wants to keep; the rest is refunded.
 */
export interface AcceptClaim {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
}
/**
 * The client does not accept the claim; a mediator decides.
 */
export interface OpenDispute {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * Why, a text for the other side, at most 4,000 characters
   */
  reason: string;
}
/**
 * One side offers the other how to divide the escrow.
 */
export interface ProposeSplit {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
  /**
   * What the client gets in minor units of the currency, such as cents, from 0 to the escrow; the freelancer gets the rest
   */
  refund: number;
}
/**
 * The other side accepts the offer that stands, and repeats its amount.
 */
export interface AcceptSplit {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
  /**
   * The refund of the offer that is accepted, in minor units of the currency, such as cents
   */
  refund: number;
}
/**
 * The mediator divides the escrow.
 */
export interface ResolveDispute {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
  /**
   * What the client gets in minor units of the currency, such as cents, from 0 to the escrow; the freelancer gets the rest
   */
  refund: number;
}
/**
 * The freelancer hands the work over.
 */
export interface Deliver {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
}
/**
 * The client sends the delivery back for more work.
 */
export interface RequestChanges {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
}
/**
 * The client accepts the delivery; the escrow is released to the freelancer.
 */
export interface AcceptDelivery {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
}
/**
 * The freelancer gives all of the escrow back.
 */
export interface GiveRefund {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * A text for the other side, at most 4,000 characters. Default: none
   */
  note?: string | null;
}
/**
 * A text for the other side; nothing changes.
 */
export interface SendMessage {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * The text for the other side, at most 4,000 characters
   */
  text: string;
}
/**
 * The payment provider's report on a refund. `refund_id`: ours or the provider's reference.
 */
export interface SettlementUpdate {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * The refund: ours, as in the status, or the provider's reference, one line of at most 200 characters
   */
  refund_id: string;
  /**
   * sent: the provider has done its part. settled: the client has the money. failed: it could not be sent
   */
  status: 'sent' | 'settled' | 'failed';
  /**
   * The provider's reference of the refund, one line of at most 200 characters. Default: none
   */
  reference?: string | null;
}
/**
 * Something happened to the payment at the provider: look at it there.
 */
export interface CheckPayment {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
}
/**
 * An operator looked into it: retry, or record the proof of the settlement.
 */
export interface ResolveAttention {
  /**
   * Who sends the message
   */
  by: Sender;
  /**
   * An id of your choice, 1 to 64 characters without spaces and invisible characters, unique per sender: a message that is sent again with it takes effect once and gets its first answer. Default: none
   */
  message_id?: string | null;
  /**
   * retry: what is blocked, late or failed is tried again now. mark_settled: the client has the money, `reference` says where the proof is
   */
  action: 'retry' | 'mark_settled';
  /**
   * Where the proof of the settlement is, one line of at most 200 characters; required with mark_settled. Default: none
   */
  reference?: string | null;
}
/**
 * The answer to an accepted update. Its effect is already readable by `status`.
 */
export interface Receipt {
  /**
   * Always true: a rejected update fails instead
   */
  accepted?: true;
  /**
   * The stage, as in docs/rules.md: awaiting_requirements, freelancer_review, in_progress, delivered, refund_requested, contested, disputed, settling or closed, after the message
   */
  stage: string;
  /**
   * What happened, a sentence for people
   */
  text: string;
  /**
   * The next deadline, UTC, RFC 3339; null if none is open
   */
  next_deadline?: string | null;
}
/**
 * Everything about the purchase. `rejected` holds the newest 50 rejected signals,
 * `rejected_count` how many there were. `confirm_url`: the page of the payment provider on which
 * the client confirms the payment, while the client's bank asks for that and the page is known.
 */
export interface Status {
  /**
   * The purchase's id
   */
  purchase_id: string;
  /**
   * What was bought
   */
  title: string;
  /**
   * The client's id
   */
  client: string;
  /**
   * The freelancer's id
   */
  freelancer: string;
  /**
   * What the client pays
   */
  price: Money;
  /**
   * When it was bought, UTC, RFC 3339; null if the worker has an earlier release
   */
  purchased_at?: string | null;
  /**
   * The stage, as in docs/rules.md: awaiting_requirements, freelancer_review, in_progress, delivered, refund_requested, contested, disputed, settling or closed
   */
  stage: string;
  /**
   * How it ended: refunded, released, split, charged_back, payment_declined or payment_failed; null while it is open
   */
  outcome: string | null;
  /**
   * The decision or the event that ended it; null before
   */
  reason: string | null;
  /**
   * Who acts next: client, freelancer, mediator, operator, payments or nobody
   */
  waiting_for: string;
  /**
   * pending, voiding, held, or none: nothing was paid
   */
  payment: string;
  /**
   * Where the client confirms the payment to their bank; null if nobody has to
   */
  confirm_url?: string | null;
  /**
   * Where the money is
   */
  escrow: Escrow;
  /**
   * The refund; null if there is none
   */
  refund: RefundAttempt | null;
  /**
   * Why nothing is paid now; null if nothing is frozen
   */
  frozen?: Frozen | null;
  /**
   * The open deadlines, the next one first
   */
  deadlines: Deadline[];
  /**
   * The split that stands; null if none
   */
  offer: Offer | null;
  /**
   * What the freelancer wants to keep, in minor units of the currency, such as cents; null if nothing is claimed
   */
  claim: number | null;
  requirements?: unknown;
  /**
   * What needs a person
   */
  attention: AttentionItem[];
  /**
   * What happened, the oldest first; the newest 200 entries
   */
  timeline: TimelineEntry[];
  /**
   * Signals that were rejected, the newest 50
   */
  rejected: RejectedSignal[];
  /**
   * How many signals were rejected in all
   */
  rejected_count: number;
  /**
   * Notices that did not reach their recipient, the newest 50
   */
  undelivered: Undelivered[];
  /**
   * Seconds by which the last late deadline had passed when it was applied; null if none was late
   */
  late_by?: number | null;
  /**
   * The name under which its events are numbered: the workflow id, for an aftercare case and a purchase that began again with the time of its beginning; null if it sends none
   */
  stream?: string | null;
  /**
   * The number of its newest event; 0 if it sends none
   */
  sequence?: number;
}
/**
 * An amount in one currency.
 */
export interface Money {
  /**
   * The amount in minor units of the currency, such as cents, an integer; 25000 is 250.00 USD
   */
  amount: number;
  /**
   * Three capital letters of ISO 4217, such as USD
   */
  currency: string;
}
/**
 * Where the money is, as far as the ledger has confirmed it. `charged_back`: what the client's
 * bank has taken back.
 */
export interface Escrow {
  /**
   * Held for the purchase, in minor units of the currency, such as cents
   */
  held: number;
  /**
   * On its way back to the client, in minor units of the currency, such as cents
   */
  in_transit: number;
  /**
   * With the client again, in minor units of the currency, such as cents
   */
  refunded: number;
  /**
   * Paid to the freelancer, in minor units of the currency, such as cents
   */
  released: number;
  /**
   * Taken back by the client's bank, in minor units of the currency, such as cents
   */
  charged_back?: number;
  /**
   * Three capital letters of ISO 4217, such as USD
   */
  currency: string;
}
/**
 * The refund as the provider knows it.
 */
export interface RefundAttempt {
  /**
   * Our name for the attempt, for settlement_update
   */
  refund_id: string;
  /**
   * What is refunded, in minor units of the currency, such as cents
   */
  amount: number;
  /**
   * unsent: the provider does not have it yet. pending: it has. sent: it has done its part. settled: the client has the money. failed, returned: a person decides
   */
  status: 'unsent' | 'pending' | 'sent' | 'settled' | 'failed' | 'returned';
  /**
   * The provider's reference; empty if it has none yet
   */
  reference: string;
}
/**
 * Why nothing is paid: the client's bank has taken `amount` back for now. `reference`: the
 * provider's name for the dispute.
 */
export interface Frozen {
  /**
   * Why nothing is paid
   */
  why: 'bank_dispute';
  /**
   * Since when, UTC, RFC 3339
   */
  since: string;
  /**
   * What the client's bank has taken back for now, in minor units of the currency, such as cents
   */
  amount: number;
  /**
   * The provider's name for the dispute
   */
  reference: string;
}
/**
 * An open deadline, and what happens if nobody acts by then.
 */
export interface Deadline {
  /**
   * Its name, such as refund_decision
   */
  name: string;
  /**
   * When it takes effect, UTC, RFC 3339
   */
  at: string;
  /**
   * What happens if nobody acts by then, the end of a sentence
   */
  then: string;
}
/**
 * A split that one side has offered the other.
 */
export interface Offer {
  /**
   * Who has offered it
   */
  by: Role;
  /**
   * What the client would get, in minor units of the currency, such as cents
   */
  refund: number;
  /**
   * What the freelancer would get, in minor units of the currency, such as cents
   */
  release: number;
  /**
   * When it was offered, UTC, RFC 3339
   */
  at: string;
}
/**
 * Something that needs a person.
 */
export interface AttentionItem {
  /**
   * Why a person is needed, such as effect_blocked
   */
  kind: string;
  /**
   * What is wrong and what to do, for people
   */
  text: string;
  /**
   * Since when, UTC, RFC 3339
   */
  since: string;
}
/**
 * One transition. `by_id`: who sent the message that caused it; `note`: the reason, note or
 * text in it, if it is long only its beginning. `late_by`: seconds by which a deadline had passed
 * when it was applied.
 */
export interface TimelineEntry {
  /**
   * Its number, from 1; gaps mean that older entries were dropped
   */
  number: number;
  /**
   * When it happened, UTC, RFC 3339
   */
  at: string;
  /**
   * The name of the transition, as in docs/rules.md
   */
  transition: string;
  /**
   * Who acted: a role, or system
   */
  by: string;
  /**
   * The id of the sender; null if no message caused it
   */
  by_id?: string | null;
  /**
   * What happened, for people
   */
  text: string;
  /**
   * The beginning of the sender's reason, note or text, 200 bytes; null if none
   */
  note?: string | null;
  /**
   * Seconds by which a deadline had passed when it was applied; null if none had
   */
  late_by?: number | null;
}
/**
 * A signal that was rejected, and why.
 */
export interface RejectedSignal {
  /**
   * When it was rejected, UTC, RFC 3339
   */
  at: string;
  /**
   * The name of the signal, at most 64 characters of it
   */
  name: string;
  /**
   * The code, as in docs/rules.md
   */
  code: string;
  /**
   * Why, and what could be sent instead
   */
  text: string;
  /**
   * Who it says has sent it; null if that cannot be read
   */
  sender?: RecordedSender | null;
}
/**
 * The sender of a message in the past.
 */
export interface RecordedSender {
  /**
   * The role in which the sender acts
   */
  role: Role;
  /**
   * The sender's id, 1 to 64 characters without spaces and invisible characters; a party's messages count only under that party's id
   */
  id: string;
}
/**
 * A notice that did not reach its reader, and why.
 */
export interface Undelivered {
  /**
   * The name of the transition, as in docs/rules.md: what the notice or the event was about
   */
  transition: string;
  /**
   * To whom: client, freelancer, operator, or consumer: another system that receives events
   */
  role: string;
  /**
   * How: mail, webhook, or any
   */
  channel: string;
  /**
   * When it was given up, UTC, RFC 3339
   */
  at: string;
  /**
   * Why it was not delivered
   */
  why: string;
}
/**
 * Whether a role may send a message now, and until when: what a page shows as a button.
 */
export interface Permission {
  /**
   * The name of the message
   */
  message: string;
  /**
   * Whether the role may send it now
   */
  allowed: boolean;
  /**
   * If not: why, and what could be sent instead
   */
  why_not?: string | null;
  /**
   * If not: the code with which it would be rejected
   */
  code?: string | null;
  /**
   * Until when it is allowed, UTC, RFC 3339; null: no deadline ends it
   */
  until?: string | null;
}
/**
 * What the workflow returns. A business outcome always completes it.
 */
export interface PurchaseResult {
  /**
   * The purchase's id
   */
  purchase_id: string;
  /**
   * How it ended: refunded, released, split, charged_back, payment_declined or payment_failed
   */
  outcome: string;
  /**
   * The decision or the event that ended it, such as refund_approved
   */
  reason: string;
  /**
   * What the client got back, in minor units of the currency, such as cents
   */
  refunded: number;
  /**
   * What the freelancer got, in minor units of the currency, such as cents
   */
  released: number;
  /**
   * Three capital letters of ISO 4217, such as USD
   */
  currency: string;
  /**
   * When it was closed, UTC, RFC 3339
   */
  closed_at: string;
}
/**
 * One event, a CloudEvent 1.0 in structured mode (`application/cloudevents+json`).
 */
export interface PurchaseEvent {
  /**
   * The version of CloudEvents
   */
  specversion: '1.0';
  /**
   * The event's id: unique within the source, and the same when it is sent again
   */
  id: string;
  /**
   * The deployment that sends it: /recourse/ and its name, such as /recourse/production
   */
  source: string;
  /**
   * recourse.purchase., the name of the transition, and the version of the event, such as recourse.purchase.refund_declined.v1
   */
  type: string;
  /**
   * The purchase's id
   */
  subject: string;
  /**
   * When the transition took effect, UTC, RFC 3339
   */
  time: string;
  /**
   * The media type of data
   */
  datacontenttype: 'application/json';
  /**
   * The name of the schema of data; it changes with the version of the event
   */
  dataschema: string;
  /**
   * The transition, and how the purchase stands after it
   */
  data: EventData;
}
/**
 * What one transition has changed, and how the purchase stands after it.
 */
export interface EventData {
  /**
   * The purchase's id
   */
  purchase_id: string;
  /**
   * The name under which its events are numbered: the workflow id, for an aftercare case and a purchase that began again with the time of its beginning
   */
  stream: string;
  /**
   * The event's number in its stream, from 1, without gaps
   */
  sequence: number;
  /**
   * The name of the transition, as in docs/rules.md
   */
  transition: string;
  /**
   * The id of its row in docs/rules.md, such as R-32
   */
  row: string;
  /**
   * The version of the rules that the purchase was bought under, such as 1
   */
  rules_version: number;
  /**
   * Who caused it
   */
  actor: EventActor;
  /**
   * The stage, as in docs/rules.md: awaiting_requirements, freelancer_review, in_progress, delivered, refund_requested, contested, disputed, settling or closed, before the transition; null if the purchase begins with it
   */
  stage_before: string | null;
  /**
   * The stage, as in docs/rules.md: awaiting_requirements, freelancer_review, in_progress, delivered, refund_requested, contested, disputed, settling or closed, after the transition
   */
  stage: string;
  /**
   * Who acts next: client, freelancer, mediator, operator, payments or nobody
   */
  waiting_for: string;
  /**
   * The client's id
   */
  client: string;
  /**
   * The freelancer's id
   */
  freelancer: string;
  /**
   * What the client pays
   */
  price: Money;
  /**
   * pending, voiding, held, or none: nothing was paid
   */
  payment: string;
  /**
   * Where the money is
   */
  escrow: Escrow;
  /**
   * What the freelancer wants to keep, in minor units of the currency, such as cents; null if nothing is claimed
   */
  claim: number | null;
  /**
   * The split that stands; null if none
   */
  offer: Offer | null;
  /**
   * Who gets the escrow; null before it is decided
   */
  decision: EventDecision | null;
  /**
   * The refund; null if there is none
   */
  refund: RefundAttempt | null;
  /**
   * Why nothing is paid now; null if nothing is frozen
   */
  frozen: Frozen | null;
  /**
   * The open deadlines, the next one first
   */
  deadlines: EventDeadline[];
  /**
   * What needs a person
   */
  attention: EventAttention[];
  /**
   * How it ended: refunded, released, split, charged_back, payment_declined or payment_failed; null while it is open
   */
  outcome: string | null;
  /**
   * The decision or the event that ended it, such as refund_approved; null before
   */
  reason: string | null;
  /**
   * When it was closed, UTC, RFC 3339; null while it is open
   */
  closed_at: string | null;
  /**
   * What the payment provider calls the same things
   */
  references: EventReferences;
}
/**
 * Who caused the transition.
 */
export interface EventActor {
  /**
   * client, freelancer, mediator, operator, payments or system
   */
  role: string;
  /**
   * The id of the sender; null if no message caused it
   */
  id: string | null;
}
/**
 * Who gets the escrow.
 */
export interface EventDecision {
  /**
   * What the client gets back, in minor units of the currency, such as cents
   */
  refund: number;
  /**
   * What the freelancer gets, in minor units of the currency, such as cents
   */
  release: number;
  /**
   * The decision or the event, such as refund_approved
   */
  reason: string;
  /**
   * When it was decided, UTC, RFC 3339
   */
  at: string;
}
/**
 * An open deadline.
 */
export interface EventDeadline {
  /**
   * Its name, such as refund_decision
   */
  name: string;
  /**
   * When it takes effect, UTC, RFC 3339
   */
  at: string;
  /**
   * Who has to act by then, such as freelancer
   */
  waiting_for: string;
  /**
   * The id of the row in docs/rules.md that applies if nobody acts, such as R-35
   */
  row: string;
}
/**
 * Something that needs a person.
 */
export interface EventAttention {
  /**
   * Why a person is needed, such as effect_blocked
   */
  kind: string;
  /**
   * Since when, UTC, RFC 3339
   */
  since: string;
}
/**
 * The payment provider's names, to find the same at the provider.
 */
export interface EventReferences {
  /**
   * The provider's charge or payment intent; null before the payment is held
   */
  payment: string | null;
  /**
   * The provider's name for the newest refund attempt; null if it has given none
   */
  refund: string | null;
  /**
   * The provider's or the bank's name for the settled refund, such as an ARN; null if there is none
   */
  settlement: string | null;
  /**
   * The provider's name for the newest bank dispute; null if there is none
   */
  bank_dispute: string | null;
}
