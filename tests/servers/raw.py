"""A client that writes and reads byte by byte, and may do what it likes."""

import contextlib
import os
import select
import socket
import struct

# The first byte of a frame (RFC 6455, section 5.2): FIN and an opcode.
FIN = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# How long a server may take for anything, in seconds.
PATIENCE = 15


def frame(first, payload=b"", masked=True):
    """Return a frame: its first byte, then the payload as a client masks it."""
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        header = struct.pack("!BB", first, bit | len(payload))
    elif len(payload) < 65536:
        header = struct.pack("!BBH", first, bit | 126, len(payload))
    else:
        header = struct.pack("!BBQ", first, bit | 127, len(payload))
    if not masked:
        return header + payload
    mask = os.urandom(4)
    return header + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def close_frame(code, reason=""):
    """Return a close frame of a client's."""
    return frame(FIN | CLOSE, struct.pack("!H", code) + reason.encode())


def handshake(path, *headers, key="dGhlIHNhbXBsZSBub25jZQ==", version=13):
    """Return an opening handshake; None leaves the key out."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Version: {version}",
        *headers,
    ]
    if key is not None:
        lines.append(f"Sec-WebSocket-Key: {key}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


class RawClient:
    """One TCP connection to a server; the system may keep little of what comes."""

    def __init__(self, server, receive_buffer=None):
        self.connection = socket.socket()
        if receive_buffer is not None:
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer
            )
        self.connection.settimeout(PATIENCE)
        self.connection.connect(("127.0.0.1", server.port))
        self._file = self.connection.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()
        self.connection.close()

    @property
    def port(self):
        return self.connection.getsockname()[1]

    def send(self, *parts):
        """Send bytes, all at once."""
        self.connection.sendall(b"".join(parts))

    def finish(self):
        """Send no more (a FIN), and go on reading."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)

    def reset(self):
        """Break the connection off with a RST."""
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._file.close()
        self.connection.close()

    def read_response(self):
        """Return the status and the headers of a response, names in lower case."""
        status = int(self._file.readline().split()[1])
        headers = []
        for line in iter(self._file.readline, b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        return status, headers

    def read_body(self, headers):
        """Return the body that headers announce, or else all until the end."""
        length = dict(headers).get("content-length")
        return self._file.read(-1 if length is None else int(length))

    def open(self, path, *headers):
        """Shake hands and return the headers of the 101."""
        self.send(handshake(path, *headers))
        status, headers = self.read_response()
        assert status == 101
        return headers

    def read_frame(self):
        """Return the next frame's first byte and payload (a server masks none)."""
        first, size = self._read(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        return first, self._read(size)

    def read_to_end(self):
        """Return all that comes until the server ends the TCP connection."""
        return self._file.read()

    def is_silent_for(self, seconds):
        """Return whether nothing comes for a while, not even the end."""
        return not select.select([self.connection], [], [], seconds)[0]

    def wait_for_end(self):
        """Wait for the end of the TCP connection, by a FIN or by a RST."""
        with contextlib.suppress(ConnectionError):
            assert self.read_to_end() == b""

    def _read(self, size):
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError(data)
        return data
