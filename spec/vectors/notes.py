"""Vectors of notes: values by their keys, and what another value is shown as."""

from typing import Any

from comity.documents.note_values import FILTERS, parse_note

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
    "one language": ("language", ["de"], None),
    "pronouns of 40 characters": ("pronouns", "x" * 40, None),
    "a digital receipt": ("receipt", "digital", None),
    "no receipt": ("receipt", "none", None),
    "as many windows as there can be": ("contact_time", {**ZONE, "windows": ZONE["windows"] * 42}, None),
    "every aid": (
        "accessibility",
        ["large_print", "braille", "easy_read", "screen_reader", "captions", "sign_language", "step_free", "quiet_place", "more_time", "speak_slowly"],
        None,
    ),
    "one aid": ("accessibility", ["captions"], None),
    "every diet": ("diet", ["vegetarian", "vegan", "halal", "kosher", "gluten_free", "lactose_free", "nut_allergy"], None),
    "one diet": ("diet", ["halal"], None),
    "the last day of a year": ("birthday", "12-31", None),
    "a word of their own, as long as it may be": ("hair", "x" * 200, None),
    "a word of their own, of one letter": ("hair", "x", None),
    "two lines and a tab": ("hair", "one\n\ttwo", None),
    "a text of one letter": ("hair", None, "x"),
    "a text as long as it may be": ("hair", None, "x" * 10_000),
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
    "no diet": ("diet", []),
    "a diet twice": ("diet", ["halal", "halal"]),
    "a day of a week": ("birthday", "W01-1"),
    "a day without a hyphen": ("birthday", "0228"),
    "a day that is a number": ("birthday", 229),
    "43 windows": ("contact_time", {**ZONE, "windows": ZONE["windows"] * 43}),
    "a word of their own, empty": ("hair", ""),
    "a word of their own, a control character before it": ("hair", "\x07red"),
    "a word of their own, a control character behind it": ("hair", "red\x7f"),
    "a word of their own, written from the right": ("hair", "a\u202eb"),
    "a birthday with a year": ("birthday", "1990-02-28"),
    "a day that no year has": ("birthday", "02-30"),
    "a month that no year has": ("birthday", "13-01"),
    "a word of their own, a list": ("hair", ["short"]),
    "a word of their own, too long": ("hair", "x" * 201),
}


def notes() -> dict[str, Any]:
    """`body` is what a note's body holds in clear. A bad one is refused by whoever would compose it (`pointer`); whoever
    reads it shows `shown` as its value. `shown` is how notes look to whoever reads them, `filters` the keys by which
    customers may be chosen (NOTE-5), `spelled` how whoever composes a note spells what was typed (ACT-17)."""
    good = []
    for name, (key, value, text) in GOOD.items():
        members = {"value": value, "text": text}
        body = {member: content for member, content in members.items() if content is not None}
        good.append({"name": name, "key": key, "body": body})
    beside: dict[str, tuple[str, str | None, Any, Any, str]] = {
        "nearly a known key": ("lang", None, ["de"], None, "/key"),
        "a slip in a known key": ("languge", None, ["de"], None, "/key"),
        "no interest in nothing": ("no_interest", None, None, None, "/topic"),
        "no interest, with a value": ("no_interest", "blinds", "Never", None, "/value"),
        "no interest in nothing, with a value": ("no_interest", None, "Never", None, "/topic"),
        "a name with a character that nobody sees": ("name", None, "a\u200bb", None, "/value"),
        "pronouns with a character that nobody sees": ("pronouns", None, "a\u00adb", None, "/value"),
        "an empty text": ("hair", None, None, "", "/text"),
        "a text of 10 001 characters": ("hair", None, None, "x" * 10_001, "/text"),
        "a text with a control character": ("hair", None, "red", "a\x00b", "/text"),
        "a text written from the right": ("receipt", None, "paper", "a\u2066b", "/text"),
    }
    refused = [
        {"name": name, "key": key, "topic": topic, "value": value, "text": text, "pointer": pointer}
        for name, (key, topic, value, text, pointer) in beside.items()
    ]
    shown: dict[str, tuple[str, Any]] = {
        "no body": ("hair", None),
        "no interest": ("no_interest", None),
        "no interest, with words": ("no_interest", {"text": "Never again"}),
        "a text that is none": ("hair", {"value": "red", "text": 5}),
        "a known key, and a text that is none": ("receipt", {"value": "paper", "text": ["x"]}),
        "a known key without a value": ("receipt", {"text": "Please"}),
        "a value of many characters": ("hair", {"value": "x" * 201}),
        "a list of many characters": ("hair", {"value": ["x" * 201]}),
        "a value that is no text": ("language", {"value": {"ä": [1, None]}}),
    }
    looks = []
    for name, (key, body) in shown.items():
        note = parse_note(key, body)
        looks.append({"name": name, "key": key, "body": body, "value": note.value, "text": note.text, "known": note.known})
    bad = []
    for name, (key, value) in BAD.items():
        body = {} if value is None else {"value": value}
        bad.append({"name": name, "key": key, "body": body, "pointer": "/value", "shown": parse_note(key, body).value})
    spelled = [
        {"key": key, "typed": "  Mia \u00a0 B.\u3000", "value": value}
        for key, value in (("name", "Mia B."), ("pronouns", "Mia B."), ("hair", "  Mia \u00a0 B.\u3000"))
    ]
    spelled += [{"key": "hair", "typed": "a_b", "value": "a_b"}, {"key": "no_interest", "topic": "blinds", "typed": None, "value": None}]
    return {"filters": sorted(FILTERS), "spelled": spelled, "good": good, "bad": bad, "refused": refused, "shown": looks}
