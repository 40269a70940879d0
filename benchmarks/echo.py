"""Time a text message of 32 bytes there and back; each waits for the last one."""

import argparse
import time

import side_by_side
from peer import Peer
from side_by_side import Competitor

OURS = "django_asgi_ext"

COMPETITORS = [
    Competitor("bare ASGI", "bare", "/echo/"),
    Competitor(f"{OURS}, async for", OURS, "/echo/", OURS),
    Competitor(f"{OURS}, recv()", OURS, "/echo-recv/", OURS),
    Competitor("Starlette", "starlette", "/echo/", "starlette"),
    Competitor("django-socket", "django_socket", "/echo/", "django_socket"),
    Competitor("Channels", "channels", "/echo/", "channels"),
]

MESSAGE = "0123456789abcdef" * 2


async def measure(application, path, messages):
    """Return the seconds per message, over one connection."""
    peer = Peer(application, path)
    await peer.connect()
    # Not counted: the process has just woken up.
    await echo(peer, 100)
    start = time.perf_counter()
    await echo(peer, messages)
    seconds = time.perf_counter() - start
    await peer.leave()
    return seconds / messages


async def echo(peer, messages):
    for _ in range(messages):
        peer.say(MESSAGE)
        answer = await peer.hear()
        assert answer == MESSAGE, answer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--messages", type=int, default=2000, help="in a round")
    options = parser.parse_args()

    side_by_side.print_versions(COMPETITORS)
    print(f"{options.rounds} rounds of {options.messages} messages each")
    with side_by_side.children(COMPETITORS, measure) as children:
        seconds = side_by_side.compare(children, options.rounds, options.messages)
        side_by_side.print_table("Echo of one message", seconds, "bare ASGI")
    print("\nThe bar for django_asgi_ext: at most 1.15 times bare ASGI.")


if __name__ == "__main__":
    main()
