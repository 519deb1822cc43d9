"""The states that purchases are continued from: each belongs to one run, and is continued once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from activities.ledger import Ledger, PurchaseExists, SavedState, schema
from tests.ledger.test_purchases import AT, FIRST, hold

TERMS = SavedState("p-1", "terms", "terms", FIRST.document)
OLDER, NEWER = (SavedState("p-1", run, "state", run.encode()) for run in ("run-1", "run-2"))
NOTHING_TO_ADOPT = "The ledger has no state of purchase p-1 from the run {}: run recourse adopt p-1"


@pytest.fixture
def saved(ledger: Ledger, engine: Engine) -> Ledger:
    """A registered purchase of which two runs have ended, the newer one an hour later. Another
    purchase has a state that is newer still."""
    ledger.register(FIRST)
    other = SavedState("p-2", "run-9", "state", b"9")
    with engine.begin() as connection:
        for hours, state in enumerate((OLDER, NEWER, other)):
            row = vars(state) | {"saved_at": AT + timedelta(hours=hours)}
            connection.execute(schema.saved_state.insert().inline(), row)
    return ledger


def test_the_first_state_of_a_run_stays(ledger: Ledger) -> None:
    """A retry may bring other bytes, because they are sealed anew."""
    for state in (OLDER, replace(OLDER, document=b"again"), NEWER):
        ledger.save_state(state)
    assert ledger.find_state("p-1", "run-1") == OLDER
    assert ledger.find_state("p-1", "run-2") == NEWER


def test_a_state_is_found_by_its_purchase_and_run(saved: Ledger) -> None:
    """Without a run, the newest one of the purchase; its terms if they are asked for."""
    assert saved.find_state("p-1", "run-1") == OLDER
    assert saved.find_state("p-1", "terms") == TERMS
    assert saved.find_state("p-1", "run-9") is None
    assert saved.find_state("p-1") == NEWER
    assert saved.find_state("p-1", only_terms=True) == TERMS
    assert saved.find_state("p-2", only_terms=True) is None
    assert saved.find_state("p-3") is None


def test_a_purchase_without_a_state_is_continued_from_its_terms(ledger: Ledger) -> None:
    """Its first run ended before it saved one."""
    ledger.register(FIRST)
    assert ledger.find_state("p-1") == TERMS


def test_a_purchase_that_began_again_is_continued_from_its_terms(ledger: Ledger) -> None:
    """Although the workflow that began again has taken them."""
    ledger.register(FIRST)
    assert ledger.register(replace(FIRST, first_run="run-2"), paid=True) is False
    found = ledger.find_state("p-1")
    assert found is not None
    assert (found.kind, found.document) == ("terms", FIRST.document)


def test_a_state_is_continued_by_one_workflow(saved: Ledger) -> None:
    """A retry of the one that continues it gets it again; any other is rejected."""
    assert saved.adopt("p-1", "run-2", "run-3") == NEWER
    assert saved.adopt("p-1", "run-2", "run-3") == NEWER
    with pytest.raises(PurchaseExists) as rejected:
        saved.adopt("p-1", "run-2", "run-4")
    assert str(rejected.value) == (
        "Purchase p-1 was continued from the run run-2 before, by the run run-3"
    )


def test_after_a_state_was_continued_only_the_terms_are_left(saved: Ledger) -> None:
    """Until the run that continues it has ended, too. An older state is out of date."""
    saved.adopt("p-1", "run-2", "run-3")
    assert saved.find_state("p-1") == TERMS
    assert saved.find_state("p-1", "run-2") == NEWER
    saved.adopt("p-2", "run-9", "run-10")
    assert saved.find_state("p-2") is None
    last = SavedState("p-1", "run-3", "state", b"3")
    saved.save_state(last)
    assert saved.find_state("p-1") == last


def test_the_newest_state_counts_also_if_an_older_one_was_continued(saved: Ledger) -> None:
    """Each adoption is of one purchase and one run."""
    saved.adopt("p-1", "run-1", "run-2")
    saved.save_state(SavedState("p-2", "run-2", "state", b"2"))
    saved.adopt("p-2", "run-2", "run-7")
    assert saved.find_state("p-1") == NEWER


@pytest.mark.parametrize("run", ["run-3", "run-9", "terms"])
def test_what_the_ledger_has_no_state_of_is_not_continued(saved: Ledger, run: str) -> None:
    """No such run, a run of another purchase, and the terms, whose name everybody knows."""
    with pytest.raises(PurchaseExists) as rejected:
        saved.adopt("p-1", run, "run-4")
    assert str(rejected.value) == NOTHING_TO_ADOPT.format(run)


def test_a_workflow_that_continues_a_purchase_is_no_second_purchase(saved: Ledger) -> None:
    """Only the one that continues this purchase, also while its money is inside."""
    hold(saved)
    saved.adopt("p-1", "run-2", "run-3")
    saved.adopt("p-2", "run-9", "run-10")
    assert saved.register(replace(FIRST, first_run="run-3")) is False
    for other in ("run-2", "run-4", "run-10"):
        with pytest.raises(PurchaseExists, match="run recourse adopt p-1"):
            saved.register(replace(FIRST, first_run=other))


def test_of_many_workflows_at_once_one_continues_a_state(saved: Ledger) -> None:
    """The others are rejected, and not retried."""

    def attempt(number: int) -> SavedState | None:
        try:
            return saved.adopt("p-1", "run-2", f"run-{number}")
        except PurchaseExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(attempt, range(10, 18)))
    assert sorted(found, key=str) == [None] * 7 + [NEWER]
