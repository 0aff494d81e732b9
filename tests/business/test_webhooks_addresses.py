"""Nobody reaches into the server's own network with a webhook: every way to write or resolve an address that is not
public, through the real connector, against listeners that must see nothing (HOOK-5 to HOOK-7, HOOK-16)."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from comity.errors import Refused
from comity_server.webhooks.http_client import MOST_READ, Post
from comity_server.webhooks.retry import WAITS
from comity_server.webhooks.ssrf_guard import NOT_PUBLIC, check_url, is_public
from support.spec_pages import table
from support.webhook_world import Hook

BODY = b'{"type":"connection.muted"}'
ADDRESSES = [
    # IPv4, written as it should be
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.0.0.53",
    "127.255.255.254", "169.254.1.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170",
    "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    # IPv6, and IPv4 inside of it
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::1",
    "2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1",
    "3fff::1", "5f00::1", "100::1", "100:0:0:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    "ff0e::1", "4000::1",
]  # fmt: skip
SPELLED = [
    # The same loopback, as some resolver or library somewhere reads it
    "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "0177.1", "017700000001",
    "127.0.0.1.", "127.000.000.001", "0", "00000000", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "[::]", "[::1%25lo]",
    "[fe80::1%25eth0]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[0000::1]", "[::1.]", "%31%32%37.0.0.1",
]  # fmt: skip
NAMES = [
    "localhost", "localhost.", "LOCALHOST", "a.localhost", "a.b.localhost.", "ⓛocalhost", "localtest.example",
    "metadata.example", "xn--e1afmkfd.example", "internal", "a.internal", "printer.local", "nas.home.arpa",
]  # fmt: skip
TRICKS = [
    "public.example@127.0.0.1", "public.example:443@127.0.0.1", "127.0.0.1#@public.example",
    "127.0.0.1\\@public.example", "127.0.0.1?@public.example", "127.0.0.1/@public.example",
]  # fmt: skip
NOTHING_WAS_TRIED = {
    "its address is not public",
    "its URL names no host that can be reached",
    "its name was not found",
}


class Names(AbstractResolver):
    """A name server of the test: what `answers` says of a name, one after the other, the last one for ever."""

    def __init__(self, *answers: str | tuple[str, ...]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in ((found,) if isinstance(found, str) else found)
        ]

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def listeners() -> AsyncIterator[int]:
    """A port on which every address of this machine listens, and to which nobody may connect."""
    seen: list[Any] = []

    def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("sockname"))
        writer.close()

    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    async with await asyncio.start_server(note, sock=both):
        yield both.getsockname()[1]
        assert seen == []
        # Who comes now is seen: so would everybody before have been.
        with socket.create_connection(("127.0.0.1", both.getsockname()[1])):
            async with asyncio.timeout(20):
                while not seen:
                    await asyncio.sleep(0.001)
        assert len(seen) == 1


@asynccontextmanager
async def posting(**how: Any) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    post = Post(**{"to_loopback": False, **how})
    try:
        yield lambda url: post(url, {"webhook-id": "msg_1"}, BODY)
    finally:
        await post.close()


async def test_no_way_to_write_an_address_leads_into_the_servers_own_network() -> None:
    literals = [f"[{it}]" if ":" in it else it for it in ADDRESSES]
    hosts = [*literals, *SPELLED, *NAMES, *TRICKS]
    assert len(set(hosts)) >= 95
    async with listeners() as port, posting(resolver=Names("127.0.0.1")) as send:
        for host in hosts:
            for scheme in ("http", "https"):
                place = host if host in TRICKS else f"{host}:{port}"
                outcome = await send(f"{scheme}://{place}/")
                assert outcome.error in NOTHING_WAS_TRIED, (host, outcome)


def test_an_address_is_judged_by_what_it_is() -> None:
    assert [it for it in ADDRESSES if is_public(it)] == []
    assert not is_public("2606:4700::1111%eth0") and not is_public("shop.example") and not is_public("8.8.8.8 ")
    public = (
        "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.1 198.17.255.255 198.20.0.0"
        " 223.255.255.255 2001:200::1 2606:4700::1111 2a00:1450:4001::1"
    )
    assert [it for it in public.split(" ") if not is_public(it)] == []


async def test_no_answer_of_a_name_server_leads_there_either() -> None:
    async with listeners() as port:
        for address in ADDRESSES:
            names = Names(address)
            async with posting(resolver=names) as send:
                outcome = await send(f"https://hooks.shop.example:{port}/")
            assert names.asked == ["hooks.shop.example"]
            assert outcome.error == "its address is not public" and not outcome.is_public, address
        async with posting(resolver=Names(("::1", "127.0.0.1", "10.0.0.1"))) as send:
            assert not (await send(f"https://hooks.shop.example:{port}/")).is_public
        # The system's own resolver, with a name that it knows.
        async with posting() as send:
            assert (await send(f"http://localhost:{port}/")).error == "its address is not public"


async def test_a_name_that_was_public_a_moment_ago_is_judged_anew() -> None:
    # Nothing is at 2000::1, and nothing will be: it is never given out. That it is tried at all is what counts.
    names = Names("2000::1", "127.0.0.1", ("2000::1", "127.0.0.1"))
    async with listeners() as port, posting(resolver=names, seconds=0.2) as send:
        first, second, third = [await send(f"https://hooks.shop.example:{port}/") for _ in range(3)]
    assert first.is_public and first.error and first.error not in NOTHING_WAS_TRIED
    assert not second.is_public
    assert third.error


async def test_for_trying_out_loopback_is_opened_and_nothing_else() -> None:
    async with Hook() as hook, posting(to_loopback=True, resolver=Names("169.254.169.254")) as send:
        assert (await send(hook.url)).status == 204
        assert (await send(f"http://[::ffff:127.0.0.1]:{hook.port}/")).error == "its address is not public"
        assert (await send(f"http://metadata.example:{hook.port}/")).error == "its address is not public"


async def test_a_redirect_is_a_failure_and_leads_nowhere() -> None:
    async with listeners() as port:
        for status in (301, 302, 303, 307, 308):
            async with Hook(status, headers={"Location": f"http://127.0.0.1:{port}/"}) as hook, _sends(hook) as send:
                outcome = await send()
                assert (outcome.status, outcome.error) == (
                    status,
                    f"it answered {status}: redirects are not followed",
                )


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listeners() as port, Hook() as hook:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        async with _sends(hook) as send:
            assert (await send()).status == 204


async def test_an_answer_that_is_too_long_is_hung_up_on() -> None:
    class Long(Hook):
        """Goes on once it has said more than anybody wants to know."""

        async def _take(self, request: web.Request) -> Any:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"x" * (MOST_READ + 1))
            while request.transport is not None and not request.transport.is_closing():
                await asyncio.sleep(0.005)
            return response

    async with Long() as hook, _sends(hook, seconds=5) as send:
        outcome = await send()
    assert outcome.status == 200 and outcome.body == b"x" * MOST_READ


async def test_an_answer_that_drips_is_not_waited_for() -> None:
    class Dripping(Hook):
        async def _take(self, request: web.Request) -> Any:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x")
                    await asyncio.sleep(0.02)
            except ConnectionError:
                return response

    async with Dripping() as hook, _sends(hook, seconds=0.3) as send:
        assert (await send()).error == "no answer within 0.3 s"


async def test_a_certificate_of_nobodys_is_not_taken(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0, ssl=_of_its_own(tmp_path))
    async with server, posting(to_loopback=True) as send:
        outcome = await send(f"https://localhost:{server.sockets[0].getsockname()[1]}/")
    assert outcome.error == "its certificate does not hold"
    assert asked in ([], [b""])


async def test_delivery_failures_are_explained_in_words() -> None:
    async def gibberish(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-secret\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(gibberish, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with posting(to_loopback=True) as send:
        async with server:
            odd = await send(f"http://127.0.0.1:{port}/")
        shut = await send(f"http://127.0.0.1:{port}/")
    assert shut.error == "no connection could be made"
    assert odd.error in ("its answer is not HTTP", "the connection broke off") and "secret" not in str(odd)


BAD_URLS = {
    "not_public": [
        *(f"https://{it}/" for it in [f"[{it}]" if ":" in it else it for it in ADDRESSES]),
        *(f"https://{it}/" for it in NAMES if it.isascii() and not it.endswith(".example")),
        "https://127.1/", "https://0x7f.1/", "https://2130706433/", "https://127.0.0.1./", "https://shop/",
        "https://shop.example./", "https://-a.example/", "https://a..example/", "https://a.test/", "https://x.onion/",
        f"https://{'a' * 64}.example/",
    ],
    "malformed": [
        "http://hooks.shop.example/", "ftp://hooks.shop.example/", "//hooks.shop.example/", "hooks.shop.example", "https://",
        "https:///x", "https://u@shop.example/", "https://u:p@shop.example/", "https://shop.example/#x", "https://shop.example/#",
        "https://shop.example:22/", "https://shop.example:80/", "https://shop.example:0/", "https://shop.example:99999/",
        "https://shop.example:x/", "https://[::1/", "https://shop.example\\@a.example/", "https://sh%6fp.example/",
        "https://shöp.example/", "https://１２７.0.0.1/", "https://shop.example/ x", "https://shop.example/\n", "",
        "https://shop.example/" + "x" * 480, "http://localhost:8000/", "http://127.0.0.1:8000/",
    ],
}  # fmt: skip


def test_a_url_that_leads_nowhere_good_is_refused_when_it_is_registered() -> None:
    for code, urls in BAD_URLS.items():
        for url in urls:
            with pytest.raises(Refused) as refused:
                check_url(url)
            assert refused.value.code == code, url


def test_an_ordinary_url_is_taken() -> None:
    for url in (
        "https://hooks.shop.example/comity",
        "https://shop.example:8443/a?b=c",
        "https://shop.example:443",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://a_b.xn--e1afmkfd.example/",
    ):
        check_url(url)


def test_for_trying_out_a_url_on_this_machine_is_taken_and_no_other() -> None:
    for url in ("http://127.0.0.1:80/", "http://localhost:8000/x", "http://[::1]:8000/", "https://localhost/"):
        check_url(url, to_loopback=True)
    for url in ("http://10.0.0.1/", "http://shop.example/", "https://10.0.0.1/", "https://0.0.0.0/"):
        with pytest.raises(Refused):
            check_url(url, to_loopback=True)


def test_the_ranges_and_the_waits_are_those_of_the_page() -> None:
    assert [row[0] for row in table("webhook", "not public", "")] == [str(network) for network in NOT_PUBLIC]
    waits = [int(row[1]) * 1000 for row in table("webhook", "attempt", "seconds after the one before")]
    assert waits == [0, *WAITS]


@asynccontextmanager
async def _sends(hook: Hook, **how: Any) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Sends something like a webhook to that endpoint."""
    post = Post(to_loopback=True, **how)
    try:
        yield lambda: post(hook.url, {"webhook-id": "msg_1"}, BODY)
    finally:
        await post.close()


def _of_its_own(folder: Path) -> ssl.SSLContext:
    """A certificate for localhost that only its owner has signed."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(own + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context
