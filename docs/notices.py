"""Writes a sample of every kind of notice to var/notices: `make notices`.

The sample purchases of `docs.notice_samples` are rehearsed. Notices that differ in transition,
actor, deadline or rejection code are of different kinds; each kind is shown once per recipient.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from jinja2 import Environment

from activities.notices.render import Rendered, render, render_alert
from activities.requests import NoticeRequest, OperatorAlert
from docs.notice_samples import SAMPLE_PARTIES, SAMPLE_PURCHASES, SampleParties
from docs.rehearsal import Rehearsal, Rehearsed, money_activities
from workflows.lifecycle.queries import REMINDER
from workflows.messages import PurchaseStart

FOLDER = Path("var/notices")
BEGIN = datetime(2026, 3, 4, 15, tzinfo=UTC)
"""A Wednesday; in the week after it New York's clocks go forward, four weeks later Berlin's."""

Kind = tuple[str, str, str]
"""Transition, actor, and the deadline of a reminder or the code of a rejection."""


@dataclass(frozen=True)
class Sample:
    """One notice for one reader."""

    request: NoticeRequest
    role: str
    rendered: Rendered

    @property
    def kind(self) -> Kind:
        """The kind of the notice."""
        return kind_of(self.request)

    @property
    def name(self) -> str:
        """The kind and the reader, for a file name."""
        return "-".join(filter(None, (*self.kind, self.role)))


def kind_of(request: NoticeRequest) -> Kind:
    """The kind of notice that a request makes."""
    about = request.values.get("code", "")
    if request.transition == REMINDER and request.deadlines:
        about = request.deadlines[0].name
    return request.transition, request.actor, about


def all_notices(money: Rehearsed, parties: SampleParties) -> Iterator[NoticeRequest]:
    """Every notice of every sample purchase."""
    for sample in SAMPLE_PURCHASES:
        start = PurchaseStart.model_validate(parties.start(sample))
        yield from Rehearsal(money, start, BEGIN).run(*parties.steps(sample))


def samples(parties: SampleParties) -> list[Sample]:
    """Every kind of notice for each of its readers."""
    found: dict[tuple[Kind, str], Sample] = {}
    with money_activities() as money:
        for request in all_notices(money, parties):
            for reader in request.recipients:
                key = (kind_of(request), reader.role)
                if key not in found:
                    rendered = render(request, reader, parties.base_url)
                    found[key] = Sample(request, reader.role, rendered)
    return [found[key] for key in sorted(found)]


ALERT = OperatorAlert(
    alert_id="audit",
    at=BEGIN,
    subject="The audit found 2 differences",
    lines=(
        "p-1001: the ledger holds 250.00 USD more than the provider. Check the charge.",
        "No purchase: a transfer to an unknown account. Find out who wrote it.",
    ),
)

_TEMPLATES = Environment(autoescape=True)

_INDEX = _TEMPLATES.from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Notices</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 24px }
  td { padding-right: 24px }
</style>
<h1>Every kind of notice</h1>
<table>
{% for name in names %}
<tr>{% for page in pages %}<td><a href="{{ page }}.html#{{ name }}">{{ page }}</a></td>{% endfor %}
<td>{{ name }}</td></tr>
{% endfor %}
</table>
</html>
""")

_PAGE = _TEMPLATES.from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Notices: {{ title }}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 24px }
  section { display: grid; grid-template-columns: 377px minmax(0, 1fr) auto; gap: 20px;
            align-items: start; border-top: 1px solid #ccc; margin: 24px 0; padding: 16px 0 }
  h2 { grid-column: 1 / -1; font-size: 16px; margin: 0 }
  h2 small { font-weight: normal; color: #555 }
  iframe { border: 1px solid #ccc; width: 100%; height: 400px }
  pre { margin: 0; background: #f6f6f6; padding: 12px; font-size: 12px; width: 74ch;
        white-space: pre-wrap; overflow-wrap: anywhere }
</style>
<h1>{{ title }}</h1>
<p><a href="index.html">All kinds</a></p>
{% for name, rendered in shown %}
<section id="{{ name }}">
<h2>{{ rendered.subject }}<br><small>{{ name }}</small></h2>
{% for _ in range(2) %}
<iframe srcdoc="{{ rendered.html }}" sandbox="allow-same-origin"
 onload="this.style.height = this.contentDocument.documentElement.scrollHeight + 2 + 'px'"></iframe>
{% endfor %}
<pre>{{ rendered.text }}</pre>
</section>
{% endfor %}
</html>
""")


def write(folder: Path = FOLDER, all_parties: Sequence[SampleParties] = SAMPLE_PARTIES) -> int:
    """Write all samples, one page for each pair of parties and an index. Returns the number of
    notices.

    Each notice is also written as an HTML and a text file, in a folder named like its page.
    """
    names: dict[str, None] = {}
    count = 0
    for parties in all_parties:
        shown = [(sample.name, sample.rendered) for sample in samples(parties)]
        shown.append(("alert-operator", render_alert(ALERT)))
        (folder / parties.name).mkdir(parents=True, exist_ok=True)
        for name, rendered in shown:
            (folder / parties.name / f"{name}.html").write_text(rendered.html, encoding="utf-8")
            (folder / parties.name / f"{name}.txt").write_text(rendered.text, encoding="utf-8")
        page = _PAGE.render(title=parties.name, shown=shown)
        (folder / f"{parties.name}.html").write_text(page, encoding="utf-8")
        names |= dict.fromkeys(name for name, _ in shown)
        count += len(shown)
    index = _INDEX.render(names=names, pages=[parties.name for parties in all_parties])
    (folder / "index.html").write_text(index, encoding="utf-8")
    return count


def main() -> None:
    """Write the samples and print where they are."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(f"{write()} notices: {FOLDER}/index.html")


if __name__ == "__main__":
    main()
