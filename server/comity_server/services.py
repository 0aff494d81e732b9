"""The parts of a running server, as its handlers and commands reach them."""

from dataclasses import dataclass, field
from functools import partial

from comity_server.businesses.directory import Business, Directory
from comity_server.businesses.rate_limits import Limits
from comity_server.clock import ServerClock
from comity_server.commands.onboarding import Onboarding
from comity_server.commands.provisioning import first_key, publish_key
from comity_server.conditions import Conditions
from comity_server.config import Config
from comity_server.cursors import Cursors
from comity_server.limits.capacity import Rooms
from comity_server.limits.client_address import ClientAddresses, read_networks
from comity_server.limits.connections import Sockets
from comity_server.limits.rate_limits import AddressLimits
from comity_server.limits.turns import Turns
from comity_server.log.cosigning import Cosigning
from comity_server.log.receipts import Receipts
from comity_server.log.registry import Logs
from comity_server.log.tiles import LogTiles
from comity_server.logging import Repeated
from comity_server.metrics import Metrics
from comity_server.pruner import Pruner
from comity_server.pubsub import Broker
from comity_server.reads.connections import Answers
from comity_server.reads.inbox import Inbox
from comity_server.reads.records import Records
from comity_server.request_auth import RequestAuth
from comity_server.server_keys import Home
from comity_server.status_lists import StatusLists
from comity_server.store.contract import Store
from comity_server.webhooks.supervisor import Webhooks
from comity_server.writer.context import DecisionContext
from comity_server.writer.release_scheduler import Releases
from comity_server.writer.writer import Writer


@dataclass(slots=True)
class Server:
    """The parts of a running server."""

    config: Config
    clock: ServerClock
    home: Home
    store: Store
    context: DecisionContext
    logs: Logs
    tiles: LogTiles
    cosigning: Cosigning
    receipts: Receipts
    metrics: Metrics
    broker: Broker
    writer: Writer
    onboarding: Onboarding
    releases: Releases
    answers: Answers
    inbox: Inbox
    cursors: Cursors
    request_auth: RequestAuth
    limits: Limits
    capacity: Rooms
    ready: bool = False
    webhooks: Webhooks = field(init=False)
    records: Records = field(init=False)
    turns: Turns = field(init=False)
    pruner: Pruner = field(init=False)
    addresses: ClientAddresses = field(init=False)
    sockets: Sockets = field(init=False)
    conditions: Conditions = field(init=False)
    store_failed: Repeated = field(init=False)
    address_limits: AddressLimits = field(init=False)

    def __post_init__(self) -> None:
        self.turns = Turns(lambda: self.writer.decided)
        self.records = Records(self.answers, self.store, self.cursors)
        keyring, days = self.context.keyring, self.config.inbox_days
        self.pruner = Pruner(self.store.prunes, keyring, self.clock, self.metrics, days)
        self.addresses = ClientAddresses(read_networks(self.config.trusted_proxies))
        self.sockets = Sockets(self.config.max_connections, self.addresses)
        self.address_limits = AddressLimits.of(self.config.address_rate, self.config.address_openings)
        rows, kept = self.store.business, self.context.kept
        self.webhooks = Webhooks(
            self.config, rows, self.broker, self.capacity.asked, lambda: kept.master, lambda: self.notification_secret
        )

        parts = (self.logs.active, self.cosigning, self.sockets, self.webhooks)
        self.conditions = Conditions(self.store, self.clock, self.writer.clock_behind, *parts)
        self.store_failed = Repeated("store_failed")

    @property
    def directory(self) -> Directory:
        """Every key that this server can find by name."""
        return self.context.directory

    @property
    def lists(self) -> StatusLists:
        """The status lists that this server signs."""
        return self.context.lists

    @property
    def notification_secret(self) -> bytes:
        """The key from which the ids of notifications are derived (NEWS-1)."""
        return self.cursors.secret("happenings")

    async def add_business_key(self, name: str, did_key: str | None) -> Business:
        """Publishes a key of a hosted business; without one, a new key that is stored here. Raises NotPossible."""
        return await self.writer.command(partial(publish_key, self.onboarding, name, did_key))

    async def add_owner_key(self, name: str) -> str:
        """A new API key of an owner, as it is shown once. Raises NotPossible, Refused."""
        shown, _ = await self.writer.command(partial(first_key, name))
        return shown
