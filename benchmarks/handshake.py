"""
Time one opening handshake of a logged-in user, up to the end of the application.

The user is read from the database and greeted by name in a first message.
"""

import argparse
import asyncio
import os
import tempfile
import time

import side_by_side
from competitors import project
from peer import Peer
from side_by_side import Competitor

COMPETITORS = [
    Competitor("bare ASGI (no user)", "bare", "/hello/"),
    Competitor("Starlette (no user)", "starlette", "/hello/", "starlette"),
    Competitor("django_asgi_ext", "django_asgi_ext", "/hello/", "django_asgi_ext"),
    Competitor("Channels", "channels", "/hello/", "channels"),
    Competitor("django-socket", "django_socket", "/hello/", "django_socket"),
]


async def shake_hands(application, path, cookie):
    peer = Peer(application, path, cookie)
    await peer.connect()
    name = await peer.hear()
    assert name == project.USERNAME, name
    await peer.leave()


async def measure(application, path, cookie, handshakes, at_once):
    """Return the seconds per handshake."""
    start = time.perf_counter()
    for _ in range(handshakes // at_once):
        if at_once == 1:
            await shake_hands(application, path, cookie)
        else:
            await asyncio.gather(
                *(shake_hands(application, path, cookie) for _ in range(at_once))
            )
    return (time.perf_counter() - start) / handshakes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--handshakes", type=int, default=100, help="in a round")
    parser.add_argument("--at-once", type=int, default=50)
    options = parser.parse_args()
    if options.handshakes % options.at_once:
        parser.error("--handshakes must be a multiple of --at-once.")

    side_by_side.print_versions(COMPETITORS)
    print(f"{options.rounds} rounds of {options.handshakes} handshakes each")
    with tempfile.TemporaryDirectory() as folder:
        cookie = project.make_database(os.path.join(folder, "db.sqlite3"))
        with side_by_side.children(COMPETITORS, measure) as children:
            for at_once, title in [
                (1, "One handshake after another"),
                (options.at_once, f"{options.at_once} handshakes at once"),
            ]:
                seconds = side_by_side.compare(
                    children, options.rounds, cookie, options.handshakes, at_once
                )
                side_by_side.print_table(title, seconds, "Channels")
    print("\nThe bar for django_asgi_ext: at most 1.0 times Channels, in both.")


if __name__ == "__main__":
    main()
