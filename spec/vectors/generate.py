"""Makes every vector and fills in the examples of the pages: `python spec/vectors/generate.py`.

Seeds and times are fixed, so making them again changes nothing. With a folder as argument everything is written there
instead, pages too, to be compared.
"""

import json
import re
import sys
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import acts  # noqa: E402 - only found once its folder is on the path
import connecting  # noqa: E402
import decided  # noqa: E402
import edges  # noqa: E402
import examples  # noqa: E402
import forms  # noqa: E402
import home  # noqa: E402
import log_edges  # noqa: E402
import logs  # noqa: E402
import names  # noqa: E402
import notes  # noqa: E402
import notices  # noqa: E402
import offline  # noqa: E402
import plain  # noqa: E402
import standing  # noqa: E402
import tokens  # noqa: E402

FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "keys": plain.keys,
    "names": names.names,
    "ed25519": edges.ed25519,
    "json": plain.json_texts,
    "acts": acts.acts,
    "offers": connecting.offers,
    "agreements": connecting.agreements,
    "events": connecting.events,
    "forms": forms.forms,
    "home": home.home,
    "chains": decided.chains,
    "gate": decided.gates,
    "standing": standing.standing,
    "log": logs.logs,
    "log_edges": log_edges.log_edges,
    "status": offline.status,
    "grants": offline.grants,
    "tokens": tokens.tokens,
    "bodies": offline.bodies,
    "notes": notes.notes,
    "notices": notices.notices,
    "requests": offline.requests,
    "problems": offline.problems,
}
_EXAMPLE = re.compile(r"<!-- example ([a-z0-9_.]+) -->\n```([a-z]*)\n.*?```", re.DOTALL)


def main(target: Path) -> None:
    """Write the vectors and the pages into `target`, which is laid out like spec/."""
    made = {name: make() for name, make in FILES.items()}
    folder = target / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        text = laid_out({"about": cleandoc(FILES[name].__doc__ or ""), **content})
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    shown = examples.examples(made)
    used: set[str] = set()

    def fill(found: re.Match[str]) -> str:
        used.add(found[1])
        return f"<!-- example {found[1]} -->\n```{found[2]}\n{shown[found[1]]}\n```"

    for page in sorted(HERE.parent.glob("*.md")):
        text = _EXAMPLE.sub(fill, page.read_text(encoding="utf-8"))
        (target / page.name).write_text(text, encoding="utf-8")
    if used != set(shown):
        raise SystemExit(f"examples that no page shows: {sorted(set(shown) - used)}")


def laid_out(value: Any, indent: str = "") -> str:
    """JSON with what fits into a line on one line."""
    flat = json.dumps(value)
    if len(indent) + len(flat) <= 160 or not isinstance(value, dict | list):
        return flat
    inner = indent + " "
    if isinstance(value, dict):
        rows = [f"{inner}{json.dumps(name)}: {laid_out(it, inner)}" for name, it in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{inner}{laid_out(it, inner)}" for it in value) + f"\n{indent}]"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent)
