"""What a receiver checks: both signatures, by code that is not ours, and secrets that change (HOOK-1 to HOOK-4)."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from comity_server.businesses.master_key import CannotUnseal, MasterKey
from comity_server.webhooks.signatures import OVERLAP, Secret, Secrets, Signers
from comity_tools.demo.webhook_receiver import Received, WebhookReceiver

NOW = 0
BODY = '{"id":"evt_1","type":"connection.muted","data":{"name":"Zoë"}}'.encode()


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now is when a test begins: receivers refuse what is more than five minutes old."""
    monkeypatch.setitem(globals(), "NOW", int(datetime.now(UTC).timestamp() * 1000))


def check_v1a(headers: dict[str, str], body: bytes, public_key: str) -> None:
    """As the specification of Standard Webhooks says. Raises InvalidSignature where no word holds."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    for word in headers["webhook-signature"].split(" "):
        version, _, signature = word.partition(",")
        if version == "v1a":
            try:
                return key.verify(base64.b64decode(signature), signed)
            except InvalidSignature:
                continue
    raise InvalidSignature


def test_the_published_vector_comes_out_of_our_signer() -> None:
    vector = {
        # standard-webhooks, libraries/javascript/src/webhook.test.ts
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "timestamp": 1614265330,
        "payload": '{"test": 2432232314}',
        "signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = Secret(base64.b64decode(str(vector["secret"]).removeprefix("whsec_")), bytes(32))
    body = str(vector["payload"]).encode()
    headers = Signers(Secrets(secret)).headers(str(vector["id"]), int(str(vector["timestamp"])) * 1000 + 999, body)
    assert headers["webhook-signature"].split(" ")[0] == vector["signature"]
    assert headers["webhook-timestamp"] == str(vector["timestamp"])


def test_a_receiver_with_the_library_and_one_with_the_public_key_both_find_it_genuine() -> None:
    secrets = Secrets.new()
    headers = Signers(secrets).headers("msg_1", NOW, BODY)
    assert Webhook(secrets.current.display_text).verify(BODY, headers) == json.loads(BODY)
    check_v1a(headers, BODY, secrets.current.public_key)
    assert [word.partition(",")[0] for word in headers["webhook-signature"].split(" ")] == ["v1", "v1a"]


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "body"])
def test_a_receiver_notices_what_was_changed_on_the_way(part: str) -> None:
    secrets = Secrets.new()
    headers, body = Signers(secrets).headers("msg_1", NOW, BODY), BODY
    if part == "body":
        body = body.replace(b"muted", b"ended")
    elif part == "webhook-id":
        headers[part] = "msg_2"
    else:
        headers[part] = str(int(headers[part]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets.current.display_text).verify(body, headers)
    with pytest.raises(InvalidSignature):
        check_v1a(headers, body, secrets.current.public_key)


def test_for_a_day_after_a_rotation_old_and_new_secret_both_do() -> None:
    old = Secrets.new()
    new = old.rotate(NOW)
    during = Signers(new).headers("msg_1", NOW, BODY)
    for secret in (old.current, new.current):
        Webhook(secret.display_text).verify(BODY, during)
        check_v1a(during, BODY, secret.public_key)
    after = Signers(new).headers("msg_1", NOW + OVERLAP, BODY)
    assert len(during["webhook-signature"].split(" ")) == 4 and len(after["webhook-signature"].split(" ")) == 2
    assert OVERLAP == 24 * 3600 * 1000
    with pytest.raises(InvalidSignature):
        check_v1a(after, BODY, old.current.public_key)


def test_rotating_again_within_the_day_ends_the_oldest_at_once() -> None:
    first = Secrets.new()
    third = first.rotate(NOW).rotate(NOW + 1000)
    headers = Signers(third).headers("msg_1", NOW + 2000, BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(first.current.display_text).verify(BODY, headers)


def test_a_sealed_secret_opens_at_its_own_endpoint_alone_and_under_the_derived_key_alone() -> None:
    master = MasterKey([bytes(32)])
    derived, secrets = master.derived("webhooks"), Secrets.new()
    sealed = secrets.seal(derived, "shop", "wh_1")
    assert Secrets.unseal(sealed, derived, "shop", "wh_1") == secrets
    assert secrets.current.symmetric not in sealed
    for key, name, id_ in ((derived, "shop", "wh_2"), (derived, "other", "wh_1"), (master, "shop", "wh_1")):
        with pytest.raises(CannotUnseal):
            Secrets.unseal(sealed, key, name, id_)


def test_the_demo_leaves_files_that_anybodys_library_can_check() -> None:
    receiver, secrets = WebhookReceiver(), Secrets.new()
    receiver.secret = secrets.current.display_text
    receiver.received = [Received(Signers(secrets).headers("msg_1", NOW, BODY), BODY)]
    (file,) = receiver.files().values()
    kept = json.loads(file)
    assert Webhook(kept["secret"]).verify(base64.b64decode(kept["body"]), kept["headers"]) == json.loads(BODY)
