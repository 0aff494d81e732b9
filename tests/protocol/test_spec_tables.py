"""The tables and numbers of spec/ are those of the code, both ways; a reader of either may trust the other.

The table of acts has a file of its own: test_state_table.py.
"""

import re
from itertools import product
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from comity import http_api
from comity.crypto import http_signatures, keys
from comity.documents import acts, agreements, events, notices, offers, proofs, status_lists, types
from comity.documents.acts import ChainLink
from comity.documents.agreements import open_agreement
from comity.encoding import MAX_BODY, MAX_JWE
from comity.errors import CODES, Malformed
from comity.rules import budgets, consent_tokens, decide, erasure, favours, fold, gate, guards
from comity.transparency import checkpoints, entries, merkle, notes, receipts
from support.spec_pages import NUMBER, SPEC, cited, page, rules, table

DAY_MS = 86_400_000


# --- numbers


def test_every_number_is_given_once_and_without_gaps() -> None:
    numbers = [number for number, _ in rules()]
    assert len(set(numbers)) == len(numbers)
    for family in {number.partition("-")[0] for number in numbers}:
        own = sorted(int(number.partition("-")[2]) for number in numbers if number.startswith(family + "-"))
        assert own == list(range(1, len(own) + 1)), family


def test_every_number_cited_is_given() -> None:
    given = {number for number, _ in rules()}
    in_code = cited("client_sdk", "server", "tests")
    assert {number: files for number, files in in_code.items() if number not in given} == {}
    for path in SPEC.rglob("*.md"):
        in_page = {f"{family}-{number}" for family, number in NUMBER.findall(path.read_text(encoding="utf-8"))}
        assert in_page <= given, path.name


def test_every_number_given_is_cited_by_code_or_a_test() -> None:
    in_code = cited("client_sdk", "server", "tests")
    assert [number for number, _ in rules() if number not in in_code] == []


# --- codes, limits, routes


def test_the_codes_are_those_of_the_error_table() -> None:
    rows = {code: (int(status_lists), title) for code, status_lists, title in table("http", "code", "status", "title")}
    assert rows == {code: (entry.status, entry.title) for code, entry in CODES.items()}


def test_every_refusal_on_a_page_has_its_codes_own_status() -> None:
    for path in SPEC.glob("*.md"):
        for number, code in re.findall(r"`([1-5][0-9]{2}) ([a-z_]+)`", path.read_text(encoding="utf-8")):
            assert code in CODES and CODES[code].status == int(number), f"{path.name}: {number} {code}"


def test_every_code_is_told_of_on_some_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in SPEC.glob("*.md"))
    told = set(re.findall(r"`(?:[1-5][0-9]{2} )?([a-z_]+)`", pages.replace(page("http").partition("## Codes")[2], "")))
    # Nobody is meant to see it: it says that the server made a mistake (HTTP-3).
    assert set(CODES) - told == {"internal"}


def test_the_limits_over_http_are_those_of_the_wire() -> None:
    assert {name: int(value) for name, value in table("http", "limit", "value")} == {
        "bytes of one signed text or JSON body": MAX_BODY,
        "acts in one batch": http_api.MOST_LINES,
        "bytes of one batch": http_api.MOST_BATCH,
        "seconds a long poll waits at most": http_api.LONGEST_WAIT,
        "items in one page of the inbox": http_api.PAGE,
        "bytes of the signature headers together": 4096,
        "seconds that created may be off": http_signatures.WINDOW,
    }


def test_the_routes_are_those_of_the_server() -> None:
    from aiohttp import web

    from comity_server.api.wallets import add_routes

    app = web.Application()
    add_routes(app)
    served = {(route.method, _shape(route.resource.canonical)) for route in app.router.routes() if route.resource}
    told = {(method, _shape(path)) for method, path, *_ in table("http", *_ROUTE)}
    operators = {("GET", path) for path in ("/healthz", "/readyz", "/metrics")}
    assert {route for route in served if route[0] != "HEAD"} == told | operators


_ROUTE = ("method", "path", "signed request", "body", "answer")


def _shape(path: str) -> str:
    return re.sub(r"\{[a-z]+\}", "{}", path)


def test_every_route_has_a_chapter() -> None:
    chapters = " ".join(line for line in page("http").splitlines() if line.startswith("### "))
    for method, path, *_ in table("http", *_ROUTE):
        assert re.search(rf"{method} {re.escape(path)}(,| |$)", chapters), (method, path)


# --- acts, settings, events and other members


def members(model: type[BaseModel]) -> dict[str, str]:
    """Member → required or optional, without what every act carries."""
    common = set(ChainLink.model_fields) | {"act"} if issubclass(model, ChainLink) else set()
    return {
        field.alias or name: "required" if field.is_required() else "optional"
        for name, field in model.model_fields.items()
        if name not in common
    }


def rows_of(name: str, *header: str) -> dict[str, dict[str, str]]:
    """Kind → member → required or optional."""
    found: dict[str, dict[str, str]] = {}
    for kind, member, needed, _form in table(name, *header):
        assert member not in found.setdefault(kind, {}), (kind, member)
        found[kind][member] = needed
    return found


def test_the_members_of_acts_are_those_of_the_models() -> None:
    told = rows_of("act", "act", "member", "", "form")
    code = {kind: members(model) for kind, model in acts.MODELS.items() if kind not in acts.SETTINGS}
    assert told == {kind: own for kind, own in code.items() if own}
    assert [kind for kind, own in code.items() if not own] == ["revoke"]


def test_the_members_of_settings_are_those_of_the_models() -> None:
    told = rows_of("act", "setting", "member", "", "form")
    assert told == {kind: members(acts.MODELS[kind]) for kind in acts.SETTINGS}


def test_the_members_of_every_act_are_those_of_the_model() -> None:
    told = [member for member, _form, _meaning in table("act", "member", "form", "meaning")]
    assert told == [*ChainLink.model_fields, "act"]


@pytest.mark.parametrize(
    ("name", "model"), [("offer", offers.Offer), ("agreement", agreements.Agreement)], ids=["offer", "agreement"]
)
def test_the_members_of_offers_and_agreements_are_those_of_the_models(name: str, model: type[BaseModel]) -> None:
    assert {member: needed for member, needed, _form in table(name, "member", "", "form")} == members(model)


def test_the_members_of_events_are_those_of_the_models() -> None:
    models: tuple[Any, ...] = get_args(events.Event)
    code = {get_args(model.model_fields["event"].annotation)[0]: members(model) for model in models}
    assert rows_of("event", "event", "member", "", "form") == code


def test_the_types_are_those_of_the_code() -> None:
    told = {typ for typ, _ in table("act", "typ", "what")}
    assert told == acts.ACT_TYPS | {
        proofs.ROTATE_TYP, proofs.MAILBOX_TYP,
        offers.OFFER_TYP, agreements.AGREEMENT_TYP, events.EVENT_TYP, notices.NOTICE_TYP, status_lists.STATUS_LIST_TYP,
    }  # fmt: skip


def test_the_forms_of_words_are_those_of_the_models() -> None:
    told = dict(table("act", "form", "what"))
    for name, word in (("token", types.Token), ("purpose", types.Purpose), ("topic", types.Topic)):
        assert told[name] == get_args(word)[1].metadata[0].pattern
    zone = acts.Hours.model_fields["zone"].metadata
    assert told["zone"].partition(";")[0] in [getattr(limit, "pattern", None) for limit in zone]
    for name, word in (("URL", types.Url), ("language", types.Language)):
        (limits,) = get_args(word)[1:]
        assert told[name].partition(", ")[0] in [getattr(limit, "pattern", None) for limit in limits.metadata]
    assert told["text"].partition(", ")[0] == types.TEXT
    assert (MAX_JWE, keys.MAX_DID) == (49_152, 400)


def test_kinds_and_reasons_of_holds_are_closed_lists_of_the_code() -> None:
    assert [category for category, _ in table("act", "category", "what one side holds of the other")] == list(
        get_args(types.Category)
    )
    assert [ground for ground, _ in table("act", "ground", "in the GDPR")] == list(get_args(types.Ground))
    told = dict(table("act", "form", "what"))["recipient"]
    assert told.startswith(get_args(types.Recipient)[1].metadata[0].pattern)


def test_channels_and_purposes_are_those_of_the_code() -> None:
    assert [channel for channel, _ in table("act", "channel", "")] == list(get_args(types.Channel))
    told = dict(table("act", "purpose", "rests on"))
    on_the_agreement = {purpose for purpose, rests in told.items() if rests.startswith("the agreement")}
    assert on_the_agreement == types.AGREEMENT_PURPOSES
    assert {purpose for purpose, rests in told.items() if "exempt" in rests} == types.EXEMPT_PURPOSES


def test_the_places_that_a_page_of_the_inbox_names_are_its_kinds() -> None:
    told = [kind for kind, _members, _when in table("http", "kind", "members besides cursor", "when")]
    assert set(told) == set(get_args(http_api.Item.model_fields["kind"].annotation))
    answer = {member for member, _ in table("http", "member", "what")}
    assert answer == set(http_api.ConnectionAnswer.model_fields)


# --- the rules


def test_the_reasons_are_those_of_the_gate_in_their_order() -> None:
    rows = table("gate", "reason", "decision", "outward", "when")
    assert [(reason, decision) for reason, decision, _, _ in rows] == list(gate.REASONS.items())
    private = {reason for reason, _, told, _ in rows if told != reason}
    assert private == gate.PRIVATE_REASONS
    assert {told for reason, _, told, _ in rows if reason in private} == {"not_now"}


def test_a_verdict_has_the_members_that_the_page_names() -> None:
    told = [member for member, _ in table("gate", "member", "meaning")]
    assert told == list(gate.Verdict.__struct_fields__)


def test_the_reasons_of_a_token_are_those_of_the_check() -> None:
    told = [reason for reason, _ in table("grant", "reason", "when")]
    assert set(told) == set(get_args(consent_tokens.TokenReason))
    assert told[-1] == "granted"


def test_the_values_of_a_status_are_those_of_the_code() -> None:
    assert [int(value) for value, _ in table("status", "value", "meaning")] == [
        int(it) for it in status_lists.GrantStatus
    ]


def test_limits_of_a_side_are_those_of_the_rules() -> None:
    assert {name: int(most) for name, most in table("connection", "limit", "at most")} == {
        "grants in force": guards.MOST_GRANTS,
        "mutes in force": guards.MOST_MUTES,
        "messages held": guards.MOST_HELD,
        "contests in force": guards.MOST_CONTESTS,
        "feedback within 30 days, without contests": guards.MOST_FEEDBACK,
        "entries of renounced (the two oldest become one)": fold.MOST_RENOUNCED,
        "notes": guards.MOST_NOTES,
        "milestones": guards.MOST_MILESTONES,
        "erasure statements": guards.MOST_STATEMENTS,
        "hidden ends of mutes that are not in force (a new one replaces the oldest)": fold.MOST_MUTE_ENDS,
        "earlier names of a side, besides its first (a new one replaces the oldest)": fold.MOST_FORMER,
        "deliveries within 30 days, exempt ones and others counted separately": budgets.MOST_SENT,
    }


def test_the_times_of_favours_are_those_of_the_code() -> None:
    budget = favours.ASK_BUDGET
    assert dict(table("connection", "time", "value")) == {
        "an ask ends after at most": f"{favours.LONGEST_ASK // DAY_MS} days",
        "cool-down after a no": f"{favours.COOL_AFTER_NO // DAY_MS} days",
        'cool-down after "not now"': f"{favours.COOL_AFTER_NOT_NOW // DAY_MS} days",
        "no ask after an exempt notice": f"{favours.COOL_AFTER_NOTICE // DAY_MS} day",
        "asks of every kind": f"{budget.max} in {budget.seconds * 1000 // DAY_MS} days",
        "a favour counts for": f"{favours.FAVOUR_LASTS // DAY_MS} days",
    }


def test_an_entry_is_laid_out_as_the_page_says() -> None:
    lengths = {member: int(length) for _, length, member, _ in table("log", "from", "bytes", "member", "what")}
    starts = [int(start) for start, *_ in table("log", "from", "bytes", "member", "what")]
    assert list(lengths) == ["version", *entries.LogEntry._fields]
    assert starts == [sum(list(lengths.values())[:at]) for at in range(len(lengths))]
    assert sum(lengths.values()) == entries.LENGTH
    parts = table("log", "from", "bytes", "what")
    opening = receipts.Opening(bytes(entries.LENGTH), bytes(entries.SALT), 0).to_bytes()
    assert [int(length) for _, length, _ in parts] == [entries.LENGTH, entries.SALT, 8]
    assert sum(int(length) for _, length, _ in parts) == len(opening)


def test_an_entry_says_of_its_kind_what_the_page_says() -> None:
    rows = table("log", "number", "kind", "said of", "side", "until")
    assert [(int(number), kind) for number, kind, *_ in rows] == [(int(it), it.name.lower()) for it in entries.Kind]
    for number, _, _, side, until in rows:
        kind = entries.Kind(int(number))
        for own, end in product((None, "first"), (0, 1)):
            data = entries.LogEntry(kind, own, 0, end, bytes(16), bytes(32)).to_bytes()  # type: ignore[arg-type]
            fits = (own is None) == (side == "none") and (end == 0 or until != "no")
            assert _is_read(data) == fits, (kind, own, end)


def _is_read(data: bytes) -> bool:
    try:
        entries.parse_entry(data)
    except Malformed:
        return False
    return True


def test_a_line_is_signed_by_the_kinds_of_key_that_the_page_names() -> None:
    rows = table("log", "kind", "whose", "what is signed")
    assert [(int(kind), whose) for kind, whose, _ in rows] == [
        (notes.ED25519, "a log's"),
        (notes.COSIGNATURE, "a witness's"),
    ]


def test_the_state_has_the_members_that_the_page_names() -> None:
    from comity.rules.state import Connection, Door

    told: dict[str, set[str]] = {}
    for place, member, _what in table("connection", "place", "member", "what"):
        told.setdefault(place, set()).update(part.strip() for part in member.split(","))
    assert told["door"] == set(Door.__struct_fields__) - {"settings"}
    assert told["connection"] == set(Connection.__struct_fields__) - {"at"}


NUMBERS_IN_WORDS = [
    ("agreement", "AGR-4", "7 days", agreements.COUNTERSIGN_WITHIN // 86_400, 7),
    ("connection", "CONN-7", "600 seconds", agreements.CLOCK_SKEW, 600),
    ("connection", "ERA-6", "2 592 000 000 ms", erasure.DUE_AFTER, 2_592_000_000),
    ("connection", "ERA-4", "at most 12", guards.MOST_STATEMENTS, 12),
    ("offer", "OFFER-6", "366 days", offers.LONGEST_OFFER // 86_400, 366),
    ("offer", "OFFER-2", "first 12 characters", offers.SHORT, 12),
    ("gate", "GATE-14", "5000 ms", gate.FRESH_FOR, 5000),
    ("status", "STATUS-2", "131 072", status_lists.ENTRIES, 131_072),
    ("connection", "CONN-8", "315 619 200 seconds", decide.LONGEST_GRANT, 315_619_200),
    ("connection", "CONN-8", "86 400 seconds", decide.MOST_AHEAD, 86_400),
    ("status", "STATUS-6", "16 777 216", status_lists.MOST_ENTRIES, 16_777_216),
    ("status", "STATUS-6", "8 388 608", status_lists.MOST_LIST_BYTES, 8_388_608),
    ("status", "STATUS-5", "30 s", status_lists.SKEW, 30),
    ("status", "STATUS-5", "`ttl` is 60", status_lists.TTL, 60),
    ("http", "HTTP-6", "60 seconds", http_signatures.WINDOW, 60),
    ("act", "ACT-1", "65 536", MAX_BODY, 65_536),
    ("log", "LOG-1", "2^53 − 1", merkle.MOST_SIZE, 2**53 - 1),
    ("log", "LOG-2", "at most 63 hashes", merkle.LONGEST_PROOF, 63),
    ("log", "LOG-4", "131 072 bytes", notes.MOST_NOTE, 131_072),
    ("log", "LOG-4", "64 signatures", notes.MOST_SIGNATURES, 64),
    ("log", "LOG-5", "4096 characters", checkpoints.MOST_TEXT, 4096),
    ("log", "LOG-6", "59 bytes", entries.LENGTH, 59),
    ("log", "LOG-8", "a salt (32 bytes", entries.SALT, 32),
    ("log", "LOG-9", "604 800 000 ms", entries.EPOCH, 604_800_000),
    ("log", "LOG-11", "262 144 bytes", receipts.MOST_RECEIPT, 262_144),
]


@pytest.mark.parametrize(("name", "number", "text", "in_code", "in_words"), NUMBERS_IN_WORDS)
def test_a_number_in_a_rule_is_the_one_in_the_code(
    name: str, number: str, text: str, in_code: int, in_words: int
) -> None:
    rule = page(name).partition(f"**{number}**")[2].partition("\n- **")[0]
    assert text in " ".join(rule.split())
    assert in_code == in_words


def test_the_order_of_checks_is_told_with_a_refusal_each() -> None:
    rows = table("connection", "#", "check", "refusal")
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))


def test_acts_that_pass_under_any_clock_are_named() -> None:
    rule = " ".join(page("connection").partition("**CONN-7**")[2].partition("\n- **")[0].split())
    named = set(re.findall(r"`([a-z_]+)`", rule)) - {"iat"}
    assert named == acts.NARROWING


def test_ends_that_have_passed_are_refused_as_the_page_says() -> None:
    rule = " ".join(page("connection").partition("**CONN-8**")[2].partition("\n\n")[0].split())
    told = {}
    for kinds, member, code in re.findall(r"((?:`[a-z_]+`(?: and )?)+) `([a-z]+)` → `409 ([a-z_]+)`", rule):
        told.update(dict.fromkeys(re.findall(r"`([a-z_]+)`", kinds), (member, code)))
    assert told == decide._ENDS


def test_every_must_has_a_number() -> None:
    for path in SPEC.glob("*.md"):
        if path.stem == "README":
            continue
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        blocks = re.split(r"\n(?=- )|\n\s*\n", text)
        loose = [block for block in blocks if "MUST" in block and not re.match(r"\s*- \*\*[A-Z]+-[0-9]+\*\*", block)]
        assert loose == [], path.name


# --- the pages as they are read


def test_all_examples_are_about_one_connection() -> None:
    """The `cid` of every example is the hash of the agreement that the pages show."""
    named = {
        cid: path.name
        for path in sorted(SPEC.glob("*.md"))
        for cid in re.findall(r"\"(?:cid|apv)\": ?\"([A-Za-z0-9_-]{43})\"", path.read_text(encoding="utf-8"))
    }
    whole = page("agreement").partition("<!-- example agreement.whole -->\n```json\n")[2].partition("```")[0]
    assert set(named) == {open_agreement(whole.encode()).cid}, named
    in_paths = set(re.findall(r"/v1/agreements/([A-Za-z0-9_-]{43})", page("http")))
    assert in_paths == set(named)


def test_the_rules_of_a_page_stand_in_the_order_of_their_numbers() -> None:
    found: dict[tuple[str, str], list[int]] = {}
    for number, stem in rules():
        family, _, own = number.partition("-")
        found.setdefault((stem, family), []).append(int(own))
    assert {place: numbers for place, numbers in found.items() if numbers != sorted(numbers)} == {}
    families = [family for _, family in found]
    assert len(set(families)) == len(families), "one page for each family"


def test_every_decision_says_what_why_what_else_and_when_to_reconsider() -> None:
    folder = SPEC / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for path in sorted(folder.glob("*.md")):
        if path.stem == "README":
            continue
        title, decision, *parts = path.read_text(encoding="utf-8").strip().split("\n\n")
        assert f"- [{title.removeprefix('# ')}]({path.name})" in index
        assert re.fullmatch(r"\*\*Decision\.\*\* .*\.", decision, re.DOTALL), path.name
        labels = [part.partition("**")[2].partition(".**")[0] for part in parts if part.startswith("**")]
        assert labels[0] == "Why" and labels[-1] == "When to reconsider" and "Also considered" in labels, path.name


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for path in SPEC.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
