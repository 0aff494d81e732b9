"""The pages of spec/ as data: their tables and their numbered rules."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "spec"
FAMILIES = (
    "ACT",
    "AGR",
    "ALLOW",
    "AWAY",
    "BACKUP",
    "BIZ",
    "BODY",
    "CHECK",
    "CLOCK",
    "AUD",
    "CONN",
    "ERA",
    "EVENT",
    "FAV",
    "GATE",
    "GRANT",
    "GROW",
    "HOLD",
    "HOME",
    "HOOK",
    "HOURS",
    "HTTP",
    "INV",
    "KEY",
    "LOG",
    "NEWS",
    "NOTE",
    "NOTICE",
    "OFFER",
    "OPS",
    "REC",
    "SAY",
    "STATUS",
    "WALLET",
    "WHO",
)
"""What the numbers of rules begin with."""
NUMBER = re.compile(rf"\b({'|'.join(FAMILIES)})-([0-9]+)\b")
_RULE = re.compile(r"^- \*\*([A-Z]+-[0-9]+)\*\* ", re.MULTILINE)


def page(name: str) -> str:
    """The text of a page."""
    return (SPEC / f"{name}.md").read_text(encoding="utf-8")


def table(name: str, *header: str) -> list[list[str]]:
    """The rows of all tables of a page that have this header, cells without backticks."""
    found: list[list[str]] = []
    inside = False
    for line in page(name).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] if line.startswith("|") else []
        if not cells:
            inside = False
        elif tuple(cell.replace("`", "") for cell in cells) == header:
            inside = True
        elif inside and not set(line) <= set("|-"):
            assert len(cells) == len(header), f"{name}: {line}"
            found.append([cell.replace("`", "").replace("\\|", "|") for cell in cells])
    assert found, f"spec/{name}.md has no table {header}"
    return found


def rules() -> list[tuple[str, str]]:
    """(number, page) of every numbered rule, in the order of the pages."""
    return [(number, path.stem) for path in sorted(SPEC.glob("*.md")) for number in _RULE.findall(page(path.stem))]


def cited(*folders: str) -> dict[str, set[str]]:
    """Every number that Python files in these folders cite, with the files; ranges count whole."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            where = str(path.relative_to(ROOT))
            for family, number in NUMBER.findall(text):
                found.setdefault(f"{family}-{number}", set()).add(where)
            for family, low, high in re.findall(r"\b([A-Z]+)-([0-9]+) to \1-([0-9]+)\b", text):
                for between in range(int(low), int(high) + 1):
                    found.setdefault(f"{family}-{between}", set()).add(where)
    return found
