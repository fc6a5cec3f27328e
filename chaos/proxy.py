"""A TCP proxy that is slow, resets its connections, or leads elsewhere, as asked."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress

LINGER = struct.pack("ii", 1, 0)  # on close: a reset, and nothing that is still unsent


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to `target`, in a thread of its own.

    delay: seconds by which each piece is late, in both directions.
    """

    def __init__(self, target: int) -> None:
        self.target, self.delay = target, 0.0
        self._pairs: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """Reset every connection there is."""
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result()

    def redirect(self, target: int) -> None:
        """Lead to another port from now on; whoever is connected is reset."""
        self.target = target
        self.reset()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _reset(self) -> None:
        for writer in list(self._pairs):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._reset()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(others, timeout=5) if others else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pairs.add(writer)
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self._drop(writer)
            return
        self._pairs.add(to_writer)
        try:
            await asyncio.gather(self._pass(reader, to_writer), self._pass(to_reader, writer))
        finally:
            self._drop(writer)
            self._drop(to_writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()
        writer.close()  # the other direction ends with it

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._pairs.discard(writer)
        writer.transport.abort()
