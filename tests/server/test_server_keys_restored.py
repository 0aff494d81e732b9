"""A server that was put back from a copy older than its keys states all of them again (HOME-2, HOME-4)."""

from comity_server.commands.server_key_rotation import rotate_home
from support.restored_server import Backup
from support.world import HOUR, World


async def test_every_later_key_is_stated_again_and_the_last_one_names_the_new_log(world: World) -> None:
    backup = await Backup.of(world)
    for _ in range(2):
        world.later(HOUR)
        server = world.server
        await rotate_home(server.writer, server.home.keys, server.logs.active.key.text, broken=False)
    kids = [it.statement.kid for it in world.server.home.keys.stated]
    for path in (world.folder / "data").glob("home-z*"):
        backup.keep(path)
    await backup.put_back()
    keys = world.server.home.keys
    assert [it.statement.kid for it in keys.stated] == [*kids, kids[-1]]
    assert keys.stated[-1].statement.log == world.server.logs.active.key.text
    assert keys.statements_missing_in(world.server.logs.active.origin) == []
    pair = await world.shop_and_customer("care")
    assert await pair.go("second", "mute")
