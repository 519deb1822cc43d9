"""The documentation that is made from the code is the one that the code makes now."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from docs import reliability, rules_page
from docs.generate import HERE, stale
from docs.messages_page import sample
from docs.rules_page import REJECTIONS, diagram, page
from docs.samples import ANA, SAMPLES, START
from starter.commands import command
from starter.schema import DIALECT, READ, WRITTEN
from tests.contract import FIELDS
from tests.schemas import schema_of, validator_of
from workflows.lifecycle.state import Code, Payment, Stage
from workflows.lifecycle.versions import VERSIONS, Rules, newest_rules
from workflows.messages import MESSAGES, Role

VALUES: dict[str, tuple[str, ...]] = {
    "stage": tuple(Stage),
    "payment": tuple(Payment),
    "waiting_for": (*Role, "nobody"),
    "outcome": (
        *("refunded", "released", "split", "charged_back"),
        *("payment_declined", "payment_failed"),
    ),
}
"""What fields of status and event may hold, for which their schemas have no enum."""
SCHEMAS = sorted(HERE.glob("contract/*.schema.json"))


def test_what_is_generated_is_up_to_date() -> None:
    """The pages and the schemas say what the code does."""
    names = ", ".join(f"docs/{path.relative_to(HERE)}" for path in stale())
    assert not names, f"not what the code says now: {names}. Run `make docs`."


def test_the_glossary_has_forty_terms_at_most_each_one_sentence() -> None:
    """A reader of the code learns them in a few minutes."""
    rows = re.findall(
        r"^\| (?!term )([^|]+) \| ([^|]+) \|$", (HERE / "glossary.md").read_text(), re.M
    )
    assert len(dict(rows)) == len(rows) <= 40
    assert [term for term, meaning in rows if not re.fullmatch(r"[A-Z][^.]*\.", meaning)] == []


# --- the rules


def test_every_row_is_on_the_page() -> None:
    """Every row of the two tables in every version, and every code."""
    lines = page().splitlines()
    for rules in VERSIONS.values():
        for row in rules.transitions:
            assert any(line.startswith(f"| {row.id} | {row.name} |") for line in lines), row.id
        for deadline in rules.deadlines:
            assert any(
                line.startswith(f"| {deadline.name} | `{deadline.window}`") for line in lines
            )
    assert set(REJECTIONS) == set(Code)


def test_the_diagram_shows_every_stage_and_no_way_twice() -> None:
    """Each pair of stages is joined by one arrow, whose label says all that leads there."""
    lines = diagram().splitlines()
    arrows = [line.split(" : ")[0].strip() for line in lines if "-->" in line]
    assert len(arrows) == len(set(arrows))
    for stage in Stage:
        assert any(arrow.endswith(f"--> {stage}") for arrow in arrows), stage
    assert all(line.count(":") <= 1 for line in lines), "a second colon would end the label"


def test_a_row_of_either_party_calls_the_other_one_the_other_side() -> None:
    """R-47: who may accept an offer depends on who has made it."""
    rows = [line for line in page().splitlines() if line.startswith("| R-47 |")]
    assert len(rows) == len(VERSIONS)
    assert all("The other side may accept the offer" in row for row in rows)


def test_a_version_counts_its_own_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that came with a later version is not one of an earlier version."""
    rows = newest_rules().transitions
    fewer = tuple(row for row in rows if row.cause.message != "send_message")
    known = {1: Rules(fewer, newest_rules().deadlines), 2: newest_rules()}
    monkeypatch.setattr(rules_page, "VERSIONS", known)
    newer, older = re.findall(r"There are (\d+) messages", page())
    assert (int(newer), int(older)) == (len(MESSAGES), len(MESSAGES) - 1)


# --- the schemas


def test_there_is_a_schema_of_everything_that_is_sent_and_answered() -> None:
    """The messages, the start input, the four answers and the event."""
    others = {"start", "receipt", "status", "actions", "result", "event"}
    assert {path.name.removesuffix(".schema.json") for path in SCHEMAS} == {*MESSAGES, *others}


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_a_schema_is_whole(path: Path) -> None:
    """It names its dialect, every reference leads somewhere, all that is required is described."""
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert schema["$schema"] == DIALECT
    for part in _objects(schema):
        if isinstance(reference := part.get("$ref"), str):
            assert reference.removeprefix("#/$defs/") in schema["$defs"]
        if part.get("type") == "object" and "properties" in part:
            is_closed = path.name.removesuffix(".schema.json") in READ
            assert part.get("additionalProperties", True) is not is_closed
            assert set(part.get("required", ())) <= set(part["properties"])


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_field_says_what_it_means(path: Path) -> None:
    """Also the fields inside: unit, bound and default in words, and the default as it is sent."""
    schema = json.loads(path.read_text(encoding="utf-8"))
    for part in _objects(schema):
        for name, field in part.get("properties", {}).items():
            assert len(field.get("description", "")) > 10, name
            if field.get("default") is not None:
                reader = {"$defs": schema.get("$defs", {}), **field}
                jsonschema.validate(field["default"], reader)


@pytest.mark.parametrize("name", WRITTEN)
def test_an_answer_has_an_example(name: str) -> None:
    """A real one, with nothing that the schema does not name."""
    schema = schema_of(name)
    (example,) = schema["examples"]
    assert example
    validator_of(schema).validate(example)


@pytest.mark.parametrize("name", WRITTEN)
def test_an_answer_of_a_later_release_fits_the_schema_of_today(name: str) -> None:
    """It has more fields, on every level."""
    schema = schema_of(name)
    (example,) = schema["examples"]
    for part in list(_objects(example)):
        part["added"] = {"later": 1}
    jsonschema.validate(example, schema)


def test_the_schemas_have_the_bounds_of_the_rules() -> None:
    """A claim is above zero, and windows in business days are 1 to 366 days long."""
    for claim, fits in ((0, False), (1, True), (None, True)):
        document = {**FIELDS["decide_refund"], "by": ANA, "claim": claim}
        assert _fits(document, "decide_refund") is fits
    for days in (0, 1, 9, 10, 99, 100, 299, 300, 359, 360, 366, 367, 999, 1000):
        policy = {"claim_window": f"{days} business days"}
        assert _fits({**START, "policy": policy}, "start") is (1 <= days <= 366)


def test_the_descriptions_name_every_value_that_has_no_enum() -> None:
    """Of stage, payment, and who acts next."""
    status, event = schema_of("status"), schema_of("event")["$defs"]["EventData"]
    for fields in (status["properties"], event["properties"]):
        for name, values in VALUES.items():
            text = fields[name]["description"]
            assert [value for value in values if value not in text] == []


def _fits(document: Any, name: str) -> bool:
    return bool(jsonschema.Draft202012Validator(schema_of(name)).is_valid(document))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a document."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _objects(inner)


# --- the samples


@pytest.mark.parametrize("name", MESSAGES)
def test_a_sample_is_good_and_a_literal_everywhere(name: str) -> None:
    """It shows the required fields and all that the schema knows; its JSON is Python as well."""
    assert sample(name).name == name
    assert ast.literal_eval(json.dumps(SAMPLES[name])) == SAMPLES[name]
    schema = schema_of(name)
    assert set(schema["required"]) <= set(SAMPLES[name]) <= set(schema["properties"])


# --- the page of proofs


def test_every_fault_on_the_page_has_its_test() -> None:
    """Under the name that the page of proofs links to, in a file that has it."""
    for fault in reliability.promises_and_faults()["fault"]:
        path, _, name = fault["test"].partition("::")
        assert name in _functions(HERE.parent / path), fault["test"]


def test_the_page_of_proofs_has_every_promise() -> None:
    """Each promise, how it was tested, and each fault; `make reliability` writes it."""
    page = (HERE / "reliability.md").read_text(encoding="utf-8")
    for entries in reliability.promises_and_faults().values():
        assert [entry["text"] for entry in entries if entry["text"] not in page] == []


def test_counts_of_a_proof_that_ran_again_replace_all_it_counted_before(tmp_path: Path) -> None:
    """Also under a title that it no longer has; counts of other proofs stay."""
    walk: dict[str, object] = {"test": "walk", "counts": {}}
    kills: dict[str, object] = {"test": "kills", "counts": {}}
    kept, newer = tmp_path / "kept.json", tmp_path / "newer.json"
    kept.write_text(json.dumps({"walked, an old policy": walk, "killed": kills}), encoding="utf-8")
    newer.write_text(json.dumps({"walked, a policy": walk}), encoding="utf-8")
    assert set(reliability.counted(kept, newer)) == {"walked, a policy", "killed"}


def _functions(path: Path) -> set[str]:
    """All that a file defines."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


# --- the pages on threats and operation


def test_every_threat_is_shown_by_a_test_that_is_there() -> None:
    """Each test that the page on threats names."""
    page = (HERE / "threats.md").read_text(encoding="utf-8")
    there = {name for path in HERE.parent.glob("tests/**/*.py") for name in _functions(path)}
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    assert named - there == set()


@pytest.mark.parametrize("page", ["operations.md", "threats.md", "growth.md", "security.md"])
def test_every_command_in_the_runbook_is_one(page: str) -> None:
    """Of ours, with options that it has."""
    text = (HERE / page).read_text(encoding="utf-8")
    for name, rest in re.findall(r"(?m)(?:^|`)recourse ([a-z-]+)([^`\n#]*)", text):
        options = {option for parameter in command(name).params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, name


# --- the page on architecture


def test_every_hop_of_the_two_walks_is_there() -> None:
    """Each function in the file that the page names, and as few hops as a reader can follow."""
    page = (HERE / "architecture.md").read_text(encoding="utf-8")
    walks = [
        re.findall(r"^\| \d+ \| `(\S+)` \| `(\w+)` \|", part, re.MULTILINE)
        for part in page.split("## ")
    ]
    cancel, approve = (walk for walk in walks if walk)
    assert (len(cancel), len(approve)) == (22, 13)
    for path, name in (*cancel, *approve):
        assert name in _functions(HERE.parent / path), f"{path} has no {name}"
