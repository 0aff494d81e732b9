"""The operator's settings: `COMITY_*` environment variables, each also a keyword for tests and the demo.

An unknown `COMITY_*` name is refused: a misspelt limit that silently does nothing is worse than no start.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from comity.crypto.keys import did_of_host, split_origin
from comity.documents.names import normalize_name
from comity.errors import Malformed
from comity_server.limits.client_address import read_networks
from comity_server.log.witness_client import read_witnesses

PREFIX = "COMITY_"
NOT_OURS = frozenset({"COMITY_PASSPHRASE", "COMITY_NEW_PASSPHRASE", "COMITY_WALLET_IDENTITY"})
"""Variables of `comity wallet`, which are often set in the same shell; the server ignores them."""


class ConfigError(Exception):
    """The configuration cannot be used; the text says which name and why."""


class Config(BaseSettings):
    """The settings of one server."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data: Path = Path("comity-data")
    """The folder of the store, the home key and the admin socket."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=8470, ge=0, le=65535)
    """0 lets the operating system choose; then `base_url` follows the chosen port."""
    base_url: str = ""
    """The public URL; default http://localhost:PORT. The server's DID is the did:web of its host."""
    operator: str = Field(default="unnamed operator", min_length=1, max_length=200, pattern=r"^[ -~]+$")
    """The operator of the server, in words; the agreement names it."""
    name: str = Field(default="Comity", min_length=1, max_length=100, pattern=r"^[ -~]+$")
    """The name of the server for people."""
    clock_offset_file: Path | None = None
    """A file with milliseconds (<= 0) added to the wall clock: for stories and tests only."""
    log_format: str = Field(default="auto", pattern=r"^(auto|json|pretty)$")
    """`json`, `pretty`, or `auto`: pretty on a terminal, JSON elsewhere."""
    log_level: str = Field(default="info", pattern=r"^(debug|info|warning|error)$")
    """The least severe lines that are logged: `debug`, `info`, `warning` or `error`."""

    master_key: SecretStr = SecretStr("")
    """The master key, which seals the secrets that are stored for businesses: 32 bytes in base64url. If several are
    given, with blanks between them, the first replaces the others (`comity keys rotate-master`). Without this and
    without a file, the key is made in the data folder, in `master.key`."""
    master_key_file: Path | None = None
    """A file with the same, one key to a line. It must be there; to replace the key, its folder must be writable."""
    business_rate: int = Field(default=6000, ge=1)
    """Requests of one API key in a minute."""
    max_invites: int = Field(default=1000, ge=0)
    """Offers for one use that a hosted business may publish in a day."""

    consent_log: str | None = Field(default=None, pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?$")
    """The name of a log to begin: new entries go into it from then on, and earlier ones are served on."""
    restored: bool = False
    """The store was put back from an older copy: the log that begins with this start begins after a restore."""
    clock_set: bool = False
    """The clock is right, and was ahead when the store was written: the log that begins with this start says so."""
    log_cache: int = Field(default=32 * 1024 * 1024, ge=64 * 1024)
    """Bytes of full tiles and entry bundles kept in memory."""
    witnesses: str = ""
    """The witnesses that are asked to cosign: `VKEY URL, VKEY URL`."""
    cosignatures: int = Field(default=0, ge=0, le=32)
    """How many of them must have cosigned a checkpoint for it to be preferred to a newer one."""

    webhooks_to_loopback: bool = False
    """Send webhooks to this machine as well, by http too: to try things out, never where others can reach it."""

    address_rate: int = Field(default=6000, ge=1)
    """Requests from one address in a minute that need neither a key nor a signature; of a batch, each line is one."""
    address_openings: int = Field(default=300, ge=1)
    """Offers and half-signed agreements from one address in an hour; one of 4 KiB or more counts as several."""
    inbox_days: int = Field(default=400, ge=1)
    """Days for which news are kept in an inbox."""
    trusted_proxies: str = ""
    """The proxies before the server: addresses or networks, with commas between. Their `X-Forwarded-For` says whose a
    request is. Without it, everybody who comes through a proxy shares the limits of one address."""
    max_connections: int = Field(default=6144, ge=64)
    """Connections of clients at once, of which each address has a share; each takes a file descriptor."""
    max_requests: int = Field(default=1024, ge=8)
    """Requests in hand at once, without those whose bodies arrive and those that wait. Of this and of the next two,
    everybody has a share (HTTP-22); an eighth more is kept for what says no."""
    max_waiters: int = Field(default=4096, ge=1)
    """Long polls and streams that wait for news at once."""
    max_queue: int = Field(default=4096, ge=16)
    """Commands that wait for the writer at most; fewer where they are not decided in time. An eighth of it is kept for
    acts that narrow."""
    body_timeout: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Seconds in which a request's body must have come."""
    idle_timeout: float = Field(default=75.0, gt=0, allow_inf_nan=False)
    """Seconds after which a silent connection is closed."""
    stop_timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds that requests in hand get at a stop."""
    cached_connections: int = Field(default=20_000, ge=16)
    """States kept in memory."""
    kept_verdicts: int = Field(default=150_000, ge=16)
    """Answers to checks kept in memory."""
    max_proposals: int = Field(default=100, ge=1)
    """Half-signed agreements that may wait for one offer."""
    max_offers: int = Field(default=1000, ge=1)
    """Open offers of one party."""
    max_reserved: int = Field(default=64, ge=1)
    """Status indexes that one side holds unused; where it has so many, it gets an earlier one again."""

    @field_validator("witnesses", "trusted_proxies")
    @classmethod
    def _can_be_read(cls, value: str, info: ValidationInfo) -> str:
        try:
            (read_witnesses if info.field_name == "witnesses" else read_networks)(value)
        except Malformed as fault:
            raise ValueError(fault.detail) from None
        return value

    @field_validator("cosignatures")
    @classmethod
    def _can_be_met(cls, value: int, info: ValidationInfo) -> int:
        # Witnesses that were refused are missing here, and told of by themselves.
        if value > len(read_witnesses(info.data.get("witnesses", ""))) and "witnesses" in info.data:
            raise ValueError("must not be larger than the number of witnesses")
        return value

    @field_validator("consent_log")
    @classmethod
    def _is_no_path(cls, value: str | None) -> str | None:
        if value in ("tile", "checkpoint"):
            raise ValueError("a log must not have this name")
        return value

    @field_validator("operator", "name")
    @classmethod
    def _can_be_seen(cls, value: str) -> str:
        # Wallets show them, and refuse what is no name (ACT-17).
        try:
            return normalize_name(value)
        except Malformed as fault:
            raise ValueError(fault.detail) from None

    @field_validator("base_url")
    @classmethod
    def _is_origin(cls, value: str) -> str:
        if not value:
            return value
        try:
            # Links and documents are looked for where the DID says; elsewhere nobody would find them (KEY-5).
            origin, rest = split_origin(value)
        except Malformed as fault:
            raise ValueError(
                f"must be https://host[:port] with a host that a did:web can name: {fault.detail}"
            ) from None
        if rest.strip("/"):
            raise ValueError("must be https://host[:port] without a path")
        return origin

    def origin(self, port: int) -> str:
        """The public URL when listening on `port`."""
        return self.base_url or f"http://localhost:{port}"


def home_did(origin: str) -> str:
    """The did:web of the server at `origin`."""
    return did_of_host(urlsplit(origin).netloc)


def load(settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of the environment (this process's), with `settings` on top. Raises ConfigError."""
    env = os.environ if environ is None else environ
    known = {PREFIX + name.upper() for name in Config.model_fields}
    unknown = sorted(name for name in env if name.upper().startswith(PREFIX) and name.upper() not in known | NOT_OURS)
    if unknown:
        raise ConfigError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return Config(**settings)
    except ValidationError as error:
        # The values stay out of the message: one day one of them will be a secret.
        found = [
            f"{PREFIX}{'.'.join(map(str, it['loc'])).upper()}: {it['msg'].removeprefix('Value error, ')}"
            for it in error.errors()
        ]
        raise ConfigError("; ".join(found)) from None
