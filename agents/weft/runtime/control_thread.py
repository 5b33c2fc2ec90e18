"""The control API of a run on this machine, served in a thread beside the command."""

from __future__ import annotations

import asyncio
import threading

from aiohttp import web

from weft.runtime.api import Head, make_app

START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0


class ControlThread:
    """Serves on the loopback interface, at a port that is free. `start`, then `stop`."""

    def __init__(self, head: Head, token: str) -> None:
        self.address = ""
        """`http://127.0.0.1:PORT`, after `start`."""
        self._head = head
        self._token = token
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control-api", daemon=True)

    def start(self) -> None:
        """Raises `OSError` where nothing can be served."""
        self._thread.start()
        self._up.wait(START_TIMEOUT)
        if not self.address:
            raise OSError("the control API does not start")

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(STOP_TIMEOUT)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._up.set()
            self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(
            make_app(self._head, self._token), access_log=None, shutdown_timeout=1.0
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.address = f"http://{host}:{port}"
            self._up.set()
            await self._over.wait()
        finally:
            await runner.cleanup()
