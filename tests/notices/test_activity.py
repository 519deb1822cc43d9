"""The activity: every reader once, whatever the channel and the database do."""

import contextlib
import logging
import mailbox
import random
from collections.abc import Iterable
from email.message import EmailMessage
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
    Rendered,
    activity,
    render,
)
from activities.requests import ErrorType, NoticeAnswer, NoticeRequest, Party, Recipient
from tests.notices.given import (
    ANA,
    BO,
    OPERATORS,
    Post,
    channel_to,
    client,
    closed_port,
    freelancer,
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


def told(log: DeliveryLog, channel: Channel) -> NoticeActivities:
    return NoticeActivities(log, channel, operator_email=OPERATORS)


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


async def test_the_database_down_delays_and_says_nothing_of_it(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/log.db")
    answer = await delayed(told(DeliveryLog(engine), MaildirChannel(tmp_path / "mail")), request())
    assert who(answer) == ["client", "freelancer"]
    assert not (tmp_path / "mail").exists()


async def test_a_log_lost_after_delivery_repeats_the_same_message(
    engine: Engine, log: DeliveryLog, tmp_path: Path
) -> None:
    class Breaking(MaildirChannel):
        async def deliver(self, message: EmailMessage, to: str) -> None:
            await super().deliver(message, to)
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
    assert "mail address is not a valid one" in answer.undelivered[0].why


async def test_a_fault_of_ours_in_a_channel_keeps_nobody_else_waiting(
    log: DeliveryLog, tmp_path: Path
) -> None:
    class Faulty(MaildirChannel):
        async def deliver(self, message: EmailMessage, to: str) -> None:
            if to == ANA.email:
                raise ZeroDivisionError(to)
            await super().deliver(message, to)

    answer = await delayed(told(log, Faulty(tmp_path / "mail")), request())
    assert (answer.delivered, who(answer)) == (1, ["client"])


async def test_no_address_reaches_the_logs(
    log: DeliveryLog, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = (ANA.email, BO.email, OPERATORS)

    class Faulty(MaildirChannel):
        async def deliver(self, message: EmailMessage, to: str) -> None:
            raise RuntimeError(f"cannot reach {to}")

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
        return NoticeActivities(log, channel, operator_email=OPERATORS, **settings)

    wrong: Iterable[dict[str, str]] = ({"base_url": "javascript:x"}, {"sender_address": "nobody"})
    for settings in wrong:
        with pytest.raises(ValueError, match="Not a"):
            made(**settings)
