"""The public documentation pages: the API page with a form for each route, and the error guide (BIZ-16)."""

import html
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from aiohttp import web

from comity.errors import CODES, Refused
from comity.http_api import JSON
from comity_server.api.business.docs.error_guide import ADVICE
from comity_server.api.business.docs.openapi import document
from comity_server.api.http import SERVER, in_pieces

CSP = "Content-Security-Policy"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script';"
    " trusted-types default dompurify"
)
"""The content security policy: only files of this server."""
CACHED = "public, max-age=3600"
_OWN = Path(__file__).parent / "files"
_OURS = {"policy.js": "text/javascript", "start.js": "text/javascript", "docs.css": "text/css"}
_SWAGGER = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def add_docs_routes(app: web.Application) -> None:
    """Add the routes of the pages and their files."""
    app.router.add_get("/docs", get_docs)
    app.router.add_get("/docs/openapi.json", get_openapi)
    app.router.add_get("/docs/errors", get_errors)
    app.router.add_get("/docs/{asset}", get_asset)


async def get_docs(request: web.Request) -> web.Response:
    """The API page."""
    return _page(_read("index.html"))


async def get_openapi(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document, with the address of this server."""
    headers = {"Content-Type": JSON, "Cache-Control": CACHED, "Access-Control-Allow-Origin": "*"}
    return await in_pieces(request, _document(request.app[SERVER].home.origin), headers)


async def get_errors(request: web.Request) -> web.Response:
    """The error guide."""
    return _page(_errors())


async def get_asset(request: web.Request) -> web.StreamResponse:
    """A script or style sheet of the pages. Raises Refused("not_found")."""
    name = request.match_info["asset"]
    folder, kind = (_OWN, _OURS.get(name)) if name in _OURS else (_swagger(), _SWAGGER.get(name))
    if kind is None:
        raise Refused("not_found")
    headers = {"Content-Type": f"{kind}; charset=utf-8", "Cache-Control": CACHED}
    return await in_pieces(request, _bytes_of(folder / name), headers)


def _page(text: str) -> web.Response:
    headers = {CSP: POLICY, "Cache-Control": CACHED}
    return web.Response(text=text, content_type="text/html", headers=headers)


@cache
def _document(origin: str) -> bytes:
    return json.dumps(document(server=origin), ensure_ascii=False).encode()


@lru_cache(len(_OURS) + len(_SWAGGER))
def _bytes_of(path: Path) -> bytes:
    """The bytes of a file, read once: a file that is open while it is sent costs a descriptor."""
    return path.read_bytes()


@cache
def _swagger() -> Path:
    """The folder of the Swagger UI files, in a package that is located and never imported."""
    found = importlib.util.find_spec("flask_swagger_ui")
    assert found is not None and found.origin is not None, "the files of Swagger UI are a dependency"
    return Path(found.origin).parent / "dist"


@cache
def _read(name: str) -> str:
    return (_OWN / name).read_text(encoding="utf-8")


@cache
def _errors() -> str:
    page = _read("errors.html")
    return page.replace("<!-- contents -->", "\n".join(_contents())).replace("<!-- codes -->", "\n".join(_codes()))


def _html(text: str) -> str:
    """The text as HTML, with backticked words as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _anchor(heading: str) -> str:
    return "about-" + heading.lower().replace(" ", "-")


def _contents() -> Iterator[str]:
    for heading, codes in ADVICE.items():
        links = " ".join(f'<a href="#{code}"><code>{code}</code></a>' for code in codes)
        yield f'<dt><a href="#{_anchor(heading)}">{html.escape(heading)}</a></dt><dd>{links}</dd>'


def _codes() -> Iterator[str]:
    for heading, codes in ADVICE.items():
        yield f'<h2 id="{_anchor(heading)}">{html.escape(heading)}</h2>'
        for code, advice in codes.items():
            status, title = CODES[code]
            yield (
                f'<section id="{code}" aria-labelledby="of-{code}">\n'
                f'<h3 id="of-{code}"><a href="#{code}"><code>{code}</code></a>'
                f' <span class="status">{status}</span></h3>\n'
                f'<p class="title">{html.escape(title)}</p>\n'
                f"<p>{_html(advice.means)}</p>\n"
                f"<p><strong>What to do.</strong> {_html(advice.do)}</p>\n"
                "</section>"
            )
