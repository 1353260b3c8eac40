"""uvicorn's WebSocket connection, opened for frames that are built once and written to many.

ASGI would encode and frame each message anew for each client and give no way to end a connection that takes nothing.
"""

import asyncio
import contextlib
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable
from typing import override

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.live.stream.frames import Close

_BUFFER_BYTES = 65_536
"""Written and not taken by the kernel: above it a client counts as behind."""
_KERNEL_BYTES = 262_144
"""Linux would let a connection's send buffer grow to 4 MiB, out of our sight."""
_CLOSE_WITHIN_S = 5.0
PONG_WITHIN_S = 8.0


class LiveSocket(WebSocketsSansIOProtocol):
    """Found as `scope["state"]["socket"]`. `write` takes whole WebSocket frames of the server."""

    on_writable: Callable[[], None] | None = None

    @override
    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)

    @override
    async def run_asgi(self) -> None:
        self.scope.setdefault("state", {})["socket"] = self
        await super().run_asgi()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.on_writable = None
        super().connection_lost(exc)

    @property
    def is_open(self) -> bool:
        return self.handshake_complete and not self.close_sent and not self.disconnected

    @property
    def is_writable(self) -> bool:
        return self.writable.is_set() and self.is_open and not self.transport.is_closing()

    def write(self, frame: bytes) -> None:
        self.transport.write(frame)

    def unsent(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        return 0 if self.disconnected else self.transport.get_write_buffer_size()

    def close(self, code: Close, reason: str) -> None:
        """Say why and go, whether or not the peer takes it; the application's `receive` ends with a disconnect."""
        self.on_writable = None
        if not self.is_open or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        self.conn.send_close(int(code), reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = asyncio.get_running_loop().call_later(_CLOSE_WITHIN_S, self.transport.abort)
