"""Receive webhooks of Comity: check the signature, answer the challenge, act once on each event.

    WEBHOOK_SECRET=whsec_... python receiver.py [PORT]

Needs the package standardwebhooks. Prints a line for each event.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

MOST = 64 * 1024  # bytes of a body; notifications have a few hundred
webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen: set[str] = set()  # in production: a table with a unique column, written in the transaction of your own work


def handle(event: dict[str, Any]) -> None:
    """Do your own work here, and keep it short: the sender waits at most 15 seconds for the answer."""
    print(event["type"], json.dumps(event["data"]), flush=True)


class Receiver(BaseHTTPRequestHandler):
    """Answers 401 without a valid signature, the challenge with itself, and everything else with 204."""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        if length > MOST:
            return self.reply(413)
        body = self.rfile.read(length)
        try:
            event = webhook.verify(body, dict(self.headers))
        except (WebhookVerificationError, ValueError):
            return self.reply(401)
        if event["type"] == "webhook.challenge":
            return self.reply(200, json.dumps({"challenge": event["data"]["challenge"]}).encode())
        # The same event arrives again if an earlier answer was lost.
        if self.headers["webhook-id"] not in seen:
            handle(event)
            seen.add(self.headers["webhook-id"])
        return self.reply(204)

    def reply(self, status: int, body: bytes = b"") -> None:
        """Send a whole answer."""
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write no access log."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8490), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
