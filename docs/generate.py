"""Writes the documentation that is made from the code: `python -m docs.generate`."""

from pathlib import Path

from docs import messages_page, rules_page, schemas

HERE = Path(__file__).parent


def files() -> dict[Path, str]:
    """Every generated file, and what it has to say."""
    pages = {HERE / "rules.md": rules_page.page(), HERE / "messages.md": messages_page.page()}
    contract = schemas.files()
    return pages | {HERE / "contract" / name: text for name, text in contract.items()}


def stale() -> list[Path]:
    """The files that do not say what the code says now, and those that nothing generates."""
    wanted = files()
    left_over = [path for path in HERE.glob("contract/*") if path not in wanted]
    return left_over + [path for path, text in wanted.items() if _read(path) != text]


def write() -> None:
    """Bring every file up to date."""
    wanted = files()
    for path in stale():
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    write()
