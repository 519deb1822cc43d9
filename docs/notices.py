"""Writes every kind of notice to var/notices, for a look: `make notices`.

The scenes of `docs.notice_samples` are rehearsed. Notices that differ in transition, actor or
deadline are shown once for each recipient.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from jinja2 import Environment

from activities.money import MoneyActivities
from activities.notices import Rendered, render
from activities.notices.render import render_alert
from activities.requests import NoticeRequest, OperatorAlert
from docs.notice_samples import CASTS, SCENES, Cast, Scene
from docs.rehearsal import Rehearsal, money_activities
from workflows.messages import PurchaseStart

FOLDER = Path("var/notices")
BEGIN = datetime(2026, 3, 4, 15, tzinfo=UTC)
"""A Wednesday; in the week after it New York's clocks go forward, four weeks later Berlin's."""

Kind = tuple[str, str, str]
"""Transition, who acted, and what a reminder or a refusal is about."""


@dataclass(frozen=True)
class Sample:
    """One notice as one reader gets it."""

    request: NoticeRequest
    role: str
    rendered: Rendered

    @property
    def kind(self) -> Kind:
        """What makes it another kind of notice."""
        return kind_of(self.request)

    @property
    def name(self) -> str:
        """The kind and the reader, good for a file name."""
        return "-".join(filter(None, (*self.kind, self.role)))


def kind_of(request: NoticeRequest) -> Kind:
    """What makes a request another kind of notice."""
    about = request.values.get("code", "")
    if request.transition == "reminder" and request.deadlines:
        about = request.deadlines[0].name
    return request.transition, request.actor, about


def all_notices(money: MoneyActivities, cast: Cast) -> Iterator[tuple[Scene, list[NoticeRequest]]]:
    """Every notice of every scene."""
    for scene in SCENES:
        start = PurchaseStart.model_validate(cast.start(scene))
        yield scene, Rehearsal(money, start, BEGIN).play(*cast.acts(scene))


def samples(cast: Cast) -> list[Sample]:
    """Every kind of notice as each of its readers gets it."""
    found: dict[tuple[Kind, str], Sample] = {}
    with money_activities() as money:
        for _, requests in all_notices(money, cast):
            for request in requests:
                for reader in request.recipients:
                    key = (kind_of(request), reader.role)
                    if key not in found:
                        rendered = render(request, reader, cast.base_url)
                        found[key] = Sample(request, reader.role, rendered)
    return [found[key] for key in sorted(found)]


ALERT = OperatorAlert(
    alert_id="audit",
    at=BEGIN,
    subject="The books do not agree: 2 differences",
    lines=(
        "p-1001: the books hold 250.00 USD more than the provider has. Look at the charge.",
        "No purchase: a transfer to an unknown account. Call whoever wrote it.",
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


def write(folder: Path = FOLDER, casts: Sequence[Cast] = CASTS) -> int:
    """Write all samples, a page for each cast and an index; returns how many notices there are.

    Each notice is a file of its own as well, as HTML and as text, under the name of its page.
    """
    names: dict[str, None] = {}
    count = 0
    for cast in casts:
        shown = [(sample.name, sample.rendered) for sample in samples(cast)]
        shown.append(("alert-operator", render_alert(ALERT)))
        (folder / cast.name).mkdir(parents=True, exist_ok=True)
        for name, rendered in shown:
            (folder / cast.name / f"{name}.html").write_text(rendered.html, encoding="utf-8")
            (folder / cast.name / f"{name}.txt").write_text(rendered.text, encoding="utf-8")
        page = _PAGE.render(title=cast.name, shown=shown)
        (folder / f"{cast.name}.html").write_text(page, encoding="utf-8")
        names |= dict.fromkeys(name for name, _ in shown)
        count += len(shown)
    index = _INDEX.render(names=names, pages=[cast.name for cast in casts])
    (folder / "index.html").write_text(index, encoding="utf-8")
    return count


def main() -> None:
    """Write them, and say where they are."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(f"{write()} notices: {FOLDER}/index.html")


if __name__ == "__main__":
    main()
