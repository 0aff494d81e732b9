"""The SDK: wallets of people and businesses over HTTP.

    from comity.client import Wallet

`Wallet` is one file with keys and connections, `Party` the other side of one connection; `Policy` says which witnesses
of a log a wallet wants. Errors are those of `comity.errors`, and here `NotOpen`, `AlreadyConnected`,
`NotNamed`, `SeveralNamed`, `Blocked` and `WalletFileError`.
"""

from comity.checkpoint import Policy
from comity.client.connecting import own_terms
from comity.client.core import AlreadyConnected, Blocked, NotOpen
from comity.client.favour import Favour
from comity.client.naming import NotNamed, SeveralNamed
from comity.client.opinion import ShownContest
from comity.client.over_aiohttp import over_aiohttp
from comity.client.own_rules import Block
from comity.client.party import Party
from comity.client.shown import Proposal, ShownOffer
from comity.client.told import Message, News, Statement, Timeline, Token, Told
from comity.client.transport import Request, Response, Send, Stream, Streaming, Transport
from comity.client.wallet import Wallet
from comity.client.wallet_file import new_identity
from comity.client.wallet_frames import WalletFileError

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
