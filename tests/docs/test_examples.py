"""The examples are run as they stand, against a real server."""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from standardwebhooks import Webhook

from support.business_world import BUSINESS, Shop, a_shop
from support.debian import need
from support.world import World, a_world, free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def javascript() -> Path:
    """A copy of the JavaScript examples with the packages of their lock; made once for each version of the lock."""
    npm = need("npm", "the JavaScript examples are run", "nodejs", "npm")
    source = EXAMPLES / "javascript"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.iterdir()) if path.is_file()))
    made = ROOT / ".venv" / f"javascript-{digest.hexdigest()[:16]}"
    with (ROOT / ".venv" / "javascript.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = made.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(source, unfinished, ignore=shutil.ignore_patterns("node_modules"))
            install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=unfinished, check=True, stdin=subprocess.DEVNULL)
            unfinished.rename(made)
    return made


def program(language: str, name: str) -> list[str]:
    """The command that runs an example."""
    if language == "python":
        return [sys.executable, str(EXAMPLES / "python" / f"{name}.py")]
    node = need("node", "the JavaScript examples are run", "nodejs", "npm")
    return [node, str(javascript() / f"{name}.mjs")]


LANGUAGES = pytest.mark.parametrize("language", ["python", "javascript"])


@asynccontextmanager
async def running(command: list[str], **environment: str) -> AsyncIterator[asyncio.StreamReader]:
    """A program that runs until the end of the block; gives its output."""
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


@LANGUAGES
async def test_a_receiver_acts_once_on_each_genuine_event(tmp_path: Path, language: str) -> None:
    async with a_world(tmp_path, webhooks_to_loopback=True) as world:
        world.at(time.time_ns() // 1_000_000)  # receivers compare the wall clock
        shop = await a_shop(world)
        # The secret comes with the registration, so the endpoint does not listen yet: the port must be free later.
        port = free_port()
        made = await shop.post("/webhooks", {"url": f"http://127.0.0.1:{port}/comity"})
        command = [*program(language, "receiver"), str(port)]
        async with running(command, WEBHOOK_SECRET=made["secret"]) as output, aiohttp.ClientSession() as session:
            assert (await output.readline()).startswith(b"listening on ")
            verified = await shop.post(f"/webhooks/{made['id']}/verify")
            assert verified["status"] == "active"
            mia = await shop.customer("care")
            await mia.go("second", "mute")
            while not (line := await output.readline()).startswith(b"connection.muted"):
                assert line
            assert json.loads(line.split(b" ", 1)[1])["connection"] == mia.cid

            async def post(id_: str, secret: str) -> int:
                body = json.dumps({"type": "webhook.test", "data": {"id": id_}})
                now = datetime.now(UTC)
                headers = {
                    "webhook-id": id_,
                    "webhook-timestamp": str(int(now.timestamp())),
                    "webhook-signature": Webhook(secret).sign(id_, now, body),
                }
                async with session.post(made["url"], data=body, headers=headers) as answer:
                    return answer.status

            assert await post("msg_forged", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") == 401
            assert [await post(name, made["secret"]) for name in ("msg_a", "msg_a", "msg_b")] == [204, 204, 204]
            shown: list[str] = []
            while not shown or shown[-1] != "msg_b":
                line = await output.readline()
                assert line
                if line.startswith(b"webhook.test"):
                    shown.append(json.loads(line.split(b" ", 1)[1])["id"])
            assert shown == ["msg_a", "msg_b"]


@LANGUAGES
async def test_an_email_goes_out_only_where_the_customer_allows_it(tmp_path: Path, language: str) -> None:
    async with a_world(tmp_path) as world:
        shop = await a_shop(world)
        mia = await shop.customer("care", channels=("email",))

        assert await sent(world, shop, language, mia.cid) == (0, "sent: How are the windows?\n")
        items = (await shop.get(f"/connections/{mia.cid}/timeline"))["items"]
        assert "contacted" in {item["kind"] for item in items}, "the contact is on record"

        await mia.go("second", "mute")
        code, output = await sent(world, shop, language, mia.cid)
        assert code == 1 and output.startswith("hold: ")


async def sent(world: World, shop: Shop, language: str, connection: str) -> tuple[int | None, str]:
    """(exit code, output) of `check_before_send`."""
    process = await asyncio.create_subprocess_exec(
        *program(language, "check_before_send"),
        connection,
        "care.checkin",
        "How are the windows?",
        env={**os.environ, "API": world.origin + BUSINESS, "API_KEY": shop.key},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()
