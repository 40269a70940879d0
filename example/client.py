"""
Chat from the terminal: log in over HTTP, then talk over a WebSocket.

It needs nothing of Django, only websockets (pip install 'websockets>=14').
"""

import argparse
import asyncio
import getpass
import json
import os
import sys
import warnings
from http.client import HTTPException, responses
from http.cookiejar import CookieJar
from threading import Thread
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import (
    HTTPCookieProcessor,
    HTTPRedirectHandler,
    Request,
    build_opener,
)

try:
    import websockets
    from websockets.exceptions import (
        ConnectionClosed,
        InvalidStatus,
        WebSocketException,
    )
except ImportError:
    sys.exit("The client needs websockets: pip install 'websockets>=14'")

# In seconds.
TIMEOUT = 10


class Failure(Exception):
    """Something that the user should read in one line."""


class NoRedirect(HTTPRedirectHandler):
    """Leave a redirect to the caller: after a login it means success."""

    def redirect_request(self, *args):
        return None


def log_in(url, name, password):
    """
    Log in and return the cookies, among them that of the session.

    Raise Failure if the server cannot be reached or does not accept the password.
    """
    cookies = CookieJar()
    opener = build_opener(HTTPCookieProcessor(cookies), NoRedirect)
    page = f"{url}/accounts/login/"
    token = None
    try:
        opener.open(page, timeout=TIMEOUT).close()
        token = next((c.value for c in cookies if c.name == "csrftoken"), "")
        form = urlencode(
            {"username": name, "password": password, "csrfmiddlewaretoken": token}
        )
        # Over HTTPS Django wants to know the page that a form comes from.
        request = Request(page, form.encode(), {"Referer": page})
        opener.open(request, timeout=TIMEOUT).close()
    except HTTPError as error:
        error.close()
        if error.code == 302 and token is not None:
            return cookies
        raise Failure(
            f"The login page {page} answers {error.code} "
            f"{responses.get(error.code, '')}."
        ) from None
    except (OSError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise Failure(f"No server answers at {url}: {why}") from None
    raise Failure(f"The server knows no user {name!r} with this password.")


class Connect(websockets.connect):
    """connect() that takes a redirect for the denial that it is."""

    def process_redirect(self, exc):
        return exc


async def chat(url, room, cookies):
    """
    Send what is typed and print what is said, until there is no more to send.

    Raise Failure if the handshake is denied or the connection breaks off.
    """
    path = f"/ws/chat/{quote(room, safe='')}/"
    request = Request(url + path)
    cookies.add_cookie_header(request)
    try:
        websocket = await Connect(
            "ws" + url.removeprefix("http") + path,
            origin=url,
            additional_headers={"Cookie": request.get_header("Cookie", "")},
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        # Not every server sends the phrase.
        phrase = responses.get(status, "")
        target = error.response.headers.get("Location")
        where = f", see {target}" if target else ""
        raise Failure(
            f"The server denied the handshake for {path}: {status} {phrase}{where}"
        ) from None
    except (OSError, WebSocketException) as error:
        raise Failure(f"No WebSocket at {url}{path}: {error}") from None
    async with websocket:
        await talk(websocket, room)


async def talk(websocket, room):
    """Send and print until the input ends; raise Failure if the connection does."""
    answers = asyncio.Queue()
    tasks = {
        asyncio.create_task(send_lines(websocket, answers)),
        asyncio.create_task(print_events(websocket, answers, room)),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except ConnectionClosed as closed:
        raise Failure(f"The connection is closed: {closed}") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def send_lines(websocket, answers):
    """Send each line of the input as a message, and wait until all are answered."""
    lines = read_lines()
    sent = 0
    while (line := await lines.get()) is not None:
        if text := line.strip():
            await websocket.send(json.dumps({"text": text}))
            sent += 1
    for _ in range(sent):
        await answers.get()


async def print_events(websocket, answers, room):
    """Print what the server tells, until the connection is closed."""
    me = None
    while True:
        event = json.loads(await websocket.recv())
        # What is said in the room comes with its place in the history.
        event = event.get("data", event)
        print_event(event, room)
        kind = event.get("type")
        if kind == "welcome":
            me = event["user"]
        # Everybody hears what he says himself, or why nobody does.
        elif kind == "error" or (kind == "message" and event["user"] == me):
            answers.put_nowait(event)


def read_lines():
    """
    Return a queue that is given each line of the input, and None at its end.

    A thread reads them, as only a thread can wait for a terminal, a pipe and a
    file alike. It may still wait when the program ends, so it is a daemon, and it
    reads without a buffer, whose lock would disturb the interpreter's end.
    """
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue()

    def put(line):
        try:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        except RuntimeError:
            # The loop is closed: nobody waits for the line any more.
            pass

    def read():
        # A program that is started without any input has no stdin.
        if sys.stdin is not None:
            for line in iter(sys.stdin.buffer.raw.readline, b""):
                put(line.decode(errors="replace"))
        put(None)

    Thread(target=read, daemon=True).start()
    return lines


def print_event(event, room):
    """Print an event in a line, if it is of any interest."""
    match event:
        case {"type": "welcome", "user": user}:
            print_line(f"You are in {room} as {user}. Ctrl-D leaves.")
        case {"type": "message", "user": user, "text": text}:
            print_line(f"{user}: {text}")
        case {"type": "error", "text": text}:
            print_line(f"Not sent: {text}")
        case {"@presence": "members", "members": members}:
            names = ", ".join(member["name"] for member in members)
            print_line(f"Here now: {names}")
        case {"@presence": "join", "member": {"name": name}}:
            print_line(f"{name} joined.")
        case {"@presence": "leave", "member": {"name": name}}:
            print_line(f"{name} left.")


def print_line(text):
    """Print one line, without what would move the cursor of a terminal."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    print(line, flush=True)


def base_url(text):
    """Return the scheme and host of a URL; raise ArgumentTypeError if it is none."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL of http or https")
    return f"{parts.scheme}://{parts.netloc}"


def ask_password(name):
    """Ask for the password; raise Failure if there is no terminal to ask at."""
    with warnings.catch_warnings():
        # It would show the password and swallow lines that are to be sent.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"Password of {name}: ")
        except (getpass.GetPassWarning, EOFError):
            raise Failure("There is no password. Give one with --password.") from None


def main():
    parser = argparse.ArgumentParser(description="Chat from the terminal.")
    parser.add_argument("name", help="who you are, as ada or grace")
    parser.add_argument("--password", help="asked for if it is not given")
    parser.add_argument("--room", default="lobby", help="default: %(default)s")
    parser.add_argument(
        "--url",
        type=base_url,
        default="http://127.0.0.1:8000",
        help="the server, default: %(default)s",
    )
    options = parser.parse_args()
    # What the terminal cannot show must not end the chat.
    sys.stdout.reconfigure(errors="replace")
    try:
        password = options.password
        if password is None:
            password = ask_password(options.name)
        cookies = log_in(options.url, options.name, password)
        asyncio.run(chat(options.url, options.room, cookies))
    except Failure as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        # Ctrl-C is one of the two ways to leave.
        print()
    except BrokenPipeError:
        # Nobody reads what is printed, as after "| head". Python would try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
