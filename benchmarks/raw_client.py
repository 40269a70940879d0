"""A client that costs next to nothing, so that what is measured is the server."""

import select
import socket
import time

from competitors.project import HOST
from echo import MESSAGE

# How long a server may take to answer anything, in seconds.
TIMEOUT = 10

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\n"
    f"Host: {HOST}\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    f"Origin: http://{HOST}\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "\r\n"
)


def _masked(opcode, payload):
    """Return a frame of a client's (RFC 6455, section 5.2), ready to be sent."""
    key = b"\x37\xfa\x21\x3d"
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + key + masked


# Made once. The answer is never masked, and too short to arrive in parts.
_QUESTION = _masked(0x1, MESSAGE.encode())
_ANSWER = bytes([0x81, len(MESSAGE)]) + MESSAGE.encode()
_CLOSE = _masked(0x8, (1000).to_bytes(2))


def connect(port, path):
    """Return the socket of a connection that is open."""
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_HANDSHAKE.format(path=path).encode())
    response = b""
    while not response.endswith(b"\r\n\r\n"):
        chunk = connection.recv(4096)
        assert chunk, response
        response += chunk
    assert response.startswith(b"HTTP/1.1 101 "), response
    return connection


def leave(connections):
    """Close, and wait until the server has closed too."""
    for connection in connections:
        connection.settimeout(TIMEOUT)
        connection.sendall(_CLOSE)
    for connection in connections:
        while connection.recv(4096):
            pass
        connection.close()


def echo(connections, seconds):
    """
    Echo for some time, each message after the answer to the one before.

    Return the seconds per message, of all connections together.
    """
    by_number = {connection.fileno(): connection for connection in connections}
    poll = select.poll()
    for number, connection in by_number.items():
        connection.setblocking(False)
        poll.register(number, select.POLLIN)
        connection.send(_QUESTION)
    messages = 0
    start = now = time.perf_counter()
    # On a machine that others use nobody may have had a turn by then.
    while now - start < seconds or not messages:
        # Without a pause: to be woken up takes longer than to answer.
        for number, _ in poll.poll(0):
            connection = by_number[number]
            answer = connection.recv(4096)
            assert answer == _ANSWER, answer
            connection.send(_QUESTION)
            messages += 1
        now = time.perf_counter()
        assert now - start < seconds + TIMEOUT, "no answer"
    for connection in connections:
        connection.settimeout(TIMEOUT)
        answer = connection.recv(4096)
        assert answer == _ANSWER, answer
    return (now - start) / messages
