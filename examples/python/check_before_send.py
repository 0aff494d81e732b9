"""Ask Comity before you write to a customer outside of it, for example by e-mail.

    API=https://comity.example/v1/business API_KEY=ck_live_... \
        python check_before_send.py CONNECTION PURPOSE "TEXT"

Needs Python's own library only. Ends with 0 if the e-mail was sent, with 1 if Comity said "not now" or "no".
"""

import json
import os
import sys
from typing import Any
from urllib.request import Request, urlopen

CHANNEL = "email"


def api(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the server's answer. Raises urllib.error.HTTPError if it refuses, URLError if it cannot be reached."""
    headers = {"Authorization": f"Bearer {os.environ['API_KEY']}", "Content-Type": "application/json"}
    request = Request(os.environ["API"] + path, json.dumps(body).encode(), headers, method=method)
    with urlopen(request, timeout=10) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def send_email(text: str) -> None:
    """Your own mail system."""
    print("sent:", text)


def main(connection: str, purpose: str, text: str) -> int:
    """Check, send, and state the contact. No answer from the server means no e-mail: the check raises."""
    verdict = api("POST", "/check", {"connection": connection, "purpose": purpose, "channel": CHANNEL})
    if verdict["decision"] != "allow":
        print(f"{verdict['decision']}: {verdict['why']}")
        return 1
    send_email(text)
    # It counts against the customer's budgets, and both of you have it on record.
    api("POST", f"/connections/{connection}/contacts", {"channel": CHANNEL, "purpose": purpose})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
