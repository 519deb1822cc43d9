"""Mail addresses with letters beyond ASCII before the @, which need SMTPUTF8 (RFC 6531)."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.fields import mail_address
from activities.notices.channels import MaildirChannel, mail_problem
from activities.notices.failures import PermanentFailure
from activities.notices.message import Outgoing, sender
from activities.services import Services
from demo.runner import start as begin
from demo.runner import until
from docs.samples import START
from tests.conftest import settings
from tests.notices.builders import (
    SmtpHandler,
    channel_to,
    closed_port,
    mail_server,
    smtp_channel,
)
from tests.notices.test_channels import ORIGIN, notice
from tests.purchases import held, input_error, purchase
from worker import build_worker
from workflows.messages import PurchaseStart

JOSE = "josé@example.org"
OUTGOING = Outgoing(notice(address=JOSE), "José", ORIGIN)


@pytest.mark.parametrize("local", ["josé", "Éva.Szabó", "用户", "иван+shop", "cafe\u0301"])
def test_letters_of_every_script_may_stand_before_the_at(local: str) -> None:
    client = {**START["client"], "email": f"{local}@example.org"}
    PurchaseStart.model_validate({**START, "client": client})


def test_an_address_is_compared_and_sent_in_its_composed_form() -> None:
    assert mail_address("jose\u0301@bücher.example") == ("josé", "xn--bcher-kva.example")


async def test_it_is_sent_where_the_mail_server_offers_smtputf8() -> None:
    handler = SmtpHandler()
    async with smtp_channel(handler, enable_SMTPUTF8=True) as channel:
        await channel.deliver(OUTGOING)
    (kept,) = handler.kept
    assert kept.rcpt_tos == [JOSE]
    assert f"To: José <{JOSE}>".encode() in handler.bodies()[0].splitlines()


async def test_it_has_failed_finally_where_the_mail_server_does_not() -> None:
    """Such as one that was exchanged after the purchase began."""
    async with smtp_channel(handler := SmtpHandler()) as channel:
        with pytest.raises(PermanentFailure, match="only ASCII characters before the @"):
            await channel.deliver(OUTGOING)
    assert handler.kept == []


async def test_a_maildir_takes_every_address(tmp_path: Path) -> None:
    await MaildirChannel(tmp_path).deliver(OUTGOING)
    (file,) = (tmp_path / "new").iterdir()
    assert JOSE.encode() in file.read_bytes()
    assert await mail_problem([MaildirChannel(tmp_path)], JOSE) == ""


async def test_only_a_mail_server_that_answers_rejects_an_address() -> None:
    """An outage of the mail server keeps nobody from buying."""
    assert await mail_problem([channel_to(closed_port())], JOSE) == ""
    async with smtp_channel(SmtpHandler()) as channel:
        assert await mail_problem([channel], "ana@example.org") == ""
        assert "Give another address." in await mail_problem([channel], JOSE)
    async with smtp_channel(SmtpHandler(), enable_SMTPUTF8=True) as channel:
        assert await mail_problem([channel], JOSE) == ""


@pytest.mark.parametrize("address", [f"Récourse <{JOSE}>", JOSE])
def test_our_own_address_is_ascii(address: str) -> None:
    """Else every message would need SMTPUTF8."""
    with pytest.raises(ValueError, match="in ASCII"):
        sender(address)


@asynccontextmanager
async def working(
    server: WorkflowEnvironment, folder: Path, threads: ThreadPoolExecutor, port: int
) -> AsyncIterator[None]:
    services = Services(replace(settings(folder), mail_url=f"smtp://127.0.0.1:{port}"))
    async with build_worker(server.client, services, threads):
        yield
    services.close()


async def test_a_purchase_of_somebody_who_can_get_no_mail_is_rejected_before_money_moves(
    bare_server: WorkflowEnvironment, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    async with (
        mail_server(SmtpHandler()) as port,
        working(bare_server, tmp_path, threads, port),
    ):
        client = {**START["client"], "email": JOSE}
        handle = await begin(bare_server.client, purchase(client=client))
        why = await input_error(handle)
    assert "client.email cannot get mail: the mail server takes only ASCII characters" in why
    assert "Give another address." in why


async def test_a_purchase_begins_where_mail_reaches_him(
    bare_server: WorkflowEnvironment, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    async with (
        mail_server(handler := SmtpHandler(), enable_SMTPUTF8=True) as port,
        working(bare_server, tmp_path, threads, port),
    ):
        client = {**START["client"], "email": JOSE}
        handle = await held(bare_server, client=client)
        await until(handle, lambda _: JOSE in {each.rcpt_tos[0] for each in handler.kept})
