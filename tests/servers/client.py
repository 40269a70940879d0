"""The client of `websockets`, and what the tests ask of it."""

import asyncio

import pytest
from websockets.asyncio.client import connect as connect_to
from websockets.exceptions import ConnectionClosed, InvalidStatus


def connect(url, **options):
    """Connect without a proxy; a test says by itself how long it waits."""
    return connect_to(url, **{"proxy": None, "close_timeout": 5, **options})


async def hear(websocket):
    """Return the next message."""
    return await asyncio.wait_for(websocket.recv(), 10)


async def close_of(websocket):
    """Return close code and reason once the server has closed."""
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                await websocket.recv()
    return websocket.close_code, websocket.close_reason


async def denial_of(url, **options):
    """Return the response that denies a handshake."""
    with pytest.raises(InvalidStatus) as error:
        async with connect(url, **options):
            pass
    return error.value.response
