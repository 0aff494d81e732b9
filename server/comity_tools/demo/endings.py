"""The chapters in which something ends, and one in which it begins again."""

from comity.client import Connection
from comity.crypto.keys import key_of_kid
from comity.documents.status_lists import SignedStatusList
from comity.rules.consent_tokens import TokenVerdict, check_token
from comity.transparency.entries import Kind
from comity.transparency.receipts import Receipt
from comity_tools.demo.common import Chapters, last_act


class Endings(Chapters):
    """Two who end a connection, and one who comes back."""

    # --- 9 ------------------------------------------------------------------------------------------------------------

    async def offline_token(self) -> None:
        """A mail house checks Mia's token without asking anyone; then Mia ends the connection."""
        say = self.say
        mia, salon = self.cast.parties["mia-salon"], self.cast.parties["salon-mia"]
        token = next(token for token in await salon.tokens() if token.by == "them")
        self.results.agreement, self.results.grant = salon.agreement_raw, token.jwt
        before = await salon.status_list(token.uri)
        self.results.list_before = before.raw
        receipt = await self._receipt(salon, token.id)
        verdict = self._check_token(salon, token.jwt, before, receipt)
        say.tell("The salon's mail house has a token, its receipt, the log's key and a status list, and no network.")
        say.check(f"before: {verdict.reason}", verdict.allowed)
        other_purpose = self._check_token(salon, token.jwt, before, receipt, purpose="sales")
        say.check(f"for another purpose: {other_purpose.reason}", not other_purpose.allowed)
        stale = self._check_token(salon, token.jwt, before, receipt, later=120)
        say.check(f"with a list of two minutes ago: {stale.reason}", not stale.allowed)

        await mia.revoke()
        say.tell("Mia moves to another town and ends the connection.")
        after = await salon.status_list(token.uri)
        self.results.list_after = after.raw
        verdict = self._check_token(salon, token.jwt, after, receipt)
        say.check(f"after: {verdict.reason}", not verdict.allowed and verdict.reason == "invalid")
        say.check("the list said 0, then 1", (before.at(token.idx), after.at(token.idx)) == (0, 1))
        await salon.sync()
        await say.check_refused(
            "the salon cannot write any more", "connection_ended", salon.send_message("care", "Come back!")
        )
        self.cast.ended.append(mia)

    def _check_token(
        self,
        salon: Connection,
        jwt: str,
        status_list: SignedStatusList,
        receipt: Receipt,
        purpose: str = "care.greeting",
        later: int = 0,
    ) -> TokenVerdict:
        return check_token(
            jwt,
            audience=salon.own_did,
            purpose=purpose,
            channel="app",
            now=self.stage.now() // 1000 + later,
            status_list=status_list,
            receipt=receipt,
            find_key=key_of_kid,
        )

    # --- 10 -----------------------------------------------------------------------------------------------------------

    async def business_revokes(self) -> None:
        """A business may say no, too."""
        say, cast = self.say, self.cast
        ben = await cast.ben.accept(await self._salon_offer())
        salon = await self._countersign(cast.salon)
        await ben.wait_until_open(timeout=30)
        await salon.grant(["service", "favour"], days=30)
        await ben.sync()
        await ben.send_message("service", "You call that a haircut?! I know where you live.")
        say.tell("Ben threatens the hairdresser. She does not owe him a reason. The witness is away just then.")
        await self.stage.witness.stop()
        await salon.sync()
        await salon.revoke()
        receipt = await self._receipt(salon, last_act(salon, "revoke").id)
        say.check("a no waits for no witness: it stands in the log", receipt.entry.kind == Kind.REVOKE)
        await ben.sync()
        say.check("Ben's side knows that it has ended", ben.phase == "ended")
        await say.check_refused("and he is not heard any more", "connection_ended", ben.send_message("service", "Hey!"))
        cast.ended.append(ben)
        await self.stage.witness.start()
        witnessed = await self.log_monitor.wait_for_cosignature(receipt.index + 1)
        say.check("the witness comes back, and cosigns what it missed", witnessed.cosignatures)

    # --- 11 -----------------------------------------------------------------------------------------------------------

    async def reconnect(self) -> None:
        """A new connection after a revoke shares nothing with the old one."""
        say, cast = self.say, self.cast
        old = cast.parties["mia-salon"]
        mia = await cast.mia.accept(await self._salon_offer())
        salon = await self._countersign(cast.salon)
        await mia.wait_until_open(timeout=30)
        say.tell("Mia is back in town and scans the salon's code again.")
        say.check("it is another connection", mia.cid != old.cid)
        say.check("under a name the salon has never seen", mia.own_did != old.own_did)
        say.check("with nothing granted yet", salon.may("care").reason == "no_grant")
        say.check("and the old one stays ended", old.phase == "ended")
        await mia.grant(["care"], days=90)
        await salon.sync()
        cast.parties |= {"mia-salon-again": mia, "salon-mia-again": salon}
