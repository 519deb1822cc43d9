"""The code of another release, and a worker that runs it. It has other defaults, stricter limits
for new purchases, a currency less and one with other decimals. Import it before the code."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

CHANGES: dict[str, dict[str, str]] = {
    "workflows.policy": {
        "requirements_window: Duration = timedelta(hours=48)": "timedelta(hours=60)",
        "refund_decision_window: Duration = timedelta(days=7)": "timedelta(days=10)",
        "claim_window: BusinessDays = 5": "9",
        "dormancy_window: Duration = timedelta(days=90)": "timedelta(days=1)",
        'cancel_before_requirements: Literal["ask", "refund"] = "ask"': '"refund"',
        'refund_decision_silence: Literal["refund", "resume", "attention"] = "refund"': '"resume"',
        'calendar: str = "US"': '"DE"',
        "LONGEST = timedelta(days=3650)": "timedelta(days=60)",
    },
    "workflows.messages": {
        "    title: Line": "    title: Annotated[str, Field(max_length=12)]",
        "    name: PersonName": "    name: Annotated[str, Field(max_length=3)]",
    },
    "activities.currencies": {
        '"BHD IQD JOD KWD LYD OMR TND"': '"BHD"',
        "JPY ": "",
        "AED ": "AED JPY ",
    },
}
"""By module: a line and what its value is in the other release."""


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text(encoding="utf-8")
        for line, value in CHANGES[fullname].items():
            assert line in source, line
            before = line.rpartition(" = ")[0]
            source = source.replace(line, f"{before} = {value}" if before else value)
        return compile(source, self.path, "exec")


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname in CHANGES else None
        if spec and spec.origin:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


assert not CHANGES.keys() & sys.modules.keys()
sys.meta_path.insert(0, _Finder())

if __name__ == "__main__":
    import worker
    from temporal.process import exit_process

    exit_process(worker.main())
