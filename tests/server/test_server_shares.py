"""No one's use refuses another: what everybody finds of a pool, however much of it one wants (HTTP-22)."""

import random

from comity_server.limits.shares import Pool, SplitPool, User

MIA, NOOR, SALON = User("192.0.2.1"), User("192.0.2.2"), User("business salon", "key_1")


def all_of(pool: Pool, user: User) -> int:
    """How much somebody gets who takes whatever there is for him."""
    count = 0
    while pool.take(user):
        count += 1
    return count


def test_a_user_who_takes_all_he_can_leaves_half_for_others() -> None:
    pool = Pool(1024)
    assert all_of(pool, MIA) == 512
    assert all_of(pool, NOOR) == 256 and not pool.take(MIA)
    for _ in range(171):
        pool.give(MIA)
    assert pool.take(NOOR), "what is given back comes to others"


def test_a_runaway_system_of_a_business_stops_neither_its_other_systems_nor_anybody_else() -> None:
    pool = Pool(1024)
    assert all_of(pool, SALON) == 256
    assert all_of(pool, SALON._replace(hand="key_2")) > 80
    assert pool.count_of("business salon") < 512 and all_of(pool, MIA) > 200


def test_of_what_is_kept_for_long_forty_who_come_one_after_the_other_have_not_all() -> None:
    pool = Pool(4096, for_long=True)
    assert all_of(pool, MIA) == 819
    for number in range(24):
        assert all_of(pool, User(f"198.51.100.{number}")) >= 1
    assert pool.take(NOOR)


def test_the_last_place_is_for_who_has_none() -> None:
    pool = Pool(2, for_long=True)
    assert pool.take(MIA) and not pool.take(MIA) and pool.take(NOOR) and not pool.take(SALON)
    pool.give(MIA)
    assert pool.take(SALON)


def test_a_request_larger_than_the_pool_finds_room_once_the_pool_is_empty() -> None:
    pool = Pool(16)
    assert pool.take(MIA, 1000) and not pool.take(NOOR)
    pool.give(MIA, 1000)
    assert pool.take(NOOR) and not pool.take(MIA, 1000)


def test_a_pool_of_nothing_has_room_for_nobody() -> None:
    assert not Pool(0).take(MIA)


def test_however_many_strangers_there_are_a_party_finds_room_and_leaves_some_to_others() -> None:
    pool = SplitPool(100, 300)
    strangers = [User(f"2001:db8:{number}::") for number in range(400)]
    held = [share for stranger in strangers for _ in range(9) if (share := pool.take(stranger, None))]
    assert len(held) == 100 and pool.is_full(NOOR) and pool.take(NOOR, None) is None
    mine = [share for _ in range(300) if (share := pool.take(NOOR, "did:key:noor"))]
    assert len(mine) == 60 and pool.total == 160
    assert pool.take(NOOR, "did:key:mia") is not None, "also from the same address"
    for share in (*held, *mine):
        share.give()
    assert pool.total == 1 and not pool.is_full(NOOR)


def test_a_pool_is_empty_once_everybody_has_given_back() -> None:
    chance = random.Random(7)
    pool, held = Pool(64), []
    users = [*(User(f"192.0.2.{number}") for number in range(9)), *(User("business x", f"key_{it}") for it in range(9))]
    for _ in range(5000):
        user, count = chance.choice(users), chance.randint(1, 5)
        if chance.random() < 0.5 and pool.take(user, count):
            held.append((user, count))
        elif held:
            pool.give(*held.pop(chance.randrange(len(held))))
        assert pool.taken == sum(count for _, count in held) <= 64
    for user, count in held:
        pool.give(user, count)
    assert not pool.taken and not pool._owners and not pool._hands
