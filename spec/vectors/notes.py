"""Vectors of notes: values by their keys, and what another value is shown as."""

from typing import Any

from comity.note_values import read_note

ZONE = {"zone": "Europe/Berlin", "windows": [{"days": ["mo", "tu"], "start": "18:00", "end": "20:00"}]}
GOOD: dict[str, tuple[str, Any, str | None]] = {
    "language": ("language", ["de", "en-GB"], None),
    "language, three": ("language", ["de-CH", "fr", "rm"], None),
    "name": ("name", "Mia, please", None),
    "receipt": ("receipt", "paper", "The printer at the till is fine."),
    "contact by": ("contact_by", ["app", "post"], None),
    "contact time": ("contact_time", ZONE, None),
    "pronouns": ("pronouns", "they/them", None),
    "accessibility": ("accessibility", ["step_free", "more_time"], None),
    "no interest payments": ("no_interest_payments", True, None),
    "diet": ("diet", ["vegan", "nut_allergy"], "Hazelnuts above all."),
    "birthday": ("birthday", "02-29", None),
    "a word of their own": ("hair", "Not too short", None),
    "a word of their own, no value": ("window_seat", None, None),
}
BAD: dict[str, tuple[str, Any]] = {
    "no value": ("language", None),
    "a language alone": ("language", "de"),
    "no language": ("language", []),
    "four languages": ("language", ["de", "en", "fr", "it"]),
    "a language twice": ("language", ["de", "de"]),
    "a language that is none": ("language", ["deutsch!"]),
    "a name too long": ("name", "x" * 101),
    "a name of two lines": ("name", "Mia\nBen"),
    "a name that is a number": ("name", 7),
    "a receipt that is none": ("receipt", "fax"),
    "a channel that is none": ("contact_by", ["fax"]),
    "a channel twice": ("contact_by", ["app", "app"]),
    "no window": ("contact_time", {**ZONE, "windows": []}),
    "a zone that climbs": ("contact_time", {**ZONE, "zone": "../etc"}),
    "a member too many": ("contact_time", {**ZONE, "shown": "end"}),
    "pronouns too long": ("pronouns", "x" * 41),
    "an aid that is none": ("accessibility", ["magic"]),
    "no aid": ("accessibility", []),
    "an aid twice": ("accessibility", ["captions", "captions"]),
    "interest payments, perhaps": ("no_interest_payments", False),
    "interest payments, as a number": ("no_interest_payments", 1),
    "a diet that is none": ("diet", ["meat"]),
    "a birthday with a year": ("birthday", "1990-02-28"),
    "a day that no year has": ("birthday", "02-30"),
    "a month that no year has": ("birthday", "13-01"),
    "a word of their own, a list": ("hair", ["short"]),
    "a word of their own, too long": ("hair", "x" * 201),
}


def notes() -> dict[str, Any]:
    """`body` is what a note's body holds in clear. A bad one is refused by whoever would compose it (`pointer`); whoever
    reads it shows `shown` as its value."""
    good = []
    for name, (key, value, text) in GOOD.items():
        members = {"value": value, "text": text}
        body = {member: content for member, content in members.items() if content is not None}
        good.append({"name": name, "key": key, "body": body})
    bad = []
    for name, (key, value) in BAD.items():
        body = {} if value is None else {"value": value}
        bad.append({"name": name, "key": key, "body": body, "pointer": "/value", "shown": read_note(key, body).value})
    return {"good": good, "bad": bad}
