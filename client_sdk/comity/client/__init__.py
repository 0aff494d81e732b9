"""The SDK: wallets of people and businesses over HTTP.

    from comity.client import Wallet

`Wallet` is one file with keys and connections, `Party` the other side of one connection; `Policy` says which witnesses
of a log a wallet wants. Errors are those of `comity.errors`, and here `NotOpen`, `AlreadyConnected`,
`NotNamed`, `SeveralNamed`, `Blocked` and `WalletFileError`.
"""

from comity.client.connection.connection import Party
from comity.client.connection.favours import Favour
from comity.client.connection.feedback import ShownContest
from comity.client.connection.onboarding import own_terms
from comity.client.connection.own_rules import Block
from comity.client.connection.proposals import Proposal, ShownOffer
from comity.client.http.aiohttp_transport import over_aiohttp
from comity.client.http.transport import Request, Response, Send, Stream, Streaming, Transport
from comity.client.models import Message, News, Statement, Timeline, Token, Told
from comity.client.petnames import NotNamed, SeveralNamed
from comity.client.session import AlreadyConnected, Blocked, NotOpen
from comity.client.storage.encrypted_file import new_identity
from comity.client.storage.frames import WalletFileError
from comity.client.wallet import Wallet
from comity.transparency.checkpoints import Policy

__all__ = [
    "AlreadyConnected",
    "Block",
    "Blocked",
    "Favour",
    "Message",
    "News",
    "NotNamed",
    "NotOpen",
    "Party",
    "Policy",
    "Proposal",
    "Request",
    "Response",
    "Send",
    "SeveralNamed",
    "ShownContest",
    "ShownOffer",
    "Statement",
    "Stream",
    "Streaming",
    "Timeline",
    "Token",
    "Told",
    "Transport",
    "Wallet",
    "WalletFileError",
    "new_identity",
    "over_aiohttp",
    "own_terms",
]
