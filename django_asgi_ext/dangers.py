"""What may be dangerous about a server or its configuration, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Danger:
    """Something dangerous: the number of its check, what it is, what to do."""

    number: int
    message: str
    hint: str

    @property
    def id(self) -> str:
        """Return the id by which SILENCED_SYSTEM_CHECKS names it."""
        return f"asgi_ext.W{self.number}"


# By number. "{server}" in a message is the name of the server.
DANGERS = {
    danger.number: danger
    for danger in (
        Danger(
            101,
            "The server is not known, so that nothing is done about its oddities.",
            "Let no ASGI middleware replace the server's own send().",
        ),
        Danger(
            102,
            "{server} sends no pings: a peer that vanishes without a word is never "
            "noticed.",
            "Set ASGI_EXT['IDLE_TIMEOUT'], or let the server ping: hypercorn with "
            "--websocket-ping-interval, uvicorn with --ws-ping-interval.",
        ),
        Danger(
            103,
            "{server} has a limit for a message below ASGI_EXT['MAX_MESSAGE_SIZE'].",
            "Lower MAX_MESSAGE_SIZE or raise the limit: websocket_max_message_size "
            "(hypercorn), --ws-max-size (uvicorn), --websocket-max-message-size and "
            "--websocket-max-frame-size (daphne), --websocket-max-message-size "
            "(gunicorn). Granian has 16 MiB.",
        ),
        Danger(
            104,
            "{server} shuts down before views have had ASGI_EXT['SHUTDOWN_TIMEOUT'] "
            "to clean up.",
            "Give --timeout-graceful-shutdown (uvicorn) or --graceful-timeout "
            "(gunicorn) more than SHUTDOWN_TIMEOUT and SHUTDOWN_SPREAD together.",
        ),
        Danger(
            111,
            "{server} takes WebSockets over HTTP/2: when one is closed, the "
            "connection of all breaks.",
            'Put alpn_protocols = ["http/1.1"] into its configuration file, and let a '
            "proxy speak HTTP/1.1 to it.",
        ),
        Danger(
            112,
            "{server} takes WebSockets over QUIC: views are not told that a peer is "
            "gone, and a late message stops the listener.",
            "Run it without quic_bind.",
        ),
        Danger(
            113,
            "{server}'s trio worker cannot run Django, which needs asyncio.",
            "Use --worker-class asyncio or uvloop.",
        ),
        Danger(
            121,
            "{server} never answers a handshake that has a line of more than 8 KiB or "
            "more than 128 headers, and crashes on a shutdown meanwhile.",
            "Set WEBSOCKETS_MAX_LINE_LENGTH=65536 and WEBSOCKETS_MAX_NUM_HEADERS=1024 "
            "in its environment, and let a proxy refuse what is larger.",
        ),
        Danger(
            122,
            "{server}'s --limit-concurrency counts WebSockets and does not limit "
            "them: pages get 503 once there are as many.",
            "Leave it out, and set ASGI_EXT['MAX_CONNECTIONS'].",
        ),
        Danger(
            123,
            "{server} with --ws wsproto unpacks a compressed message before it looks "
            "at the size: 300 KB from a peer can take 150 MB of memory.",
            "Use its default, --ws auto, or --ws-per-message-deflate false.",
        ),
        Danger(
            131,
            "{server} obeys the header Daphne-Root-Path of any peer, by which a path "
            "that a proxy forbids can be reached under another name.",
            "Let a proxy remove that header and silence this check, or set "
            "FORCE_SCRIPT_NAME.",
        ),
        Danger(
            132,
            "{server} cuts a handshake off before ASGI_EXT['OPEN_TIMEOUT'] answers it.",
            "Give --websocket_connect_timeout more seconds than that; -1 is fewer.",
        ),
        Danger(
            141,
            "ALLOWED_HOSTS has '*': who makes a name of their own lead to this server "
            "passes the check of the Origin header.",
            "Name the hosts of the site.",
        ),
        Danger(
            142,
            "CONN_MAX_AGE is None: every worker thread (ASGI_EXT['THREADS']) of every "
            "process keeps a database connection.",
            "Set it to 0, and let the database backend pool connections.",
        ),
        Danger(
            143,
            "Peers may open any number of WebSockets, until the process can open no "
            "file and serves no page either.",
            "Set ASGI_EXT['MAX_CONNECTIONS'] below what 'ulimit -n' allows.",
        ),
        Danger(
            144,
            "Groups are kept in the memory of each process: with several workers, "
            "members in other workers get no messages, and do not see each other.",
            "Set ASGI_EXT['GROUPS']['BACKEND'] to one that all processes share, or run "
            "one worker.",
        ),
        Danger(
            145,
            "This process publishes to groups and serves no WebSockets. Groups are "
            "kept in the memory of each process, so that nobody gets it.",
            "Set ASGI_EXT['GROUPS']['BACKEND'] to one that all processes share.",
        ),
    )
}
