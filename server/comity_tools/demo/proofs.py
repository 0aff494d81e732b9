"""The last chapters: what anybody can check who was not there."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from comity.client import Connection
from comity.documents.acts import SignedAct
from comity.documents.events import Accepted
from comity_tools.demo.common import Chapters, last_act
from comity_tools.demo.processes import comity


class Proofs(Chapters):
    """The log is read from outside; then the server is gone, and proofs still hold."""

    # --- 14 -----------------------------------------------------------------------------------------------------------

    async def audit_log(self) -> None:
        """Every act has its receipt, and a stranger follows the whole log."""
        say, stage = self.say, self.stage
        acts = list(self._own_acts())
        places = [(await self._receipt(party, act.id)).index for party, act in acts]
        say.check(f"each of the {len(acts)} acts has its receipt, and its own place", len(set(places)) == len(acts))
        signed = await self.log_monitor.wait_for_cosignature(max(places) + 1)
        say.tell("A stranger who has the log's key and the witness's, and takes nobody's word, reads all of it:")
        follow = await comity(
            *("log", "follow", stage.log_url, "--vkey", stage.log_key.text),
            *("--witness", stage.witness.key.text, "--cosignatures", "1"),
            *("--state", "followed.json"),
            folder=stage.folder,
        )
        self._show(follow)
        say.check("every entry and every tile is what the log signed and the witness cosigned", follow.returncode == 0)
        self.results.log = await self.log_monitor.copy(signed)
        self.results.home_keys = await self.stage.fetch_key_statements()

    def _own_acts(self) -> Iterator[tuple[Connection, SignedAct]]:
        """Every accepted act with a party that has it, which is the one that made it, where that has a wallet; settings
        too."""
        bakery = self.cast.parties["jonas-bakery"].cid
        for party in self.cast.connections():
            for line in party.records:
                if line.act is None or not isinstance(line.event, Accepted):
                    continue
                if line.event.side == party.side or party.cid == bakery:
                    yield party, line.act

    # --- 15 -----------------------------------------------------------------------------------------------------------

    async def check_offline(self) -> None:
        """A receipt needs no server; and a stopped store is derived once more."""
        say, stage = self.say, self.stage
        act = last_act(self.cast.parties["mia-salon"], "revoke")
        await stage.stop_server(signal.SIGTERM)
        await stage.witness.stop()
        say.tell("Server and witness have stopped. Mia has her last word to the salon, its receipt and the log's key:")
        (stage.folder / "revoke.jws").write_text(act.raw, encoding="ascii")
        (stage.folder / "revoke.tlog-proof").write_text(self.results.receipts[act.id], encoding="utf-8", newline="")
        verify, fsck = await asyncio.gather(
            comity(
                *("receipt", "verify", "revoke.tlog-proof", "--vkey", stage.log_key.text, "--act", "revoke.jws"),
                folder=stage.folder,
            ),
            comity("fsck", "--data", Path(stage.data.name), folder=stage.folder),
        )
        self._show(verify)
        say.check("her receipt holds, whoever checks it", verify.returncode == 0)
        say.tell("Whoever ran the server derives its store once more, from the signed texts in it:")
        self._show(fsck)
        say.check("nothing in it is otherwise than it follows from them", fsck.returncode == 0)

    def _show(self, process: "subprocess.CompletedProcess[str]") -> None:
        for line in (process.stdout + process.stderr).splitlines():
            self.say.tell(f"  {line}")
