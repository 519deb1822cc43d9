"""The production worker of another release: a client has 60 hours for the requirements, a
freelancer 10 days for an answer. It runs outside of the package `tests`, which imports the policy.
"""

import sys
from pathlib import Path
from types import ModuleType

SOURCE = Path("workflows/policy.py")
CHANGES = {
    "requirements_window: Duration = timedelta(hours=48)": "hours=60",
    "refund_decision_window: Duration = timedelta(days=7)": "days=10",
}

source = SOURCE.read_text(encoding="utf-8")
for line, changed in CHANGES.items():
    assert line in source
    source = source.replace(line, f"{line.rpartition('(')[0]}({changed})")
policy = ModuleType("workflows.policy")
sys.modules[policy.__name__] = policy
exec(compile(source, SOURCE, "exec"), policy.__dict__)  # noqa: S102

import worker  # noqa: E402
from temporal.process import exit_process  # noqa: E402

if __name__ == "__main__":
    exit_process(worker.main())
