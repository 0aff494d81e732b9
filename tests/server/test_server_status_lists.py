"""Status lists: what a mail house sees of a customer's consent."""

from comity.documents.status_lists import GrantStatus, open_status_list, value_at
from comity.http_api import ACTS
from comity.rules.next_act import compose_act
from comity_server.status_lists import MOST_STALE, StatusList
from comity_server.store.errors import StoreFailed
from comity_server.store.rows import Entry
from support.world import DAY, HOUR, World


async def test_a_withdrawn_consent_is_in_the_list_before_the_withdrawal_is_answered(world: World) -> None:
    pair = await world.shop_and_customer()
    grant = await pair.grant("second", "care")
    assert await pair.status(grant) == 0
    await pair.go("second", "withdraw", grant=grant.id)
    assert await pair.status(grant) == 1


async def test_the_end_of_a_connection_ends_every_consent_on_both_sides(world: World) -> None:
    pair = await world.shop_and_customer()
    grants = [await pair.grant("second", "care"), await pair.grant("first", "service")]
    assert [await pair.status(grant) for grant in grants] == [0, 0]
    await pair.go("first", "revoke")
    assert [await pair.status(grant) for grant in grants] == [1, 1]


async def test_a_mute_shows_while_it_lasts_and_only_on_what_it_touches(world: World) -> None:
    pair = await world.shop_and_customer()
    care, sales = await pair.grant("second", "care.checkin"), await pair.grant("second", "sales")
    await pair.go("second", "mute", purposes=("care",), until=(world.now() + HOUR) // 1000)
    assert [await pair.status(grant) for grant in (care, sales)] == [2, 0]
    world.later(HOUR + 1000)
    assert [await pair.status(grant) for grant in (care, sales)] == [0, 0]
    mute = await pair.go("second", "mute")
    assert [await pair.status(grant) for grant in (care, sales)] == [2, 2]
    await pair.go("second", "mute_end", mute=mute.id, until=(world.now() + HOUR) // 1000)
    world.later(HOUR + 1000)
    assert [await pair.status(grant) for grant in (care, sales)] == [0, 0]


async def test_a_consent_ends_in_the_list_when_it_ends(world: World) -> None:
    pair = await world.shop_and_customer()
    grant = await pair.grant("second", "care", exp=(world.now() + DAY) // 1000)
    world.later(DAY + 1000)
    assert await pair.status(grant) == 1


async def test_a_replaced_consent_ends_and_the_list_survives_a_restart(world: World) -> None:
    pair = await world.shop_and_customer()
    old = await pair.grant("second", "care", "sales")
    new = await pair.grant("second", "care", replaces=old.id)
    await world.stop()
    await world.start()
    assert [await pair.status(grant) for grant in (old, new)] == [1, 0]
    third = await pair.index("second")
    assert third["idx"] not in [it.payload.status.status_list.idx for it in (old, new)]  # type: ignore[union-attr]


async def test_a_consent_needs_an_index_of_its_own(world: World) -> None:
    pair = await world.shop_and_customer()
    other = await world.shop_and_customer()
    exp = (world.now() + DAY) // 1000

    async def refusal(reference: dict[str, object]) -> str:
        status = {"status_list": reference}
        return await pair.refused("second", "grant", purposes=("care",), channels=("app",), exp=exp, status=status)

    foreign, others, mine = await other.index("second"), await pair.index("first"), await pair.index("second")
    assert await refusal(foreign) == "index_not_reserved"
    assert await refusal(others) == "index_not_reserved"
    assert await refusal({**mine, "idx": (mine["idx"] + 1) % 2**17}) == "index_not_reserved"
    assert await refusal({**mine, "uri": "https://elsewhere.example/status/1"}) == "index_not_reserved"
    await pair.grant("second", "care", status={"status_list": mine})
    assert await refusal(mine) == "index_not_reserved"


async def test_only_a_side_of_an_open_connection_gets_an_index(world: World) -> None:
    pair = await world.shop_and_customer()
    body = f'{{"cid":"{pair.cid}"}}'.encode()
    stranger = await world.read(world.person(), "/v1/status/indexes", "POST", body, "application/json")
    assert stranger.code == "not_found"
    await pair.go("first", "revoke")
    ended = await world.read(pair.signers["first"], "/v1/status/indexes", "POST", body, "application/json")
    assert ended.code == "connection_ended"


async def test_refused_grants_use_nothing_up(world: World) -> None:
    """STATUS-3: she is refused, or her phone loses the way, more often than there are indexes for her; what is reserved
    does not grow, and the grant that is right is given."""
    pair = await world.shop_and_customer()
    kept = await pair.grant("second", "care")
    over = (world.now() - DAY) // 1000
    drawn = []
    for number in range(70):
        drawn.append(place := await pair.index("second"))
        if number % 2:
            wrong = {"purposes": ("sales",), "channels": ("app",), "exp": over, "status": {"status_list": place}}
            assert await pair.refused("second", "grant", **wrong) == "grant_expired"
    of_all = [place["idx"] for place in drawn]
    assert len(set(of_all[:64])) == 64 and of_all[64:] == of_all[:6]
    assert kept.payload.status.status_list.idx not in of_all  # type: ignore[union-attr]
    # Two at a time, as from two devices, have one each.
    places = [await pair.index("second"), await pair.index("second")]
    assert [place["idx"] for place in places] == of_all[6:8]
    given = {"purposes": ("sales",), "channels": ("app",), "exp": (world.now() + DAY) // 1000}
    grants = [await pair.go("second", "grant", **given, status={"status_list": place}) for place in places]
    assert [await pair.status(grant) for grant in (kept, *grants)] == [0, 0, 0]
    await world.stop()
    await world.start()
    fresh = [(await pair.index("second"))["idx"] for _ in range(3)]
    assert len({*fresh[:2], *of_all}) == 66 and fresh[2] == of_all[8]


async def test_a_request_that_fails_leaves_its_index_to_others(world: World) -> None:
    pair = await world.shop_and_customer()
    body = f'{{"cid":"{pair.cid}"}}'.encode()
    store = world.server.store
    commit, store.commit = store.commit, _fails  # type: ignore[assignment]
    try:
        for _ in range(3):
            headers = world.signature(pair.signers["second"], "/v1/status/indexes", "POST", body)
            reply = await world.send("POST", "/v1/status/indexes", body, "application/json", headers)
            assert reply.code == "store_failing"
    finally:
        store.commit = commit  # type: ignore[method-assign]
    listed = world.server.lists.get(1)
    assert listed is not None and len(listed) == 0
    await pair.grant("second", "care")
    assert len(listed) == 1


async def _fails(*_: object) -> None:
    raise StoreFailed("full")


async def test_a_grant_that_is_taken_back_in_the_same_batch_has_used_its_index(world: World) -> None:
    pair = await world.shop_and_customer()
    place = {"status_list": await pair.index("second")}
    exp = world.now() // 1000 + 86_400
    given = {"exp": exp, "channels": ("app",), "purposes": ("care",), "status": place}
    grant = pair.compose("second", "grant", **given)
    base = {name: getattr(grant.payload, name) for name in ("iss", "aud", "iat", "cid")}
    signer = pair.signers["second"]
    withdraw = compose_act("withdraw", signer, **base, seq=grant.payload.seq + 1, prev=grant.id, grant=grant.id)
    answers = await world.batch(grant, withdraw)
    assert [answer.get("code") for answer in answers] == [None, None]
    assert await pair.status(grant) == GrantStatus.INVALID
    again = compose_act("grant", signer, **base, seq=withdraw.payload.seq + 1, prev=withdraw.id, **given)
    assert (await world.act(again)).code == "index_not_reserved"
    await world.stop()
    await world.start()
    assert await pair.status(grant) == GrantStatus.INVALID


async def test_two_consents_of_one_batch_do_not_share_an_index(world: World) -> None:
    """Sharing it, the withdrawal of one would end the other, and the end of one would hide that the other goes on."""
    pair = await world.shop_and_customer()
    place = {"status_list": await pair.index("second")}
    exp = world.now() // 1000 + 86_400
    given = {"exp": exp, "channels": ("app",), "status": place}
    care = pair.compose("second", "grant", purposes=("care",), **given)
    base = {name: getattr(care.payload, name) for name in ("iss", "aud", "iat", "cid")}
    signer = pair.signers["second"]
    chained = {"seq": care.payload.seq + 1, "prev": care.id}
    sales = compose_act("grant", signer, **base, **chained, purposes=("sales",), **given)
    answers = await world.batch(care, sales)
    assert [answer.get("code") for answer in answers] == [None, "index_not_reserved"]


async def test_a_list_may_be_kept_for_a_while_and_asked_for_again_cheaply(world: World) -> None:
    pair = await world.shop_and_customer()
    grant = await pair.grant("second", "care")
    uri = grant.payload.status.status_list.uri  # type: ignore[union-attr]
    reply = await world.send("GET", "/status/1")
    assert reply.headers["Content-Type"] == "application/statuslist+jwt"
    assert reply.headers["Cache-Control"] == "public, max-age=30"
    signed = open_status_list(reply.body, uri, world.server.directory.find_key)
    assert signed.is_current(world.now() // 1000)
    assert (await world.send("GET", "/status/1")).body == reply.body
    again = await world.send("GET", "/status/1", headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    await pair.go("second", "withdraw", grant=grant.id)
    assert (await world.send("GET", "/status/1", headers={"If-None-Match": reply.headers["ETag"]})).status == 200
    for path in ("/status/2", "/status/0", "/status/01", "/status/x", "/status/-1"):
        assert (await world.send("GET", path)).code == "not_found"
    assert (await world.send("GET", ACTS)).code == "method_not_allowed"


async def test_a_list_forgets_the_ends_of_mutes_that_were_taken_back(world: World) -> None:
    listed = StatusList(f"{world.origin}/status/1", ())
    now, far = world.now(), world.now() + 365 * DAY
    for end in range(3 * MOST_STALE):
        listed.put(Entry(7, 0, now + DAY + end, far))
        listed.token(now, world.server.home)
    assert len(listed._changes) <= MOST_STALE + 10
    listed.put(Entry(7, 0, now + DAY, far))
    for at, status in ((now, GrantStatus.ASK), (now + DAY, GrantStatus.VALID), (far, GrantStatus.INVALID)):
        raw, _ = listed.token(at, world.server.home)
        opened = open_status_list(raw, listed.uri, world.server.directory.find_key)
        assert value_at(opened.packed, 2, 7) == status
