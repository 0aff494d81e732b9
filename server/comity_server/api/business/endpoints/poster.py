"""Pictures of an offer: a QR code, and a poster to print (spec/business-offers.md).

The poster has no scripts and loads nothing, and every text of the business in it is escaped (INV-5).
"""

import asyncio
import base64
import hashlib
import html
import io
from datetime import UTC, datetime
from typing import Annotated

import segno
from pydantic import Field

from comity.documents.offers import Offer, SignedOffer
from comity.errors import Refused
from comity_server.api.business.endpoints.offers import own_offer
from comity_server.api.business.route import Call, Reply, Route
from comity_server.schema import Digits, Query

BORDER = 4
"""The white border of a QR code in modules, as ISO/IEC 18004 requires it."""
MOST_SCALE = 32
_CSS = """
:root { color-scheme: light; --ink: #14213d; --soft: #4a5673; --line: #c9d1e2; --tint: #f3f6fb; --accent: #0b5d51; }
* { box-sizing: border-box; }
html { background: #e8ecf4; }
body { margin: 0; padding: 4vmin; color: var(--ink); font: 18px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  "Noto Sans", Arial, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3rem clamp(1.25rem, 6vw, 4rem) 2rem; background: #fff;
  border-top: .6rem solid var(--accent); border-radius: .4rem; box-shadow: 0 .3rem 1.5rem rgb(20 33 61 / .14); }
h1 { margin: 0; font-size: clamp(2rem, 7vw, 3.4rem); line-height: 1.1; letter-spacing: -.02em; text-wrap: balance;
  overflow-wrap: anywhere; }
.lead { margin: .9rem 0 0; font-size: 1.35rem; color: var(--soft); }
.code { display: grid; grid-template-columns: minmax(13rem, 20rem) minmax(12rem, 1fr); gap: 2.25rem; margin: 2.25rem 0;
  align-items: center; }
.code svg { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: .5rem; }
ol { margin: 0; padding: 0; list-style: none; counter-reset: step; }
ol li { position: relative; padding: 0 0 1.1rem 3rem; counter-increment: step; }
ol li::before { content: counter(step); position: absolute; left: 0; top: -.05rem; width: 2rem; height: 2rem;
  border: 2px solid var(--accent); border-radius: 50%; color: var(--accent); font-weight: 700; line-height: 1.75rem;
  text-align: center; }
h2 { margin: 0 0 .5rem; font-size: 1.15rem; color: var(--accent); }
.what { padding: 1.25rem 1.5rem; background: var(--tint); border-radius: .5rem; }
.what ul { margin: 0; padding-left: 1.2rem; }
.what p { margin: .8rem 0 0; }
.promise { margin: 1.75rem 0; padding-left: 1.1rem; border-left: .3rem solid var(--accent); font-size: 1.15rem;
  font-weight: 600; }
footer { margin-top: 1.75rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .8rem;
  color: var(--soft); }
footer p { margin: .3rem 0; }
code { font: .95em/1.4 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
@media (max-width: 34rem) { .code { grid-template-columns: 1fr; } .code svg { max-width: 20rem; margin: 0 auto; } }
@page { size: A4; margin: 14mm; }
@media print {
  html { background: none; }
  body { padding: 0; font-size: 13pt; }
  main { max-width: none; padding: 8mm 0 0; box-shadow: none; border-radius: 0; }
  .code { grid-template-columns: 78mm 1fr; break-inside: avoid; }
  .what, .promise, footer { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
_STYLE = base64.b64encode(hashlib.sha256(_CSS.encode("utf-8")).digest()).decode("ascii")
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content security policy: this style sheet and nothing else (CSP, level 3)."""
# In the page itself too, for it is kept as a file; `frame-ancestors` counts in a header alone.
_POLICY_IN_PAGE = POLICY.partition("; frame-ancestors")[0]

PURPOSES = {
    "care": "looking after what you have from us: check-ins, service, greetings",
    "care.checkin": "asking now and then how things are",
    "care.greeting": "greetings on your days",
    "care.service": "service of what you have from us",
    "sales": "offers, and news about what we sell",
    "favour": "asking you a favour now and then, and returning it",
    "renewal": "asking whether to go on when something runs out",
    "complaint": "putting right what went wrong",
    "safety": "warnings about your safety",
    "security": "warnings about the security of your data",
    "legal_notice": "notices that the law demands",
}
"""Purpose → its words on a poster. Other purposes are shown by their names."""
CHANNELS = {
    "app": "in your app",
    "email": "by e-mail",
    "phone": "by phone",
    "post": "by post",
    "sms": "by text message",
    "visit": "by a visit",
}
# No locale: the page is the same wherever the server stands.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class QrSize(Query):
    """The size of the picture."""

    scale: Annotated[
        int, Field(ge=1, le=MOST_SCALE, description="The width of one module of the code, in pixels."), Digits
    ] = 8


def qr(link: str) -> segno.QRCode:
    """The QR code of the link with its fragment. It can be read with a quarter of it missing."""
    return segno.make_qr(link, error="q")


def in_words(purpose: str) -> str:
    """The purpose in words for a poster."""
    return PURPOSES.get(purpose) or purpose.replace("_", " ").replace(".", ": ", 1).replace(".", ", ")


async def _open_offer(call: Call) -> SignedOffer:
    """The offer in the path. Raises Refused("not_found"), also for an offer that can no longer be accepted: its picture
    would be useless."""
    row, signed = await own_offer(call)
    if row.used_at is not None or row.expires_at <= call.server.clock.now():
        raise Refused("not_found")
    return signed


async def get_qr_svg(call: Call) -> Reply:
    """The link as a QR code (SVG)."""
    return await _picture(call, "svg", "image/svg+xml")


async def get_qr_png(call: Call) -> Reply:
    """The link as a QR code (PNG)."""
    return await _picture(call, "png", "image/png")


async def _picture(call: Call, kind: str, media: str) -> Reply:
    link = (await _open_offer(call)).link()
    return Reply(200, await asyncio.to_thread(_draw, link, kind, call.query.scale), media=media)


def _draw(link: str, kind: str, scale: int) -> bytes:
    out = io.BytesIO()
    # The background is white, not transparent: on a dark page a transparent code cannot be read.
    qr(link).save(out, kind=kind, scale=scale, border=BORDER, dark="#000", light="#fff")
    return out.getvalue()


async def get_poster(call: Call) -> Reply:
    """The poster of an offer."""
    signed = await _open_offer(call)
    page = await asyncio.to_thread(poster, signed, call.business.name)
    return Reply(200, page.encode("utf-8"), media="text/html", headers={"Content-Security-Policy": POLICY})


def poster(signed: SignedOffer, business: str) -> str:
    """The HTML of the poster. `business` is the name for an offer without one."""
    offer, link = signed.offer, signed.link()
    drawing = qr(link).svg_inline(border=BORDER, dark="#000", light="#fff", omitsize=True)
    name = html.escape(offer.name or business)
    drawing = drawing.replace("<svg ", '<svg role="img" aria-label="QR code: the link below" ', 1)
    return _PAGE.format(
        policy=html.escape(_POLICY_IN_PAGE),
        css=_CSS,
        name=name,
        drawing=drawing,
        purposes="".join(f"<li>{html.escape(in_words(purpose))}</li>" for purpose in offer.purposes),
        channels=html.escape(_channels(offer)),
        until=html.escape(_until(offer)),
        link=html.escape(link),
        operator=html.escape(offer.operator),
    )


def _channels(offer: Offer) -> str:
    if offer.channels is None:
        return "You choose by which ways we may reach you."
    return f"We would like to reach you {_join_words([CHANNELS[channel] for channel in offer.channels])}. You choose."


def _join_words(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _until(offer: Offer) -> str:
    end = datetime.fromtimestamp(offer.exp, UTC)
    day = f"{end.day} {_MONTHS[end.month - 1]} {end.year}, {end:%H:%M} UTC"
    return f"For one person, until {day}." if offer.use == "one" else f"Good until {day}."


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{name}: stay in touch, on your terms</title>
<style>{css}</style>
</head>
<body>
<main>
<h1 dir="auto">{name}</h1>
<p class="lead">would like to stay in touch, on your terms.</p>
<section class="code" aria-label="How to connect">
{drawing}
<ol role="list">
<li>Scan the code with your wallet.</li>
<li>Read what we both sign. Looking at it accepts nothing.</li>
<li>Choose what we may do, and until when.</li>
</ol>
</section>
<section class="what">
<h2>What we would like to stay in touch for</h2>
<ul>{purposes}</ul>
<p>{channels}</p>
</section>
<p class="promise">You can ask us to be quiet for a while, or end it, at any time. It takes effect at once.</p>
<footer>
<p>{until} Kept by {operator}.</p>
<p>No camera? Open this link in your wallet: <code>{link}</code></p>
</footer>
</main>
</body>
</html>
"""

_TAG = "offers"
ROUTES = (
    Route(
        "GET",
        "/offers/{id}/qr.svg",
        "offers:read",
        get_qr_svg,
        "getOfferQrSvg",
        "Get the link of an offer as a QR code (SVG)",
        _TAG,
        description="For print, at any size. Only an open offer has a QR code.",
        query=QrSize,
        media="image/svg+xml",
    ),
    Route(
        "GET",
        "/offers/{id}/qr.png",
        "offers:read",
        get_qr_png,
        "getOfferQrPng",
        "Get the link of an offer as a QR code (PNG)",
        _TAG,
        description="Only an open offer has a QR code.",
        query=QrSize,
        media="image/png",
    ),
    Route(
        "GET",
        "/offers/{id}/poster",
        "offers:read",
        get_poster,
        "getOfferPoster",
        "Get a poster for your shop",
        _TAG,
        description="An HTML page to print, with the purposes, the QR code and the link. Only an open offer has one.",
        media="text/html",
    ),
)
