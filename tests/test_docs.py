"""The documentation that is made from the tables is the one that the tables make now."""

from docs.generate import PAGE, REFUSALS, diagram, page
from workflows.lifecycle.deadlines import DEADLINES
from workflows.lifecycle.rules import RULES
from workflows.lifecycle.state import Code, Stage


def test_the_page_of_the_rules_is_up_to_date() -> None:
    """docs/rules.md says what the rules do."""
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    assert written == page(), "docs/rules.md is not what the rules say now: run make docs"


def test_every_row_is_on_the_page() -> None:
    """Every row of the two tables, and every code."""
    rows = page().splitlines()
    for row in RULES:
        assert any(row.transition in line and row.rule in line for line in rows), row
    for deadline in DEADLINES:
        assert any(deadline.transition in line and deadline.warns in line for line in rows)
    assert set(REFUSALS) == set(Code)


def test_the_diagram_shows_every_stage_and_no_way_twice() -> None:
    """Each pair of stages is joined by one arrow, whose label says all that leads there."""
    lines = diagram().splitlines()
    arrows = [line.split(" : ")[0].strip() for line in lines if "-->" in line]
    assert len(arrows) == len(set(arrows))
    for stage in Stage:
        assert any(arrow.endswith(f"--> {stage}") for arrow in arrows), stage
    assert all(line.count(":") <= 1 for line in lines), "a second colon would end the label"
