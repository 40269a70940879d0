"""Many peers in one process, each of them cheap."""

import asyncio
import base64
import os
import time

from competitors.project import HOST

# How long a server may take to answer anything, in seconds: with some the answer
# waits for other sockets' slow queries.
TIMEOUT = 120

# Of one address there are not ports enough for all.
_PEERS_PER_ADDRESS = 5000

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\n"
    f"Host: {HOST}\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    f"Origin: http://{HOST}\r\n"
    "Cookie: {cookie}\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Sec-WebSocket-Key: {key}\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "\r\n"
)

_TEXT, _CLOSE = 0x81, 0x88


class Peer:
    """One peer that asks a question and waits for the answer, as short as it."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port, path, cookie, number=0):
        """Shake hands and return the peer; its number says from which address."""
        address = f"127.0.0.{2 + number // _PEERS_PER_ADDRESS}"
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(address, 0)
            )
            key = base64.b64encode(os.urandom(16)).decode()
            writer.write(_HANDSHAKE.format(path=path, cookie=cookie, key=key).encode())
            response = await reader.readuntil(b"\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 101 "), response
        return cls(reader, writer)

    async def ask(self, question):
        """Return the answer."""
        self._writer.write(_frame(_TEXT, question.encode()))
        async with asyncio.timeout(TIMEOUT):
            first, size = await self._reader.readexactly(2)
            answer = await self._reader.readexactly(size)
        assert first == _TEXT, (first, answer)
        return answer.decode()

    async def time(self, question, answer):
        """Return how long the answer takes, in seconds."""
        start = time.perf_counter()
        heard = await self.ask(question)
        assert heard == answer, heard
        return time.perf_counter() - start

    async def leave(self):
        """Close, and wait until the server has closed too."""
        self._writer.write(_frame(_CLOSE, (1000).to_bytes(2)))
        async with asyncio.timeout(TIMEOUT):
            rest = await self._reader.read()
        assert rest[:4] == bytes([_CLOSE, 2]) + (1000).to_bytes(2), rest
        self._writer.close()

    async def break_off(self):
        """Be gone, without a word."""
        self._writer.transport.abort()
        await self._writer.wait_closed()


async def each(function, items, at_once):
    """Call a coroutine function with each item, some at once; return the results."""
    turn = asyncio.Semaphore(at_once)

    async def one(item):
        async with turn:
            return await function(item)

    return await asyncio.gather(*map(one, items))


def _frame(first, payload):
    # The key of the mask is 0: it leaves the payload as it is (RFC 6455, 5.3).
    return bytes([first, 0x80 | len(payload), 0, 0, 0, 0]) + payload
