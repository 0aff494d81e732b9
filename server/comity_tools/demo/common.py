"""The base of all chapters of the story: its people, its results, and steps that several chapters share."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from comity.client import Connection, Wallet
from comity.crypto.keys import PublicKey
from comity.documents.acts import SignedAct
from comity.documents.offers import OfferedTerms, text_hash
from comity.errors import ComityError
from comity.transparency.receipts import Receipt, open_receipt
from comity_tools.demo.monitor import LogMonitor
from comity_tools.demo.processes import DidNotHold
from comity_tools.demo.stage import DAY, Narrator, Stage

STARTED_AGO = 20 * DAY
"""ms before now at which the story begins; it ends before now."""

HOUSE_TERMS = (
    "We write to you for what you allowed and for nothing else. You may mute us, or end this, at any time and "
    "without a reason. What we agreed is signed by both of us."
)
OWN_TERMS = HOUSE_TERMS + " We write at most twice a month."


def terms(id_: str, text: str) -> OfferedTerms:
    """Terms with their text, named by its hash."""
    return OfferedTerms(id=id_, version="1", lang="en", sha256=text_hash(text), text=text)


def last_act(party: Connection, kind: str) -> SignedAct:
    """The last act of that kind in a connection. Raises DidNotHold."""
    for line in reversed(party.records):
        if line.act is not None and line.act.kind == kind:
            return line.act
    raise DidNotHold(f"there is no {kind}")


@dataclass
class Cast:
    """The people and businesses of the story. The wallets exist from the start; connections are added when made."""

    mia: Wallet
    jonas: Wallet
    ben: Wallet
    windows: Wallet
    salon: Wallet
    parties: dict[str, Connection] = field(default_factory=dict)
    ended: list[Connection] = field(default_factory=list)

    def connections(self) -> list[Connection]:
        """Both sides of every connection."""
        wallets = (self.mia, self.jonas, self.ben, self.windows, self.salon)
        return [party for wallet in wallets for party in wallet.connections() if party.phase in ("open", "ended")]


@dataclass
class Results:
    """The results of the story: a token and its status list before and after the "no", receipts, the log."""

    agreement: bytes = b""
    home_keys: bytes = b""
    """The server's statements about its own keys, as served."""
    grant: str = ""
    list_before: str = ""
    list_after: str = ""
    receipts: dict[str, str] = field(default_factory=dict)
    """By the id of the act."""
    log: dict[str, bytes] = field(default_factory=dict)
    """Path → bytes: the checkpoint, tiles and bundles as they were served."""
    openapi: bytes = b""
    webhooks: dict[str, bytes] = field(default_factory=dict)
    """File name → webhook."""


class Chapters:
    """The chapters' common state."""

    def __init__(self, stage: Stage, narrator: Narrator, cast: Cast, log_monitor: LogMonitor) -> None:
        self.stage = stage
        self.say = narrator
        self.cast = cast
        self.log_monitor = log_monitor
        self.results = Results()
        self.home_keys: dict[str, PublicKey] = {}

    def day(self) -> str:
        """The story's date."""
        return f"{datetime.fromtimestamp(self.stage.now() / 1000, UTC):%d %B %Y}"

    async def _salon_offer(self) -> str:
        return await self.cast.salon.offer(
            self.stage.origin,
            agreements=[terms("example:house-terms", HOUSE_TERMS)],
            purposes=["care", "service"],
            use="many",
        )

    def _has_arrived(self, party: Connection, act: str) -> bool:
        return any(line.act is not None and line.act.id == act for line in party.records)

    async def _countersign(self, business: Wallet) -> Connection:
        """The business signs the proposal that came last."""
        return await (await business.proposals())[-1].countersign()

    async def _receipt(self, party: Connection, act: str) -> Receipt:
        """The receipt of an act, kept, opened under the log's key. Raises DidNotHold where it is of something else."""
        text = await party.receipt(act)
        receipt = open_receipt(text, self.stage.log_key)
        texts = [line.act.raw for line in party.records if line.act is not None and line.act.id == act]
        if not any(receipt.is_of(text.encode()) for text in texts):
            raise DidNotHold("a receipt is of something else than it should be")
        self.results.receipts[act] = text
        return receipt

    async def _check_raises(self, claim: str, action: Awaitable[object]) -> None:
        try:
            await action
        except (ComityError, TimeoutError) as error:
            self.say.check(f"{claim} ({type(error).__name__})", isinstance(error, ComityError))
        else:
            self.say.check(f"{claim} (it went through)", False)
