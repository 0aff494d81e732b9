"""A valid example body for each route that takes one. The API page shows them, and the tests send them."""

from typing import Any

CONNECTION = "Y29taXR5LWV4YW1wbGUtY29ubmVjdGlvbi1pZC0wMDE"
"""Ids in examples. The tests replace them with real ones."""
GRANT = "Y29taXR5LWV4YW1wbGUtZ3JhbnQtaWQtMDAwMDAwMDE"
GIVEN = "Y29taXR5LWV4YW1wbGUtZ3JhbnQtaWQtMDAwMDAwMDI"
MESSAGE = "Y29taXR5LWV4YW1wbGUtbWVzc2FnZS1pZC0wMDAwMDE"
HOOK = "https://hooks.shop.example/comity"
LINK = "https://home.example/i/adRdcBR-A1qp#adRdcBR-A1qpmEseMjoNbsJ1RPk7ANPpIInyQYky05M"

_MESSAGE: dict[str, Any] = {
    "purpose": "care.checkin",
    "topic": "windows.kitchen",
    "text": "Is everything all right with the new windows?",
    "if_muted": "hold",
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "createKey": {"label": "night shift", "role": "agent"},
    "rotateKey": {"overlap_seconds": 3600},
    "createSeat": {"staff": "staff 4711"},
    "createOffer": {
        "name": "Clear View Windows",
        "purposes": ["care", "service"],
        "agreements": [
            {
                "id": "https://w3id.org/dpv/standards/ieee/7012#SD-BASE",
                "version": "1",
                "lang": "en",
                "text": "We write for what you allowed, and for nothing else.",
            }
        ],
        "use": "many",
        "expires_at": "2027-05-01T00:00:00Z",
        "label": "counter",
    },
    "createProposal": {"link": LINK},
    "declineProposal": {"reason": "full"},
    "createErasure": {
        "deleted": ["contact", "messages", "preferences"],
        "kept": [{"what": "payments", "ground": "legal_obligation", "kept_until": "2034-12-31T23:00:00Z"}],
        "passed_on": ["Zahlwerk 24"],
    },
    "createWebhook": {"url": HOOK, "types": ["message.received", "connection.revoked"]},
    "updateWebhook": {"types": ["*"]},
    "recoverWebhook": {"since": "2026-11-21T10:00:00Z"},
    "check": {"connection": CONNECTION, "purpose": "care.checkin", "channel": "app"},
    "sendMessage": _MESSAGE,
    "updateDraft": _MESSAGE,
    "askFavour": {
        "kind": "review",
        "effort": "minute",
        "text": "Would you tell your neighbours how you like the windows?",
        "in_return": "We clean them once, for nothing.",
    },
    "answerFavour": {"answer": "yes", "text": "Gladly: it is put aside for you."},
    "thankForFavour": {"text": "That was kind of you."},
    "updateAwayNotice": {
        "starts_at": "2027-06-01T00:00:00+02:00",
        "ends_at": "2027-06-14T00:00:00+02:00",
        "texts": {"en": "We are at the sea until the 14th.", "de": "Wir sind bis zum 14. am Meer."},
    },
    "muteConnection": {"channels": ["phone"], "ends_at": "2027-01-07T08:00:00+01:00"},
    "unmuteConnection": {},
    "createGrant": {
        "purposes": ["care", "favour"],
        "channels": ["app"],
        "expires_at": "2027-11-21T00:00:00Z",
        "budget": {"max": 5, "per": "week"},
    },
    "withdrawGrant": {"grant": GRANT},
    "createNote": {"key": "receipt", "value": "paper", "text": "She likes her receipts on paper."},
    "forgetNote": {"key": "paper_receipt"},
    "createMilestone": {"kind": "installed", "topic": "windows.kitchen", "happened_at": "2026-11-20T09:00:00+01:00"},
    "createFeedback": {"message": MESSAGE, "says": "thanks"},
    "renounceGrants": {"grants": [GIVEN], "reason": "told_us", "purposes": ["care.news"], "channels": ["app"]},
    "createContact": {"channel": "phone", "purpose": "care.checkin"},
}
"""operationId → body."""

LINES: dict[str, str] = {
    "check": (
        f'{{"ref":"1","connection":"{CONNECTION}","purpose":"sales"}}\n'
        f'{{"ref":"2","connection":"{CONNECTION}","purpose":"care","channel":"email"}}\n'
    ),
}
"""operationId → a body of JSON Lines."""

STREAM = """\
id: Ab3dE
event: connection.opened
data: {"id":"evt_…","object":"event","type":"connection.opened","timestamp":"2026-11-21T10:00:00.000Z","data":{…}}

"""
"""A stream of server-sent events."""
