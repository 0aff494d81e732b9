"""The story that `comity demo` tells. Every sentence is done over HTTP, and every claim is checked.

All people and firms in it are examples.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from comity.documents.events import MuteOver
from comity.rules.favours import balance
from comity.rules.state import public_state
from comity.transparency.entries import Kind
from comity_tools.demo.common import HOUSE_TERMS, OWN_TERMS, terms
from comity_tools.demo.endings import Endings
from comity_tools.demo.engineer import Engineer
from comity_tools.demo.proofs import Proofs
from comity_tools.demo.stage import DAY, HOUR, qr


class Story(Endings, Engineer, Proofs):
    """The chapters, in order."""

    async def tell(self) -> None:
        """Plays all chapters."""
        self.home_keys = await self.stage.home_keys()
        chapters: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("An offer, a scan, two signatures", self.meet),
            ("Another wording, and a polite no", self.counter_offer),
            ("Care yes, the same windows again no", self.care_and_sales),
            ("An advert in a greeting", self.contest),
            ("Two weeks of quiet, and a server that dies", self.mute_and_crash),
            ("A snooze that nobody sees", self.snooze),
            ("A night nurse in Tokyo", self.quiet_hours),
            ("Favours, asked both ways", self.favours),
            ("A token in the hands of a mail house", self.offline_token),
            ("Enough is enough", self.business_revokes),
            ("Starting over", self.reconnect),
            ("An engineer's half hour", self.engineer_half_hour),
            ("What the two sides have in common", self.same_history),
            ("Somebody who trusts nobody", self.audit_log),
            ("After the server", self.check_offline),
        )
        for number, (title, chapter) in enumerate(chapters, 1):
            self.say.chapter(f"{number}. {title}  ({self.day()})")
            await chapter()

    # --- 1 ------------------------------------------------------------------------------------------------------------

    async def meet(self) -> None:
        """The window maker and Mia connect."""
        say, cast = self.say, self.cast
        say.tell("The window maker puts a code on its counter:")
        link = await self.cast.windows.offer(
            self.stage.origin,
            agreements=[terms("example:house-terms", HOUSE_TERMS)],
            purposes=["care", "service", "sales"],
            use="many",
            allow={"purposes": ["service", "favour"], "channels": ["app"], "days": 365},
        )
        say.show(qr(link))
        say.tell(link)
        shown = await cast.mia.fetch_offer(link)
        say.check("the offer says what she may come for: service and favours", shown.promised_grant is not None)
        mia = await cast.mia.accept(shown)
        say.tell("Mia scans it, reads the terms and signs. Until the window maker has signed too, nothing goes:")
        await self._check_raises("no act before the agreement", mia.mute(days=1))
        windows = await self._countersign(cast.windows)
        await mia.wait_until_open(timeout=30)
        say.check("both hold the same agreement", mia.cid == windows.cid)
        cast.parties |= {"mia-windows": mia, "windows-mia": windows}
        granted = await mia.grant(["care", "service", "sales", "favour"], days=730)
        await windows.sync()
        await mia.sync()
        say.tell("Mia allows care, service, sales and favours; the window maker gave what its offer promised.")
        first = await mia.send_message("service", "One of the handles squeaks.")
        say.check("so her first message is delivered", first.outcome == "delivered" and mia.promise_status() == "kept")
        say.check("the gate says yes to care", windows.may("care.checkin").decision == "allow")
        say.check("and no to what was never granted", windows.may("research").reason == "no_grant")
        say.tell("The server enters each of these acts in a log that anybody may read, without names and words.")
        receipt = await self._receipt(mia, granted)
        say.check(f"Mia has the receipt for her grant, entry {receipt.index}", receipt.entry.side == mia.side)
        witnessed = await self.log_monitor.wait_for_cosignature(receipt.index + 1)
        say.check("and a witness, a process of its own, has cosigned that", witnessed.cosignatures)

    # --- 2 ------------------------------------------------------------------------------------------------------------

    async def counter_offer(self) -> None:
        """Mia puts other terms in place of the salon's; Ben's are declined."""
        say, cast = self.say, self.cast
        link = await self._salon_offer()
        own = terms("example:own-terms", OWN_TERMS)
        say.tell("The hair salon offers its house terms. Mia puts her own in their place, once, as she may.")
        mia = await cast.mia.accept(link, terms=own)
        salon = await self._countersign(cast.salon)
        await mia.wait_until_open(timeout=30)
        say.check("the salon signed Mia's wording", salon.agreement.terms == own.terms())
        cast.parties |= {"mia-salon": mia, "salon-mia": salon}
        await mia.grant(["care", "service", "favour"], days=365)
        await salon.grant(["service", "favour"], days=365)

        say.tell("Ben asks for terms that the salon does not want.")
        ben = await cast.ben.accept(link, terms=terms("example:ben-terms", "Ben comes first, always."))
        proposal = (await cast.salon.proposals())[0]
        await proposal.decline(reason="not_these_terms")
        await self._check_raises("Ben learns that it came to nothing", ben.wait_until_open(timeout=30))
        say.check("and his side of it is closed", ben.phase == "closed")

    # --- 3 ------------------------------------------------------------------------------------------------------------

    async def care_and_sales(self) -> None:
        """A message of care arrives; one that would sell what she has does not; one about something else does."""
        say = self.say
        mia, windows = self.cast.parties["mia-windows"], self.cast.parties["windows-mia"]
        bought = datetime.fromtimestamp(self.stage.now() / 1000, UTC) - timedelta(days=3 * 365)
        await windows.record_milestone("installed", "windows", when=bought, lasts=bought + timedelta(days=25 * 365))
        say.tell("Mia's windows are three years old; both sides have that on record.")
        care = await windows.send_message(
            "care.checkin", "How are the windows? Does the one on the north side still stick?"
        )
        say.check("the question how the windows are is delivered", care.outcome == "delivered")
        await say.check_refused(
            "an advert that does not say what for is not: she has something of this kind",
            "topic_needed",
            windows.send_message("sales", "Something new, 20 % off!"),
        )
        await say.check_refused(
            "nor is one for new windows",
            "already_has",
            windows.send_message("sales", "New windows, 20 % off!", topic="windows"),
        )
        sale = await windows.send_message("sales", "We now make shutters, too.", topic="shutters")
        say.check("a word about shutters is", sale.outcome == "delivered")
        await mia.sync()
        texts = [message.text for message in await mia.messages() if message.by == "them"]
        say.check("Mia reads exactly those two", len(texts) == 2 and texts[0] is not None and "stick" in texts[0])
        await mia.remember("no_interest", topic="shutters")
        await windows.sync()
        await say.check_refused(
            "and once she says that shutters are of no interest, that is that",
            "no_interest",
            windows.send_message("sales", "Shutters, half price!", topic="shutters"),
        )

    # --- 4 ------------------------------------------------------------------------------------------------------------

    async def contest(self) -> None:
        """An advertisement that calls itself care comes once."""
        say = self.say
        mia, windows = self.cast.parties["mia-windows"], self.cast.parties["windows-mia"]
        advert = await windows.send_message("care.greeting", "A sunny autumn! By the way, shutters are half price.")
        say.check("as a greeting, the advert for shutters arrives", advert.outcome == "delivered")
        await mia.sync()
        say.tell("Mia says what it was. Before she does, her wallet says what that does:")
        for sentence in mia.explain_feedback(advert.id, "mislabelled", "sales", "shutters"):
            say.tell(f"  {sentence}")
        contest = await mia.give_feedback(advert.id, "mislabelled", as_="sales", topic="shutters")
        receipt = await self._receipt(mia, contest)
        say.check("the log counts one contest, and does not say whose or of what", receipt.entry.kind == Kind.CONTEST)
        await windows.sync()
        told = windows.may("care.greeting")
        say.check("the window maker sees why, and what to call it", [it.as_ for it in told.contest] == ["sales"])
        await say.check_refused(
            "the next one is judged as the sale that it is",
            "no_interest",
            windows.send_message("care.greeting", "Shutters for a sunny winter!"),
        )
        say.check("and how the windows are may still be asked", windows.may("care.checkin").decision == "allow")
        await mia.give_feedback(advert.id, "not_interested")
        await windows.sync()
        say.check("another word of hers takes it back", not windows.contests())

    # --- 5 ------------------------------------------------------------------------------------------------------------

    async def mute_and_crash(self) -> None:
        """A timed mute holds a message; the server is killed; the message is released without a request."""
        say, stage = self.say, self.stage
        mia, windows = self.cast.parties["mia-windows"], self.cast.parties["windows-mia"]
        await mia.mute(days=14)
        say.tell("Mia mutes the window maker for fourteen days. It is told “not now”, and not for how long.")
        await windows.sync()
        held = await windows.send_message("care.checkin", "The maintenance kit is ready for you.", topic="kit")
        say.check("what it writes now waits", held.outcome == "held")
        verdict = windows.may("care.checkin")
        say.check("it sees “not now” and no end", (verdict.reason, verdict.ends_at) == ("not_now", None))
        before = len(await mia.messages())
        await mia.sync()
        say.check("nothing reaches Mia", len(await mia.messages()) == before)

        await self.log_monitor.wait_for_cosignature((await self._receipt(windows, held.id)).index + 1)
        log = (await self.log_monitor.check()).served
        await stage.kill_and_restart()
        say.tell("The server is killed, and started again on the same port and file.")
        await mia.sync()
        await windows.sync()
        say.check("nothing that was acknowledged is lost", windows.state.phase == "open" and len(windows.records) > 0)
        stage.pass_time(14 * DAY - HOUR)
        await mia.sync()
        say.check("an hour before the end the message still waits", len(await mia.messages()) == before)
        stage.pass_time(HOUR + 1000)
        arrived = await stage.sync_until(mia, lambda: self._has_arrived(mia, held.id))
        say.check("after two weeks it is delivered, though nobody asked for it", arrived)
        over = [line.event.index for line in mia.records if isinstance(line.event, MuteOver)]
        say.check(
            f"entry {over[0]} of the log says that her mute was over by then; when it was to end, it told nobody",
            len(over) == 1,
        )
        await self.log_monitor.wait_for_cosignature(log.size + 1)
        again = (await self.log_monitor.check()).served
        say.check(
            f"the log goes on where it stood: of its {again.size} entries the first {log.size} are those from before",
            again.size > log.size,
        )

    # --- 6 ------------------------------------------------------------------------------------------------------------

    async def snooze(self) -> None:
        """A snooze is the wallet's own: nothing that the other side can see changes."""
        say = self.say
        mia, salon = self.cast.parties["mia-salon"], self.cast.parties["salon-mia"]
        await salon.sync()
        before = (public_state(salon.state), salon.may("care.greeting").decision, len(salon.records))
        await mia.snooze(days=3)
        say.tell("Mia snoozes the salon in her own wallet: messages arrive, the wallet keeps quiet.")
        await salon.sync()
        after = (public_state(salon.state), salon.may("care.greeting").decision, len(salon.records))
        say.check("for the salon nothing at all is different", before == after)
        greeting = await salon.send_message("care.greeting", "Happy birthday!")
        await mia.sync()
        arrived = [message for message in await mia.messages() if message.id == greeting.id]
        say.check("its greeting arrives, quietly", greeting.outcome == "delivered" and arrived and arrived[0].quiet)

    # --- 7 ------------------------------------------------------------------------------------------------------------

    async def quiet_hours(self) -> None:
        """Hours over midnight in another zone."""
        say, stage, cast = self.say, self.stage, self.cast
        jonas = await cast.jonas.accept(await self._salon_offer())
        salon = await self._countersign(cast.salon)
        await jonas.wait_until_open(timeout=30)
        cast.parties |= {"jonas-salon": jonas, "salon-jonas": salon}
        await jonas.grant(["care", "service", "favour"], days=365)
        await jonas.set_hours("Asia/Tokyo", [(["mo", "tu", "we", "th", "fr", "sa", "su"], "20:00", "04:00")])
        say.tell("Jonas works nights in Tokyo: he may be reached from 20:00 to 04:00 there, over midnight.")
        await salon.sync()
        stage.move_clock(self._next("Asia/Tokyo", 12))
        held = await salon.send_message("service.appointment", "Your appointment in October: same time as always?")
        say.check("at noon in Tokyo a message waits", held.outcome == "held")
        say.check("the salon cannot read his hours from the state it shares", salon.may("service").decision == "allow")
        stage.move_clock(self._next("Asia/Tokyo", 20) + 1000)
        say.check("at 20:00 it arrives", await stage.sync_until(jonas, lambda: self._has_arrived(jonas, held.id)))
        stage.move_clock(self._next("Asia/Tokyo", 2))
        night = await salon.send_message("care.greeting", "Still awake?")
        say.check("and at two in the morning he is reached at once", night.outcome == "delivered")

    # --- 8 ------------------------------------------------------------------------------------------------------------

    async def favours(self) -> None:
        """Asked both ways, done and thanked for; a second ask while one is open is refused."""
        say = self.say
        mia, salon = self.cast.parties["mia-salon"], self.cast.parties["salon-mia"]
        await mia.sync()
        asked = await mia.ask("hold", "Could you keep the Saturday slot for me until noon?", effort="minute")
        await say.check_refused(
            "a second ask while one is open is refused", "ask_open", mia.ask("lend", "And the umbrella?")
        )
        await salon.sync()
        theirs = salon.favours()[-1]
        say.tell(f"Mia asks: “{theirs.text}” The salon says yes, and does it.")
        await theirs.answer("yes", "Of course.")
        await theirs.mark_done()
        await mia.sync()
        say.check("Mia sees that it is done", asked.status == "done")
        await asked.thank("You are a treasure.")

        await salon.sync()
        review = await salon.ask("review", "Would you write two lines about us?", in_return="a coffee on the house")
        await mia.sync()
        mine = mia.favours()[-1]
        say.tell(f"The salon asks in turn: “{mine.text}”, for {mine.in_return}. Mia returns the favour.")
        await mine.answer("yes")
        await mine.mark_done()
        await salon.sync()
        await review.thank()
        await mia.sync()
        say.check("one favour each, as both see it", balance(mia.state, self.stage.now()) == (1, 1))

    # --- 13 -----------------------------------------------------------------------------------------------------------

    async def same_history(self) -> None:
        """Both sides recompute the same state from what they hold, and the log kept nothing private."""
        say, cast = self.say, self.cast
        for ours, theirs in (("mia-windows", "windows-mia"), ("jonas-salon", "salon-jonas")):
            mine, yours = cast.parties[ours], cast.parties[theirs]
            await mine.sync()
            await yours.sync()
            say.check(
                f"{ours.split('-')[0].title()} and the other side have the same state, each from its own texts",
                public_state(mine.state) == public_state(yours.state),
            )
        say.tell("Mia and the window maker, as her wallet tells it:")
        for told in await cast.parties["mia-windows"].timeline():
            say.tell(f"  {told}")
        private = ("Clearview", "north side", "treasure", "did:key:", cast.parties["mia-windows"].cid)
        say.check(
            "the server's log holds no name, no text and no token", not any(it in self.stage.log() for it in private)
        )

    # --- in several of them -------------------------------------------------------------------------------------------

    def _next(self, zone: str, hour: int) -> int:
        """The next time (ms) at which it is `hour` o'clock in a zone."""
        now = datetime.fromtimestamp(self.stage.now() / 1000, ZoneInfo(zone))
        then = now.replace(hour=hour, minute=0, second=0, microsecond=0)
        return int((then if then > now else then + timedelta(days=1)).timestamp() * 1000)
