"""The SDK: wallets of people and businesses over HTTP.

    from comity.client import Wallet

`Wallet` is one encrypted file with keys and connections; `Connection` is one connection in it, with every act that this
side can send. `Policy` names the witnesses of a log that a wallet demands. Errors are those of `comity.errors`
(`Refused`, `Unreachable`, `Contradiction`, `Malformed`), and here `NotOpen`, `AlreadyConnected`, `NameNotFound`,
`AmbiguousName`, `Blocked` and `WalletFileError`.
"""

from comity.client.connection.connection import Connection
from comity.client.connection.favours import Favour
from comity.client.connection.feedback import ActiveContest
from comity.client.connection.onboarding import make_terms
from comity.client.connection.own_rules import BlockedParty
from comity.client.connection.proposals import OfferPreview, Proposal
from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.transport import Request, Response, Send, Stream, StreamResponse, Transport
from comity.client.models import Message, News, Statement, Timeline, TimelineEntry, Token
from comity.client.petnames import AmbiguousName, NameNotFound
from comity.client.session import AlreadyConnected, Blocked, NotOpen
from comity.client.storage.encrypted_file import new_identity
from comity.client.storage.frames import WalletFileError
from comity.client.wallet import Wallet
from comity.transparency.checkpoints import Policy

__all__ = [
    "ActiveContest",
    "AlreadyConnected",
    "AmbiguousName",
    "Blocked",
    "BlockedParty",
    "Connection",
    "Favour",
    "Message",
    "NameNotFound",
    "News",
    "NotOpen",
    "OfferPreview",
    "Policy",
    "Proposal",
    "Request",
    "Response",
    "Send",
    "Statement",
    "Stream",
    "StreamResponse",
    "Timeline",
    "TimelineEntry",
    "Token",
    "Transport",
    "Wallet",
    "WalletFileError",
    "make_terms",
    "new_identity",
    "over_aiohttp",
]
