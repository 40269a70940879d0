"""ASGI itself with Redis' pub/sub, as one writes it by hand with redis-py."""

import asyncio

import redis.asyncio

from competitors.project import REDIS

client = redis.asyncio.Redis.from_url(REDIS)
members = set()
listening = []


async def application(scope, receive, send):
    await receive()
    if not listening:
        listening.append(asyncio.create_task(listen()))
    await send({"type": "websocket.accept"})
    members.add(send)
    while (await receive())["type"] == "websocket.receive":
        pass
    members.discard(send)


async def listen():
    async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe("benchmark")
        async for message in pubsub.listen():
            event = {"type": "websocket.send", "text": message["data"].decode()}
            for send in list(members):
                await send(event)


async def publish(text):
    await client.publish("benchmark", text)
