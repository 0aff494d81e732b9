"""The configuration files in the how-to pages are read by the programs that they are for."""

import re
import subprocess
from pathlib import Path

import pytest

from support.debian import need

ROOT = Path(__file__).parents[2]


def block(page: str, language: str) -> str:
    """The one block of a language in a how-to page."""
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(found)


def verdict(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    openssl = need("openssl", "nginx opens the certificate that it is configured with", "openssl")
    made, key = tmp_path / "certificate.pem", tmp_path / "certificate.key"
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=comity.example"]
    subprocess.run([openssl, *new, "-out", made, "-keyout", key], check=True, capture_output=True)
    return made, key


def nginx(tmp_path: Path, certificate: tuple[Path, Path], servers: str) -> subprocess.CompletedProcess[str]:
    program = need("nginx", "the configuration of nginx in the documents is checked by it", "nginx-light")
    for place, here in zip(re.findall(r"ssl_certificate(?:_key)? (\S+);", servers), certificate, strict=True):
        servers = servers.replace(place, str(here))
    file = tmp_path / "nginx.conf"
    file.write_text(
        f"pid {tmp_path}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{servers}}}\n"
    )
    return verdict(program, "-t", "-q", "-p", tmp_path, "-c", file)


def test_nginx_takes_its_file(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    servers = block("proxy.md", "nginx")
    checked = nginx(tmp_path, certificate, servers)
    assert checked.returncode == 0, checked.stderr
    assert nginx(tmp_path, certificate, servers.replace("proxy_buffering", "proxy_bufering")).returncode != 0


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    program = need("caddy", "the configuration of Caddy in the documents is checked by it", "caddy")
    file = tmp_path / "Caddyfile"
    for text, code in ((block("proxy.md", "caddy"), 0), (block("proxy.md", "caddy").replace("flush_", "flash_"), 1)):
        file.write_text(text)
        checked = verdict(program, "validate", "--adapter", "caddyfile", "--config", file)
        assert checked.returncode == code, checked.stderr


def test_systemd_takes_its_unit(tmp_path: Path) -> None:
    program = need("systemd-analyze", "the unit in the documents is checked by it", "systemd")
    unit = tmp_path / "comity.service"
    # Its program is not installed here; everything else is as it stands.
    text = block("systemd.md", "ini").replace("/opt/comity/bin/comity", "/bin/true")
    unit.write_text(text)
    checked = verdict(program, "verify", unit)
    assert checked.returncode == 0 and "comity.service" not in checked.stderr, checked.stderr
    unit.write_text(text.replace("LimitNOFILE", "LimitNOFILES"))
    assert "LimitNOFILES" in verdict(program, "verify", unit).stderr
