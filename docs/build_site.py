"""Build the documentation site: the pages of the repository, and references made from the code.

The source of the site has the same layout as the repository, so a link that works in one works in the other. zensical
and its packages are about 100 MB, so they have a lock of their own and lie outside of the project's environment.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "server"), str(ROOT / "docs")]

import bootstrap  # noqa: E402 - only found once its folder is on the path
import references  # noqa: E402 - the same

LOCK = ROOT / "requirements-docs.lock"
BUILD = ROOT / "build" / "docs"
SOURCE, SITE = BUILD / "source", BUILD / "site"
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE")
FOLDERS = ("docs", "spec", "examples")
LISTED = ("spec/decisions", "spec/vectors")
MERMAID = "mermaid@11.12.2"
MERMAID_SHA512 = "n34QPDPEKmaeCG4WDMGy0OT6PSyxKCfy2pJgShP+Qow2KLrvWjclwbc3yXfSIf4BanqWEhQEpngWwNp/XhZt6w=="
TUTORIALS = ("customer", "business-quickstart")
HOW_TO = ("operating", "businesses", "webhooks", "rotate-keys", "backup", "witnesses", "proxy", "systemd")
EXPLANATION = ("two-doors", "promises", "log", "decisions")


def main() -> None:
    """Build the site and print where it is; end with a sentence where a link leads nowhere."""
    gather(SOURCE)
    build(SOURCE)
    print(f"The site is in {SITE.relative_to(ROOT)}; show it with: python3 -m http.server -d {SITE.relative_to(ROOT)}")


def build(source: Path) -> None:
    """Make a site beside `source`. Exits if a link or an anchor leads nowhere."""
    if dead := dead_links(source):
        sys.exit("docs: links that lead nowhere:\n" + "\n".join(dead))
    if (script := mermaid()) is not None:
        shutil.copy(script, source / "docs" / "mermaid.min.js")
    config = source.parent / "zensical.toml"
    config.write_text(configuration(source), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(install())}
    # -S: zensical's packages must not mix with those of the project, which may be of other versions.
    command = [sys.executable, "-S", "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        # Behind the warnings zensical shows a traceback of its own.
        sys.exit(f"{built.stderr.partition('Traceback')[0]}docs: the site was not built")


def gather(target: Path) -> None:
    """Put the source of the site into `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in PAGES:
        shutil.copy(ROOT / name, target)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    for program in (target / "docs").glob("*.py"):
        program.unlink()
    for folder in LISTED:
        if (readme := target / folder / "README.md").exists():
            readme.rename(readme.with_name("index.md"))
            continue
        paths = sorted(path for path in (target / folder).iterdir() if path.suffix != ".py")
        lines = [f"- [{title(path) if path.suffix == '.md' else path.name}]({path.name})" for path in paths]
        heading = f"# {Path(folder).name.capitalize()}\n\n"
        (target / folder / "index.md").write_text(heading + "\n".join(lines) + "\n", encoding="utf-8")
    for name, text in references.pages().items():
        (target / "docs" / "reference" / name).write_text(text, encoding="utf-8")
    for page in target.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        # A repository shows a folder by itself, a site does not.
        page.write_text(re.sub(r"(\]\((?!\w+:)[\w./-]+/)\)", r"\1index.md)", text), encoding="utf-8")


def dead_links(source: Path) -> list[str]:
    """Each link to a file that is not there. (zensical looks at pages and their anchors, and at no other file.)"""
    dead = []
    for page in source.rglob("*.md"):
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\((?!\w+:)([^)#\s]+)", text):
            if not (page.parent / link).is_file():
                dead.append(f"{page.relative_to(source)}: {link}")
    return dead


def title(page: Path) -> str:
    """The first heading of a page."""
    return page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def navigation(source: Path) -> list[tuple[str, list[str]]]:
    """(title, pages) of each part of the site, in the order in which it is shown."""
    spec = [
        "README.md",
        *re.findall(r"\]\(([\w-]+\.md)\)", (source / "spec" / "README.md").read_text(encoding="utf-8")),
    ]
    spec += sorted(page.name for page in (source / "spec").glob("*.md"))
    return [
        ("Comity", ["README.md", "docs/index.md"]),
        ("Tutorials", [f"docs/tutorials/{name}.md" for name in TUTORIALS] + ["examples/README.md"]),
        ("How to", [f"docs/how-to/{name}.md" for name in HOW_TO]),
        ("Reference", [f"docs/reference/{name}" for name in ("index.md", *references.PAGES)]),
        ("Explanation", [f"docs/explanation/{name}.md" for name in EXPLANATION]),
        (
            "Specification",
            [f"spec/{name}" for name in (*dict.fromkeys(spec), "decisions/index.md", "vectors/index.md")],
        ),
        ("Project", ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]),
    ]


def configuration(source: Path) -> str:
    """The configuration of zensical, as TOML. Nothing in it makes a page load anything from elsewhere."""
    quote = json.dumps
    parts = [
        f"{{ {quote(name)} = [{', '.join(f'{{ {quote(title(source / page))} = {quote(page)} }}' for page in pages)}] }}"
        for name, pages in navigation(source)
    ]
    return f"""[project]
site_name = "Comity"
docs_dir = "{SOURCE.name}"
site_dir = "{SITE.name}"
nav = [{", ".join(parts)}]
extra_css = ["docs/site.css"]
extra_javascript = ["docs/diagrams.js"]

[project.theme]
font = false
features = ["navigation.tabs", "navigation.top", "navigation.indexes", "content.code.copy", "search.highlight"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
primary = "teal"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
primary = "teal"

[project.markdown_extensions.attr_list]
[project.markdown_extensions.tables]
[project.markdown_extensions.toc]
permalink = true
slugify = {{ object = "pymdownx.slugs.slugify", kwds = {{ case = "lower" }} }}
[project.markdown_extensions.pymdownx.highlight]
[project.markdown_extensions.pymdownx.superfences]
custom_fences = [{{ name = "mermaid", class = "diagram", format = "pymdownx.superfences.fence_code_format" }}]
"""


def install() -> Path:
    """The folder with zensical and its packages; installs them from the lock if it has changed."""
    stamp = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    target = ROOT / ".venv" / f"docs-{stamp}"
    with bootstrap.only_one(ROOT) as held:
        if not target.exists():
            unfinished = target.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            bootstrap.say("installing the site's builder (once)")
            pip = bootstrap.installer(ROOT, bootstrap.working_uv(), held)
            bootstrap.run(
                [*pip, "--require-hashes", "--target", str(unfinished), "-r", str(LOCK)], ROOT / ".venv", held
            )
            unfinished.rename(target)
    return target


def mermaid() -> Path | None:
    """The script that draws diagrams, fetched once by npm; None without npm, and diagrams are shown as text."""
    script = ROOT / ".venv" / f"{MERMAID}.min.js"
    if script.exists():
        return script
    if (npm := shutil.which("npm")) is None:
        bootstrap.say("npm is not there to fetch mermaid: diagrams are shown as text")
        return None
    with bootstrap.only_one(ROOT), tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", MERMAID, "--pack-destination", folder], check=True, stdout=sys.stderr)
        (packed,) = Path(folder).iterdir()
        if base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode() != MERMAID_SHA512:
            sys.exit(f"docs: {MERMAID} is not what it was when its hash was written down")
        with tarfile.open(packed) as package:
            source = package.extractfile("package/dist/mermaid.min.js")
            assert source is not None
            unfinished = script.with_suffix(".unfinished")
            unfinished.write_bytes(source.read())
            unfinished.replace(script)
    return script


if __name__ == "__main__":
    main()
