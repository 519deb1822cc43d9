"""The activity notifies every recipient once, with any fault of a channel or the database."""

import asyncio
import contextlib
import logging
import mailbox
import random
from collections.abc import Iterable
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.notices import activity
from activities.notices.activity import NoticeActivities
from activities.notices.channels import Channel, MaildirChannel
from activities.notices.log import DeliveryLog
from activities.notices.message import Outgoing
from activities.notices.render import Rendered, render
from activities.requests import ErrorType, NoticeAnswer, NoticeRequest, Party, Recipient
from tests.notices.builders import (
    ANA,
    BO,
    OPERATORS,
    SmtpHandler,
    channel_to,
    client,
    closed_port,
    freelancer,
    listening,
    operator,
    request,
    smtp_channel,
)

ALL = (client(), freelancer(), operator())


async def send(activities: NoticeActivities, asked: NoticeRequest) -> NoticeAnswer:
    return await ActivityEnvironment().run(activities.send_notices, asked)


async def delayed(activities: NoticeActivities, asked: NoticeRequest) -> NoticeAnswer:
    """The answer so far: the detail of the error after which Temporal retries."""
    with pytest.raises(ApplicationError) as caught:
        await send(activities, asked)
    error = caught.value
    assert error.type == ErrorType.NOTICE_DELAYED
    assert not error.non_retryable
    assert "@example.com" not in str(error).replace("***@", "")
    (answer,) = error.details
    assert isinstance(answer, NoticeAnswer)
    return answer


def activities_for(log: DeliveryLog, *channels: Channel) -> NoticeActivities:
    return NoticeActivities(log, channels, operator_email=OPERATORS)


def roles(answer: NoticeAnswer) -> list[str]:
    return [missing.role for missing in answer.undelivered]


async def test_every_recipient_has_one_mail_in_the_maildir(
    log: DeliveryLog, tmp_path: Path
) -> None:
    activities = activities_for(log, MaildirChannel(tmp_path / "mail"))
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
    activities = activities_for(log, MaildirChannel(tmp_path / "mail"))
    for number in ("7", "8"):
        await send(activities, request(transition_id=number, recipients=(client(),)))
    box = list(mailbox.Maildir(tmp_path / "mail", create=False))
    assert len({message["Message-ID"] for message in box}) == 2
    assert len({message["References"] for message in box}) == 1


async def test_a_retry_sends_only_what_was_greylisted(log: DeliveryLog) -> None:
    handler = SmtpHandler(rcpt={ANA.email: "451 come back"})
    async with smtp_channel(handler) as channel:
        activities = activities_for(log, channel)
        answer = await delayed(activities, request())
        assert (answer.delivered, roles(answer)) == (1, ["client"])
        assert answer.undelivered[0].why.endswith("451 come back")
        assert answer.undelivered[0].at == request().at
        assert [notice.status for notice in log.list("p-1001")] == ["pending", "sent"]
        handler.rcpt.clear()
        assert await send(activities, request()) == NoticeAnswer(delivered=2)
    assert [envelope.rcpt_tos for envelope in handler.kept] == [[BO.email], [ANA.email]]


async def test_a_final_rejection_is_returned_and_not_retried(log: DeliveryLog) -> None:
    handler = SmtpHandler(rcpt={BO.email: f"550 <{BO.email}>: unknown"})
    async with smtp_channel(handler) as channel:
        answer = await send(activities_for(log, channel), request())
        assert (answer.delivered, roles(answer)) == (1, ["freelancer"])
        assert answer.undelivered[0].channel == "smtp"
        assert "550 <b***@example.com>: unknown" in answer.undelivered[0].why
        handler.rcpt.clear()
        assert await send(activities_for(log, channel), request()) == answer
    assert [envelope.rcpt_tos for envelope in handler.kept] == [[ANA.email]]


async def test_a_final_rejection_and_a_delay_are_both_in_the_detail(log: DeliveryLog) -> None:
    handler = SmtpHandler(rcpt={BO.email: "550 unknown", ANA.email: "451 later"})
    async with smtp_channel(handler) as channel:
        assert roles(await delayed(activities_for(log, channel), request())) == [
            "client",
            "freelancer",
        ]
        handler.rcpt.clear()
        assert roles(await send(activities_for(log, channel), request())) == ["freelancer"]


async def test_a_retry_after_a_lost_answer_sends_the_same_bytes(
    log: DeliveryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the templates have changed in between."""
    handler = SmtpHandler("hang up")
    async with smtp_channel(handler) as channel:
        asked = request(recipients=(client(),))
        await delayed(activities_for(log, channel), asked)
        newer = Rendered("New", "New words", "<p>New words</p>")
        monkeypatch.setattr(activity, "render", lambda *_: newer)
        await send(activities_for(log, channel), asked)
    first, second = handler.bodies()
    assert first == second


async def test_an_unreachable_channel_delays_all_notices(log: DeliveryLog) -> None:
    answer = await delayed(activities_for(log, channel_to(closed_port())), request(recipients=ALL))
    assert (answer.delivered, len(answer.undelivered)) == (0, 3)
    async with smtp_channel(handler := SmtpHandler()) as channel:
        await send(activities_for(log, channel), request(recipients=ALL))
    assert len(handler.kept) == 3


@pytest.mark.parametrize("seed", range(5))
async def test_random_faults_lose_no_notice_and_change_no_id(log: DeliveryLog, seed: int) -> None:
    """Unreachable, slow, greylisting, rejecting and cutting off a message, in random order."""
    chance = random.Random(seed)
    asked = [request(transition_id=str(number)) for number in range(12)]
    rejected = request(transition_id="rejected", recipients=(client(),))
    open_ones = [*asked]
    handler = SmtpHandler()
    async with smtp_channel(SmtpHandler(rcpt={ANA.email: "550 unknown"})) as channel:
        assert roles(await send(activities_for(log, channel), rejected)) == ["client"]
    async with smtp_channel(handler) as up, listening(asyncio.Protocol) as silent:
        while open_ones:
            chance.shuffle(open_ones)
            fault = chance.choice(("down", "slow", "451 later", "lose", "hang up", "none"))
            handler.replies = [fault] * chance.randint(1, 8) if fault[0] in "4lh" else []
            paths = {"down": channel_to(closed_port()), "slow": channel_to(silent, limit=0.05)}
            activities = activities_for(log, paths.get(fault, up))
            open_ones = [one for one in open_ones if not await arrived(activities, one)]
        handler.replies = []
        assert roles(await send(activities_for(log, up), rejected)) == ["client"]
    sent = [notice for notice in log.list("p-1001") if notice.transition_id != "rejected"]
    bodies = set(handler.bodies())
    ids = {message_from_bytes(body)["Message-ID"] for body in bodies}
    assert {notice.status for notice in sent} == {"sent"}
    assert ids == {notice.message_id for notice in sent}
    assert len(sent) == len(ids) == len(bodies) == 24


async def arrived(activities: NoticeActivities, asked: NoticeRequest) -> bool:
    with contextlib.suppress(ApplicationError):
        return not (await send(activities, asked)).undelivered
    return False


@pytest.mark.parametrize("seed", range(5))
async def test_every_order_of_faults_only_delays(log: DeliveryLog, seed: int) -> None:
    """No notice is lost, and a repeated message has the same bytes."""
    chance = random.Random(seed)
    faults = [chance.choice(("451 later", "421 closing", "lose", "hang up")) for _ in range(6)]
    handler = SmtpHandler(*faults)
    async with smtp_channel(handler) as channel:
        while handler.replies:
            with contextlib.suppress(ApplicationError):
                await send(activities_for(log, channel), request(recipients=ALL))
        answer = await send(activities_for(log, channel), request(recipients=ALL))
    assert answer == NoticeAnswer(delivered=3)
    assert len(set(handler.bodies())) == 3


async def test_every_channel_notifies_everyone_without_waiting_for_another(
    log: DeliveryLog, tmp_path: Path
) -> None:
    maildir = MaildirChannel(tmp_path / "mail")
    answer = await delayed(activities_for(log, channel_to(closed_port()), maildir), request())
    assert (answer.delivered, len(mailbox.Maildir(maildir.path))) == (2, 2)
    assert {(missing.role, missing.channel) for missing in answer.undelivered} == {
        ("client", "smtp"),
        ("freelancer", "smtp"),
    }
    async with smtp_channel(handler := SmtpHandler()) as channel:
        assert await send(activities_for(log, channel, maildir), request()) == NoticeAnswer(
            delivered=4
        )
    sent = log.list("p-1001")
    assert {(notice.channel, notice.role) for notice in sent} == {
        (channel, role) for channel in ("maildir", "smtp") for role in ("client", "freelancer")
    }
    assert len({notice.message_id for notice in sent}) == 4
    assert (len(handler.kept), len(mailbox.Maildir(maildir.path))) == (2, 2)


async def test_an_unreachable_database_delays_all_notices(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/log.db")
    answer = await delayed(
        activities_for(DeliveryLog(engine), MaildirChannel(tmp_path / "mail")), request()
    )
    assert roles(answer) == ["client", "freelancer"]
    assert not (tmp_path / "mail").exists()


async def test_a_log_unreachable_after_delivery_repeats_the_same_message(
    engine: Engine, log: DeliveryLog, tmp_path: Path
) -> None:
    class Breaking(MaildirChannel):
        async def deliver(self, outgoing: Outgoing) -> None:
            await super().deliver(outgoing)
            with engine.begin() as connection:
                connection.execute(text("ALTER TABLE notices RENAME TO away"))

    asked = request(recipients=(client(),))
    assert roles(await delayed(activities_for(log, Breaking(tmp_path / "mail")), asked)) == [
        "client"
    ]
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO notices"))
    assert (
        await send(activities_for(log, MaildirChannel(tmp_path / "mail")), asked)
    ).delivered == 1
    assert len(mailbox.Maildir(tmp_path / "mail", create=False)) == 1


async def test_a_notice_that_cannot_be_written_fails_for_its_reader_only(
    log: DeliveryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_clients(asked: NoticeRequest, who: Recipient, *where: None) -> Rendered:
        if who == client():
            raise KeyError(ANA.email)
        return render(asked, who, *where)

    monkeypatch.setattr(activity, "render", fails_for_clients)
    answer = await send(activities_for(log, MaildirChannel(tmp_path / "mail")), request())
    assert (answer.delivered, roles(answer)) == (1, ["client"])
    assert answer.undelivered[0].why == "The notice could not be written: KeyError."
    assert [notice.status for notice in log.list("p-1001")] == ["failed", "sent"]


async def test_a_bad_address_fails_for_its_reader_only(log: DeliveryLog, tmp_path: Path) -> None:
    odd = Party.model_construct(**(dict(BO) | {"email": "bo@x\r\nBcc: v@example.com"}))
    asked = request().model_copy(update={"freelancer": odd})
    answer = await send(activities_for(log, MaildirChannel(tmp_path / "mail")), asked)
    assert (answer.delivered, roles(answer)) == (1, ["freelancer"])
    assert "mail address is invalid" in answer.undelivered[0].why


async def test_an_internal_error_delays_one_reader_only(log: DeliveryLog, tmp_path: Path) -> None:
    class Faulty(MaildirChannel):
        async def deliver(self, outgoing: Outgoing) -> None:
            if outgoing.notice.address == ANA.email:
                raise ZeroDivisionError(ANA.email)
            await super().deliver(outgoing)

    answer = await delayed(activities_for(log, Faulty(tmp_path / "mail")), request())
    assert (answer.delivered, roles(answer)) == (1, ["client"])


async def test_logs_hold_no_mail_address(
    log: DeliveryLog, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = (ANA.email, BO.email, OPERATORS)

    class Faulty(MaildirChannel):
        async def deliver(self, outgoing: Outgoing) -> None:
            raise RuntimeError(f"cannot reach {outgoing.notice.address}")

    handler = SmtpHandler(rcpt={to: f"451 {to} is busy" for to in addresses})
    with caplog.at_level(logging.DEBUG, logger="temporalio"):
        async with smtp_channel(handler) as channel:
            await delayed(activities_for(log, channel), request(recipients=ALL))
        await delayed(activities_for(log, Faulty(Path("unused"))), request(recipients=ALL))
    assert "a***@example.com" in caplog.text
    assert not any(found in caplog.text for found in addresses)


def test_wrong_settings_are_rejected_at_once(log: DeliveryLog) -> None:
    def made(operator_email: str = OPERATORS, **settings: Any) -> NoticeActivities:
        channel = MaildirChannel(Path("unused"))
        return NoticeActivities(log, [channel], operator_email=operator_email, **settings)

    wrong: Iterable[dict[str, str]] = (
        {"base_url": "javascript:x"},
        {"sender_address": "nobody"},
        {"operator_email": "Staff <staff@example.com>"},
    )
    for settings in wrong:
        with pytest.raises(ValueError, match="Not a"):
            made(**settings)
