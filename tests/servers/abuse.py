"""
Ways to break a connection off, for clients that write their bytes by hand.

None closes as it should: each ends with a FIN, a RST, or when the server gives up.
"""

import asyncio
import contextlib
import random
import socket
import struct

TEXT, BINARY, RESERVED, CLOSE, PING = 1, 2, 3, 8, 9

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n{more}\r\n"
)


def frame(payload=b"", opcode=TEXT, fin=0x80, rsv=0, masked=0x80):
    """Return one frame (RFC 6455, section 5.2), masked with zeros."""
    size = len(payload)
    if size < 126:
        length = bytes([masked | size])
    elif size < 65536:
        length = struct.pack("!BH", masked | 126, size)
    else:
        length = struct.pack("!BQ", masked | 127, size)
    mask = bytes(4) if masked else b""
    return bytes([fin | rsv | opcode]) + length + mask + payload


class Client:
    """One connection over a bare TCP socket."""

    def __init__(self, port, chance):
        self.port = port
        self.chance = chance
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.loop = asyncio.get_running_loop()

    async def __aenter__(self):
        await self.loop.sock_connect(self.socket, ("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *exc_info):
        self.socket.close()

    async def send(self, data):
        await self.loop.sock_sendall(self.socket, data)

    async def request(self, path, more=""):
        await self.send(HANDSHAKE.format(path=path, more=more).encode())

    async def status(self):
        """Return the status of the answer to the handshake."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await self.loop.sock_recv(self.socket, 65536)
            assert data, "The server does not answer the handshake."
            answer += data
        return int(answer.split()[1])

    async def shake_hands(self, path, more=""):
        await self.request(path, more)
        assert await self.status() == 101

    async def pause(self):
        """Do nothing for a moment of random length."""
        await asyncio.sleep(self.chance.uniform(0, 0.2))

    def reset(self):
        """End with a RST."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def finish(self):
        """End our side with a FIN, whatever there is still to be read."""
        self.socket.shutdown(socket.SHUT_WR)

    async def read_to_the_end(self):
        """Read until the server ends the connection, for a second at most."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(1):
                while await self.loop.sock_recv(self.socket, 65536):
                    pass


WAYS = []


def way(function):
    WAYS.append(function)
    return function


@way
async def half_a_request_line(client):
    await client.send(b"GET /ec")
    client.finish()
    await client.read_to_the_end()


@way
async def headers_without_an_end(client):
    await client.send(HANDSHAKE.format(path="/echo/", more="X: y").encode()[:-2])
    await client.pause()
    client.reset()


@way
async def handshake_then_fin(client):
    await client.request("/echo/")
    client.finish()
    await client.pause()


@way
async def handshake_then_rst(client):
    await client.request("/echo/")
    await client.pause()
    client.reset()


@way
async def frame_before_the_answer(client):
    await client.send(HANDSHAKE.format(path="/echo/", more="").encode() + frame(b"x"))
    await client.pause()
    client.reset()


@way
async def gone_while_the_middleware_runs(client):
    await client.request("/slow/")
    await client.pause()
    client.reset()


@way
async def unknown_session_then_rst(client):
    await client.shake_hands("/user/", "Cookie: sessionid=nobodyhasthisone\r\n")
    await client.pause()
    client.reset()


@way
async def denied_then_rst(client):
    await client.request("/denial/")
    status = await client.status()
    assert status in (403, 418), status
    client.reset()


@way
async def silence_then_fin(client):
    await client.shake_hands("/echo/")
    await client.pause()
    client.finish()
    await client.read_to_the_end()


@way
async def half_a_frame_header(client):
    await client.shake_hands("/echo/")
    await client.send(frame(b"x" * 1000)[:3])
    client.finish()
    await client.read_to_the_end()


@way
async def half_a_payload(client):
    await client.shake_hands("/echo/")
    await client.send(frame(b"x" * 1000)[:500])
    await client.pause()
    client.reset()


@way
async def first_fragment_only(client):
    await client.shake_hands("/busy/")
    await client.send(frame(b"x" * 1000, fin=0))
    client.finish()
    await client.read_to_the_end()


@way
async def in_the_middle_of_many(client):
    await client.shake_hands("/echo/")
    await client.send((frame(b"x" * 100) * 100)[:-50])
    client.finish()
    await client.pause()


@way
async def close_then_rst(client):
    await client.shake_hands("/echo/")
    await client.send(frame(struct.pack("!H", 1000), CLOSE))
    client.reset()


@way
async def close_without_reading_the_reply(client):
    await client.shake_hands("/busy/")
    await client.send(frame(struct.pack("!H", 4001) + b"because", CLOSE))
    await client.pause()
    client.finish()


@way
async def no_answer_to_a_close(client):
    await client.shake_hands("/closing/")
    await client.read_to_the_end()
    client.reset()


@way
async def never_reads(client):
    await client.shake_hands("/pushing/")
    await client.pause()
    client.reset()


@way
async def flood(client):
    await client.shake_hands("/busy/")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            for _ in range(64):
                await client.send(frame(b"x" * 65536))
    client.reset()


@way
async def gone_while_a_thread_works(client):
    await client.shake_hands("/in-thread/")
    await client.send(frame(b"x"))
    await client.pause()
    client.reset()


@way
async def no_json_then_rst(client):
    await client.shake_hands("/parsing/")
    await client.send(frame(b"{"))
    client.reset()


@way
async def invalid_utf_8(client):
    await client.shake_hands("/echo/")
    await client.send(frame(b"\xff\xff"))
    await client.read_to_the_end()


@way
async def frame_without_a_mask(client):
    await client.shake_hands("/echo/")
    await client.send(frame(b"x", masked=0))
    await client.read_to_the_end()


@way
async def reserved_bit(client):
    await client.shake_hands("/busy/")
    await client.send(frame(b"x", rsv=0x20))
    await client.read_to_the_end()


@way
async def reserved_opcode(client):
    await client.shake_hands("/echo/")
    await client.send(frame(b"x", RESERVED))
    await client.read_to_the_end()


@way
async def ping_of_too_many_bytes(client):
    await client.shake_hands("/echo/")
    await client.send(frame(b"x" * 200, PING))
    await client.read_to_the_end()


@way
async def message_over_the_limit(client):
    await client.shake_hands("/echo/")
    await client.send(frame(b"x" * 200_000, BINARY))
    await client.read_to_the_end()


async def say_hello(port):
    """Open one connection and close it as it should be done."""
    async with Client(port, random.Random()) as client:
        await client.shake_hands("/echo/")
        await client.send(frame(b"hello") + frame(struct.pack("!H", 1000), CLOSE))
        await client.read_to_the_end()


async def abuse(port, chance, number=300, at_once=100):
    """Open connections and break each off, in ways that take turns at random."""
    ways = [WAYS[index % len(WAYS)] for index in range(number)]
    chance.shuffle(ways)
    slots = asyncio.Semaphore(at_once)

    async def one(way):
        async with slots, asyncio.timeout(30), Client(port, chance) as client:
            # The server may break off first, once it has seen what is wrong.
            with contextlib.suppress(ConnectionError):
                await way(client)

    async with asyncio.TaskGroup() as group:
        for way in ways:
            group.create_task(one(way), name=way.__name__)
