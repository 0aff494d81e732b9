"""`python -m comity_tools.bench.baseline_server PORT SIZE`: aiohttp with next to nothing on it, for a baseline."""

import asyncio
import signal
import sys

from aiohttp import web


async def serve(port: int, size: int) -> None:
    """Answer every request with `size` bytes of JSON, once its body was read, until told to stop."""
    answer = b'{"act":"' + b"x" * (size - 10) + b'"}'

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    await until_told(app, port)


async def until_told(app: web.Application, port: int) -> None:
    """Serve on loopback until told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), max(16, int(sys.argv[2]))))
