"""A shop that writes whenever a server lets it, people who say no, and a ledger of what they were told is accepted: a
server that is put back from a backup is held against it."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comity.client import Connection, Wallet
from comity.client.connection.history import HistoryRecord
from comity.documents.acts import SignedAct
from comity.documents.events import Accepted, Restored, parse_own_event
from comity.documents.timezones import InstalledZones
from comity.errors import Refused
from comity.rules import gate
from comity.rules.fold import Record, fold
from comity.rules.next_act import next_act
from comity.rules.state import Connection as ConnectionState
from comity.rules.state import public_state
from support.restored_server import command, state_at_server
from support.sdk_world import SdkWorld
from support.world import body_of

PURPOSES = ("care", "sales", "renewal")
ZONES = InstalledZones()


class Reached(AssertionError):
    """Somebody was reached who had said no."""


class Lost(AssertionError):
    """Something that was acknowledged is gone, or different, or nobody can go on."""


class Accused(AssertionError):
    """An honest server is accused."""


@dataclass
class Person:
    """Somebody with a wallet, and the connection with the shop as both see it. `was` is what the wallet was told is
    accepted, when the server was last healthy."""

    name: str
    wallet: Wallet
    hers: Connection
    ours: Connection
    was: ConnectionState | None = None

    def forbids(self, now: int) -> set[str]:
        """For what nobody may come to her, by all that was acknowledged."""
        state = self.was or self.hers.state
        return {it for it in PURPOSES if gate.may(state, "first", it, "app", None, now, ZONES).decision != "allow"}


@dataclass
class Drill:
    """See the module. Raises Reached, Lost, Accused."""

    world: SdkWorld
    shop: Wallet
    people: list[Person] = field(default_factory=list)
    acts: set[str] = field(default_factory=set)
    """The acts that were acknowledged."""
    reached: int = 0
    lost: int = 0
    tried: int = 0
    restores: int = 0

    @classmethod
    async def of(cls, world: SdkWorld) -> "Drill":
        """With a shop, and nobody else yet."""
        return cls(world, await world.business("shop"))

    async def meet(self, name: str, *purposes: str) -> Person:
        """Somebody who lets the shop come for these."""
        wallet = await self.world.person(name)
        ours, hers = await self.world.connect(self.shop, wallet, *purposes)
        self.people.append(Person(name, wallet, hers, ours))
        return self.people[-1]

    def remember(self) -> None:
        """Keep what everybody was told is accepted: what either side knows of."""
        for person in self.people:
            known: dict[int, HistoryRecord] = {}
            for line in (*person.ours.records, *person.hers.records):
                if line.at not in known or line.act is not None:
                    known[line.at] = line
            restored_at = max((it.at for it in known.values() if isinstance(it.event, Restored)), default=0)
            state = person.hers.queue.history.start
            for _, line in sorted(known.items()):
                state = fold(state, Record(line.event, line.act), restored_at)
            person.was = state
            self.acts |= {it.event.act for it in known.values() if isinstance(it.event, Accepted)}

    @property
    def acknowledged(self) -> int:
        """How many acts were acknowledged before a disk was lost."""
        return len(self.acts)

    # --- backup and restore

    async def back_up(self, name: str) -> Path:
        """Make a backup while everything goes on."""
        target = self.world.folder / "backups" / name
        done = await command(self.world.host, "backup", str(target))
        assert done.exit_code == 0, done.output
        return target

    async def put_back(self, backup: Path) -> None:
        """The server's disk is gone; the backup is put in its place."""
        self.restores += 1
        self.remember()
        host = self.world.host
        await host.stop()
        shutil.rmtree(host.folder / "data")
        done = await command(host, "restore", str(backup))
        assert done.exit_code == 0, done.output
        await host.start()
        self.world.pass_time(seconds=2)

    # --- the shop that asks nobody

    async def write_anyway(self, *people: Person) -> None:
        """Write for all that they said no to, with acts that fit what the server has, and no wallet's scruples."""
        for person in people or self.people:
            state = await self._known(person)
            if state is None:
                continue
            forbidden = person.forbids(self.world.host.now())
            for purpose in PURPOSES if state.recovering else sorted(forbidden):
                await self._try(person, state, purpose, forbidden)
            if state.recovering:
                await self._try(person, state, "safety", {"safety"})

    async def _known(self, person: Person) -> ConnectionState | None:
        try:
            return await state_at_server(self.world.host, person.hers.cid)
        except AssertionError:
            # The copy does not have it, and nobody has handed it in yet.
            return None

    async def _try(self, person: Person, state: ConnectionState, purpose: str, forbidden: set[str]) -> None:
        fields: dict[str, Any] = {"purpose": purpose, "if_muted": "fail", "body": body_of(state.cid)}
        fields["exp"] = self.world.host.now() // 1000 + 86_400
        signer = person.ours.queue.signer
        act: SignedAct = next_act(state, "first", "message", self.world.host.now() // 1000, signer, **fields)
        reply = await self.world.host.act(act)
        self.tried += 1
        if reply.status == 200 and (purpose in forbidden or state.recovering):
            self.reached += 1
            outcome = getattr(parse_own_event(reply.json["event"]), "outcome", None)
            raise Reached(f"{person.name}, for {purpose}: {outcome}")

    # --- afterwards

    async def meet_again(self, chance: random.Random) -> None:
        """Everybody syncs in some order, and the shop writes after each; then all sync once more."""
        wallets: list[tuple[Wallet, Sequence[Person]]] = [(it.wallet, [it]) for it in self.people]
        wallets.append((self.shop, self.people))
        chance.shuffle(wallets)
        await self.write_anyway()
        for wallet, people in wallets:
            await _sync(wallet)
            await self.write_anyway(*people)
        for wallet, _ in (*wallets, *wallets):
            await _sync(wallet)

    async def nothing_is_lost(self) -> None:
        """Every acknowledged act is at both sides and at the server, and the doors are open. Raises Lost."""
        for person in self.people:
            if (kept := await self._known(person)) is None:
                raise Lost(f"{person.name}: the server does not know the connection")
            await person.hers.sync()
            await person.ours.sync()
            assert person.was is not None
            told = _as_before(person.was)
            for where, state in (("she", person.hers.state), ("the shop", person.ours.state), ("the server", kept)):
                if _as_before(state) != told:
                    self.lost += 1
                    raise Lost(f"{person.name}: {where} has {_as_before(state)}, and it was {told}")
            if _settings(kept, person) != _settings(person.was, person):
                self.lost += 1
                raise Lost(f"{person.name}: her settings are {_settings(kept, person)}")
            if kept.recovering:
                raise Lost(f"{person.name}: {kept.recovering} are waited for, for ever")
        await self.write_anyway()

    async def everybody_goes_on(self) -> None:
        """Nobody's later act is refused for ever."""
        for person in self.people:
            if person.hers.phase != "open":
                continue
            for party in (person.hers, person.ours):
                try:
                    await party.remember("paper")
                    await party.forget("paper")
                except Refused as refused:
                    raise Lost(f"{person.name}: {refused}") from None
            await person.wallet.sync()
        await self.shop.sync()

    async def nobody_is_accused(self) -> None:
        """No wallet, no check of receipts, and no look through the store finds anything."""
        for name, wallet in (("shop", self.shop), *((it.name, it.wallet) for it in self.people)):
            await wallet.fetch_receipts()
            if found := wallet.contradictions():
                raise Accused(f"{name}: {[it.claim for it in found]}")
        if forks := [it.name for it in self.world.folder.glob("*fork*")]:
            raise Accused(f"evidence of two histories: {forks}")
        checked = await command(self.world.host, "fsck")
        if checked.exit_code:
            raise Accused(checked.output)


async def _sync(wallet: Wallet) -> None:
    try:
        await wallet.sync()
    except Refused as refused:
        raise Lost(f"a wallet cannot read: {refused}") from None


def _as_before(state: ConnectionState) -> dict[str, Any]:
    """The public state without that a restore was stated."""
    shown = public_state(state)
    shown.pop("restored_at", None)
    shown.pop("recovering", None)
    return shown


def _settings(state: ConnectionState, person: Person) -> object:
    return state.door(person.hers.side).settings


async def follow_log(world: SdkWorld, name: str) -> str:
    """What a follower says of a log of that server, and with which exit code."""
    state = world.folder / "followed.json"
    done = await command(world.host, "log", "follow", f"{world.base}/{name}", "--state", str(state))
    return f"{done.exit_code} {done.output}"
