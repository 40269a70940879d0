"""
What goes out: the one place that calls the server's send().

It walks through the states of the connection and sees to it that a connection
ends once, whoever ends it: the peer, the server or the view.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from django_asgi_ext import conf
from django_asgi_ext.exceptions import ConnectionClosed
from django_asgi_ext.groups.member import Member
from django_asgi_ext.protocols import Event, Receive, Scope, Send
from django_asgi_ext.servers import server_of
from django_asgi_ext.websockets.endings import INTERNAL_ERROR, SERVICE_RESTART
from django_asgi_ext.websockets.inbox import Inbox, Watcher
from django_asgi_ext.websockets.pulse import Pulse
from django_asgi_ext.websockets.response import Denial
from django_asgi_ext.websockets.state import State, after_sending

# A server's send() raises OSError when the peer is gone (ASGI specification,
# "Disconnected client") and some raise RuntimeError when they have closed the
# connection themselves.
SEND_ERRORS = (OSError, RuntimeError)

# After how many messages other tasks run, less 1: a power of two, less 1. A server's
# send() need not wait for anything, above all once the peer is gone: then nobody
# else would run, nor the view ever learn of it.
BREATHE_MASK = 127

# How long the close code is waited for when send() has failed, in seconds.
_FIND_CODE_TIMEOUT = 1

# How long a closing handshake may take when the server shuts down, in seconds.
_SHORT_PATIENCE = 1.0


_FAILURE = Denial.empty(500)


class Transport:
    """
    One connection as ASGI events.

    ``close_code`` and ``close_reason`` say how it ended, None and "" before.
    ``told`` is whether the view knows that it did. ``is_open`` is whether messages
    may pass, so that one look is enough for each.

    They do not pass through here: WebSocket takes them from ``inbox`` and gives
    them to ``asgi_send`` itself, for each call in between costs every one.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.state = State.CONNECTING
        self.is_open = False
        # Up to how many characters a message is not too big, whatever they are.
        self.small = 0
        self.close_code: int | None = None
        self.close_reason = ""
        self.told = False
        # Who is told what happens while the view does not look.
        self.watcher: Watcher | None = None
        # The same connection in groups, if it is in any.
        self.member: Member | None = None
        self._server = server_of(receive, send)
        now = asyncio.get_running_loop().time()
        self.pulse = Pulse(now)
        self.inbox = Inbox(
            self._server.receiver(),
            self,
            self.pulse,
            self._server.may_cancel_receive,
        )
        self.asgi_send = self._server.sender()
        # Until when the handshake must be accepted, by the clock of the loop.
        self.open_until = now + conf.open_timeout()
        # What then looks whether it was.
        self.opening: asyncio.TimerHandle | None = None
        # How long a closing handshake may take, in seconds.
        self._patience = conf.close_timeout()
        # The websocket.close that is to be sent.
        self._close: Event | None = None
        # The answer to a handshake that nobody accepts.
        self._denial = _FAILURE
        # HTTP/2 and above.
        self._over_streams = not scope.get("http_version", "1.1").startswith("1")
        self._takes_denials = self._server.takes_denials or (
            "websocket.http.response" in (scope.get("extensions") or {})
        )

    def check_receiving(self) -> None:
        """Raise ConnectionClosed if there is nothing to receive any more."""
        if self._is_over():
            raise self.closed()

    def check_received(self, event: Event) -> None:
        """Raise ConnectionClosed if an event that is no message is the last one."""
        if event["type"] == "websocket.disconnect":
            self.inbox.end(event)
            self._ended()
            raise self.closed()

    def check_sending(self) -> None:
        """Raise ConnectionClosed if no message can be sent any more."""
        if self.state is State.CLOSING or self.state is State.CLOSED:
            raise self.closed()
        after_sending(self.state, "websocket.send")

    async def send(self, event: Event) -> None:
        """
        Send an event that changes the state.

        Raise InvalidState if it cannot be sent now, and ConnectionClosed if the
        peer is gone.
        """
        if self.state is State.CLOSING or self.state is State.CLOSED:
            raise self.closed()
        # Before the first await: what another task sends then comes after.
        before, self.state = self.state, after_sending(self.state, event["type"])
        self.pulse.begun += 1
        try:
            await self.asgi_send(event)
        except SEND_ERRORS as error:
            raise await self.failed() from error
        except Exception:
            # The server has refused the event, as one with a header it dislikes.
            self.state = before
            raise
        finally:
            self.pulse.done += 1

    def open(self) -> None:
        """Let messages pass: the handshake is complete."""
        self.stop_opening()
        # Meanwhile it may have been closed.
        if self.state is State.OPEN:
            self.asgi_send = self._server.sender_when_open()
            self.is_open = True

    def stop_opening(self) -> None:
        """Wait for no accept any more."""
        if self.opening is not None:
            self.opening.cancel()
            self.opening = None

    async def failed(self) -> ConnectionClosed:
        """Return what it means that sending has failed."""
        await self.inbox.find_disconnect(_FIND_CODE_TIMEOUT)
        self._ended()
        return self.closed()

    async def close(self, code: int, reason: str) -> None:
        """Start the closing handshake or, before accept, refuse with 403."""
        if self.state is not State.CONNECTING and self.state is not State.OPEN:
            return
        self.close_code, self.close_reason = code, reason
        self._leave(after_sending(self.state, "websocket.close"))
        self._close = {"type": "websocket.close", "code": code, "reason": reason}
        await self._send_close()

    async def deny(self, denial: Denial) -> None:
        """
        Answer the opening handshake with a response other than 101.

        Servers that do not take a response answer 403.
        """
        if not self._takes_denials:
            await self.close(1000, "")
            return
        self._denial = denial
        try:
            async with asyncio.timeout(self._patience):
                await self.inbox.interrupt()
                if self._over_streams and 200 <= denial.status < 300:
                    # There a 2xx would complete the handshake (RFC 8441, 5).
                    denial = replace(denial, status=403)
                for event in denial.events():
                    await self.send(event)
        except TimeoutError:
            self._cut_off_if_stalled()
        except ConnectionClosed:
            pass

    async def give_up(self, code: int) -> None:
        """End the connection to a peer that does not read: it gets no close frame."""
        if self.state is State.OPEN:
            self.close_code = code
            self._leave(State.CLOSED)
            self._server.cut_off()
            await self.inbox.interrupt()

    async def abandon(self, code: int = SERVICE_RESTART) -> None:
        """End the connection from outside of the view: with a code, or with 503."""
        self._patience = min(self._patience, _SHORT_PATIENCE)
        if self.state is State.CONNECTING:
            await self.deny(Denial.empty(503))
        else:
            await self.close(code, "")

    async def finish(self) -> None:
        """
        Wait for the peer's side of the closing handshake (RFC 6455, 7.1).

        If nobody has ended the connection, something has failed: then end it.
        """
        try:
            if self.state is State.CONNECTING:
                # Nobody has denied it, or the time was over before that began.
                await self.deny(self._denial)
            elif self.state is State.OPEN:
                await self.close(INTERNAL_ERROR, "")
            # Whoever called close() may have been cancelled in it.
            await self._send_close()
            if self.state is State.CLOSING:
                async with asyncio.timeout(self._patience):
                    await self.inbox.drain()
        except TimeoutError:
            self._cut_off_if_stalled()
        finally:
            self._ended()
            self.inbox.stop()
            self._server.end()
            if self._server.unsent():
                # The server waits for as long as the peer likes.
                asyncio.get_running_loop().call_later(
                    self._patience, self._cut_off_if_stalled
                )
            # They lead back to here.
            self.watcher = None
            if self.member is not None:
                await self.member.finish()
                self.member = None

    def closed(self) -> ConnectionClosed:
        """Return the exception that tells the view how the connection ended."""
        self.told = True
        code = 1006 if self.close_code is None else self.close_code
        return ConnectionClosed(code, self.close_reason)

    async def _send_close(self) -> None:
        if self._close is None:
            return
        try:
            async with asyncio.timeout(self._patience):
                # Not every server can send a close while receive() waits.
                await self.inbox.interrupt()
                event, self._close = self._close, None
                if event is not None and self.inbox.disconnect is None:
                    await self.asgi_send(event)
        except TimeoutError:
            self._close = None
            self._cut_off_if_stalled()
        except SEND_ERRORS:
            # The peer is gone. There is nothing to add.
            self._close = None

    def current_pulse(self) -> Pulse:
        """Return the pulse, with what has come from groups."""
        if self.member is not None:
            self.member.count_delivered()
        return self.pulse

    def unsent(self) -> int:
        """Return how many bytes wait for the peer, 0 if that is not known."""
        return self._server.unsent()

    def _cut_off_if_stalled(self) -> None:
        # A close frame that is on its way would be lost.
        if self._server.unsent():
            self._server.cut_off()

    def _is_over(self) -> bool:
        if self.state is State.CLOSED:
            return not self.inbox.unread() and self.inbox.disconnect is None
        return self.state is State.CLOSING or self.state is State.DENYING

    def _ended(self) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = self._server.close_of(
                self.inbox.disconnect or {"code": 1006}
            )
        self._leave(State.CLOSED)

    def _leave(self, state: State) -> None:
        self.state = state
        self.is_open = False
        if self.member is not None:
            self.member.end()

    def peer_left(self) -> None:
        """Tell the watcher that the peer has left while the view does not look."""
        self._ended()
        if self.watcher is not None:
            self.watcher.peer_left()

    def peer_floods(self) -> None:
        """Tell the watcher that the peer has sent more than the view ever takes."""
        if self.watcher is not None:
            self.watcher.peer_floods()

    def peer_lags(self) -> None:
        """Tell the watcher that the peer is too slow for a group that it is in."""
        if self.watcher is not None:
            self.watcher.peer_lags()
