"""The activity: every reader once, whatever the channel and the database do."""

import asyncio
import contextlib
import logging
import mailbox
import random
from collections.abc import Iterable
from email import message_from_bytes
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.notices import (
    Channel,
    DeliveryLog,
    MaildirChannel,
    NoticeActivities,
    Outgoing,
    Rendered,
    activity,
    render,
)
from activities.requests import ErrorType, NoticeAnswer, NoticeRequest, Party, Recipient
from tests.notices.builders import (
    ANA,
    BO,
    OPERATORS,
    Post,
    channel_to,
    client,
    closed_port,
    freelancer,
    listening,
    operator,
    post_office,
    request,
)

ALL = (client(), freelancer(), operator())


async def send(activities: NoticeActivities, asked: NoticeRequest) -> NoticeAnswer:
    return await ActivityEnvironment().run(activities.send_notices, asked)


async def delayed(activities: NoticeActivities, asked: NoticeRequest) -> NoticeAnswer:
    """The answer so far, out of the error that a retry follows."""
    with pytest.raises(ApplicationError) as caught:
        await send(activities, asked)
    error = caught.value
    assert error.type == ErrorType.NOTICE_DELAYED
    assert not error.non_retryable
    assert "@example.com" not in str(error).replace("***@", "")
    (answer,) = error.details
    assert isinstance(answer, NoticeAnswer)
    return answer


def told(log: DeliveryLog, *channels: Channel) -> NoticeActivities:
    return NoticeActivities(log, channels, operator_email=OPERATORS)


def who(answer: NoticeAnswer) -> list[str]:
    return [missing.role for missing in answer.undelivered]


async def test_everyone_concerned_finds_it_once_in_the_maildir(
    log: DeliveryLog, tmp_path: Path
) -> None:
    activities = told(log, MaildirChannel(tmp_path / "mail"))
    for _ in range(3):
        assert await send(activities, request(recipients=ALL)) == NoticeAnswer(delivered=3)
    box = mailbox.Maildir(tmp_path / "mail", create=False)
    assert sorted(str(message["To"]) for message in box) == [
        "Ana <ana@example.com>",
        "Bo <bo@example.com>",
        "Operators <staff@example.com>",
    ]
    assert len({message["References"] for message in box}) == 3
    assert [(notice.role, notice.status, notice.attempts) for notice in log.list("p-1001")] == [
        ("client", "sent", 1),
        ("freelancer", "sent", 1),
        ("operator", "sent", 1),
    ]


async def test_two_transitions_make_one_thread_of_two(log: DeliveryLog, tmp_path: Path) -> None:
    activities = told(log, MaildirChannel(tmp_path / "mail"))
    for number in ("7", "8"):
        await send(activities, request(transition_id=number, recipients=(client(),)))
    box = list(mailbox.Maildir(tmp_path / "mail", create=False))
    assert len({message["Message-ID"] for message in box}) == 2
    assert len({message["References"] for message in box}) == 1


async def test_greylisting_delays_one_and_a_retry_sends_only_that(log: DeliveryLog) -> None:
    post = Post(rcpt={ANA.email: "451 come back"})
    async with post_office(post) as channel:
        activities = told(log, channel)
        answer = await delayed(activities, request())
        assert (answer.delivered, who(answer)) == (1, ["client"])
        assert answer.undelivered[0].why.endswith("451 come back")
        assert answer.undelivered[0].at == request().at
        assert [notice.status for notice in log.list("p-1001")] == ["pending", "sent"]
        post.rcpt.clear()
        assert await send(activities, request()) == NoticeAnswer(delivered=2)
    assert [envelope.rcpt_tos for envelope in post.kept] == [[BO.email], [ANA.email]]


async def test_a_final_refusal_is_answered_and_not_tried_again(log: DeliveryLog) -> None:
    post = Post(rcpt={BO.email: f"550 <{BO.email}>: unknown"})
    async with post_office(post) as channel:
        answer = await send(told(log, channel), request())
        assert (answer.delivered, who(answer)) == (1, ["freelancer"])
        assert answer.undelivered[0].channel == "smtp"
        assert "550 <b***@example.com>: unknown" in answer.undelivered[0].why
        post.rcpt.clear()
        assert await send(told(log, channel), request()) == answer
    assert [envelope.rcpt_tos for envelope in post.kept] == [[ANA.email]]


async def test_a_final_refusal_and_a_delay_are_both_in_the_detail(log: DeliveryLog) -> None:
    post = Post(rcpt={BO.email: "550 unknown", ANA.email: "451 later"})
    async with post_office(post) as channel:
        assert who(await delayed(told(log, channel), request())) == ["client", "freelancer"]
        post.rcpt.clear()
        assert who(await send(told(log, channel), request())) == ["freelancer"]


async def test_a_lost_answer_repeats_the_same_bytes(
    log: DeliveryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when another version of the templates is at work by then."""
    post = Post("hang up")
    async with post_office(post) as channel:
        asked = request(recipients=(client(),))
        await delayed(told(log, channel), asked)
        newer = Rendered("New", "New words", "<p>New words</p>")
        monkeypatch.setattr(activity, "render", lambda *_: newer)
        await send(told(log, channel), asked)
    first, second = post.bodies()
    assert first == second


async def test_a_channel_that_is_down_tells_all_later(log: DeliveryLog) -> None:
    answer = await delayed(told(log, channel_to(closed_port())), request(recipients=ALL))
    assert (answer.delivered, len(answer.undelivered)) == (0, 3)
    async with post_office(post := Post()) as channel:
        await send(told(log, channel), request(recipients=ALL))
    assert len(post.kept) == 3


@pytest.mark.parametrize("seed", range(5))
async def test_over_many_notices_and_faults_nothing_is_lost_or_has_two_ids(
    log: DeliveryLog, seed: int
) -> None:
    """Down, slow, greylisting, refusing and dropping mid-message, in random order."""
    chance = random.Random(seed)
    asked = [request(transition_id=str(number)) for number in range(12)]
    rejected = request(transition_id="refused", recipients=(client(),))
    open_ones = [*asked]
    post = Post()
    async with post_office(Post(rcpt={ANA.email: "550 unknown"})) as channel:
        assert who(await send(told(log, channel), rejected)) == ["client"]
    async with post_office(post) as up, listening(asyncio.Protocol) as silent:
        while open_ones:
            chance.shuffle(open_ones)
            fault = chance.choice(("down", "slow", "451 later", "lose", "hang up", "none"))
            post.answers = [fault] * chance.randint(1, 8) if fault[0] in "4lh" else []
            paths = {"down": channel_to(closed_port()), "slow": channel_to(silent, limit=0.05)}
            activities = told(log, paths.get(fault, up))
            open_ones = [one for one in open_ones if not await arrived(activities, one)]
        post.answers = []
        assert who(await send(told(log, up), rejected)) == ["client"]
    sent = [notice for notice in log.list("p-1001") if notice.transition_id != "refused"]
    bodies = set(post.bodies())
    ids = {message_from_bytes(body)["Message-ID"] for body in bodies}
    assert {notice.status for notice in sent} == {"sent"}
    assert ids == {notice.message_id for notice in sent}
    assert len(sent) == len(ids) == len(bodies) == 24


async def arrived(activities: NoticeActivities, asked: NoticeRequest) -> bool:
    with contextlib.suppress(ApplicationError):
        return not (await send(activities, asked)).undelivered
    return False


@pytest.mark.parametrize("seed", range(5))
async def test_in_any_order_of_faults_everyone_is_told(log: DeliveryLog, seed: int) -> None:
    """Every fault delays, none loses, and what is repeated is the same message."""
    chance = random.Random(seed)
    faults = [chance.choice(("451 later", "421 closing", "lose", "hang up")) for _ in range(6)]
    post = Post(*faults)
    async with post_office(post) as channel:
        while post.answers:
            with contextlib.suppress(ApplicationError):
                await send(told(log, channel), request(recipients=ALL))
        answer = await send(told(log, channel), request(recipients=ALL))
    assert answer == NoticeAnswer(delivered=3)
    assert len(set(post.bodies())) == 3


async def test_every_channel_tells_everyone_and_none_waits_for_another(
    log: DeliveryLog, tmp_path: Path
) -> None:
    maildir = MaildirChannel(tmp_path / "mail")
    answer = await delayed(told(log, channel_to(closed_port()), maildir), request())
    assert (answer.delivered, len(mailbox.Maildir(maildir.path))) == (2, 2)
    assert {(missing.role, missing.channel) for missing in answer.undelivered} == {
        ("client", "smtp"),
        ("freelancer", "smtp"),
    }
    async with post_office(post := Post()) as channel:
        assert await send(told(log, channel, maildir), request()) == NoticeAnswer(delivered=4)
    sent = log.list("p-1001")
    assert {(notice.channel, notice.role) for notice in sent} == {
        (channel, role) for channel in ("maildir", "smtp") for role in ("client", "freelancer")
    }
    assert len({notice.message_id for notice in sent}) == 4
    assert (len(post.kept), len(mailbox.Maildir(maildir.path))) == (2, 2)


async def test_the_database_down_delays_and_says_nothing_of_it(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/log.db")
    answer = await delayed(told(DeliveryLog(engine), MaildirChannel(tmp_path / "mail")), request())
    assert who(answer) == ["client", "freelancer"]
    assert not (tmp_path / "mail").exists()


async def test_a_log_lost_after_delivery_repeats_the_same_message(
    engine: Engine, log: DeliveryLog, tmp_path: Path
) -> None:
    class Breaking(MaildirChannel):
        async def deliver(self, outgoing: Outgoing) -> None:
            await super().deliver(outgoing)
            with engine.begin() as connection:
                connection.execute(text("ALTER TABLE notices RENAME TO away"))

    asked = request(recipients=(client(),))
    assert who(await delayed(told(log, Breaking(tmp_path / "mail")), asked)) == ["client"]
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO notices"))
    assert (await send(told(log, MaildirChannel(tmp_path / "mail")), asked)).delivered == 1
    assert len(mailbox.Maildir(tmp_path / "mail", create=False)) == 1


async def test_what_cannot_be_written_fails_for_that_reader_alone(
    log: DeliveryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_clients(asked: NoticeRequest, who: Recipient, base: str | None) -> Rendered:
        if who == client():
            raise KeyError(ANA.email)
        return render(asked, who, base)

    monkeypatch.setattr(activity, "render", fails_for_clients)
    answer = await send(told(log, MaildirChannel(tmp_path / "mail")), request())
    assert (answer.delivered, who(answer)) == (1, ["client"])
    assert answer.undelivered[0].why == "The notice could not be written: KeyError."
    assert [notice.status for notice in log.list("p-1001")] == ["failed", "sent"]


async def test_a_bad_address_fails_for_that_reader_alone(log: DeliveryLog, tmp_path: Path) -> None:
    odd = Party.model_construct(**(dict(BO) | {"email": "bo@x\r\nBcc: v@example.com"}))
    asked = request().model_copy(update={"recipients": (client(), freelancer(odd))})
    answer = await send(told(log, MaildirChannel(tmp_path / "mail")), asked)
    assert (answer.delivered, who(answer)) == (1, ["freelancer"])
    assert "mail address is invalid" in answer.undelivered[0].why


async def test_a_fault_of_ours_in_a_channel_keeps_nobody_else_waiting(
    log: DeliveryLog, tmp_path: Path
) -> None:
    class Faulty(MaildirChannel):
        async def deliver(self, outgoing: Outgoing) -> None:
            if outgoing.notice.address == ANA.email:
                raise ZeroDivisionError(ANA.email)
            await super().deliver(outgoing)

    answer = await delayed(told(log, Faulty(tmp_path / "mail")), request())
    assert (answer.delivered, who(answer)) == (1, ["client"])


async def test_no_address_reaches_the_logs(
    log: DeliveryLog, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = (ANA.email, BO.email, OPERATORS)

    class Faulty(MaildirChannel):
        async def deliver(self, outgoing: Outgoing) -> None:
            raise RuntimeError(f"cannot reach {outgoing.notice.address}")

    post = Post(rcpt={to: f"451 {to} is busy" for to in addresses})
    with caplog.at_level(logging.DEBUG, logger="temporalio"):
        async with post_office(post) as channel:
            await delayed(told(log, channel), request(recipients=ALL))
        await delayed(told(log, Faulty(Path("unused"))), request(recipients=ALL))
    assert "a***@example.com" in caplog.text
    assert not any(found in caplog.text for found in addresses)


def test_wrong_settings_are_refused_at_once(log: DeliveryLog) -> None:
    def made(**settings: str) -> NoticeActivities:
        channel = MaildirChannel(Path("unused"))
        return NoticeActivities(log, [channel], **{"operator_email": OPERATORS, **settings})

    wrong: Iterable[dict[str, str]] = (
        {"base_url": "javascript:x"},
        {"sender_address": "nobody"},
        {"operator_email": "Staff <staff@example.com>"},
    )
    for settings in wrong:
        with pytest.raises(ValueError, match="Not a"):
            made(**settings)
