"""Views."""

from django_asgi_ext import websocket


async def test_echo(connect):
    """A view answers each message and the connection ends with the peer's close."""

    @websocket
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    peer = connect(echo)
    await peer.accepted()
    await peer.say("hello")
    assert await peer.hear() == "hello"
    await peer.say(b"\0\1")
    assert await peer.hear() == b"\0\1"
    await peer.leave()


async def test_return_before_accept(connect):
    """A view that returns None before it accepts denies the handshake with 403."""

    @websocket
    async def nothing(socket):
        return None

    assert (await connect(nothing).denied())[0] == 403


async def test_close_on_return(connect):
    """A view that returns after accepting closes the connection with 1000."""

    @websocket
    async def hello(socket):
        await socket.send("hello")

    peer = connect(hello)
    await peer.accepted()
    assert await peer.hear() == "hello"
    assert await peer.closed() == (1000, "")
