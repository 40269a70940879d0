"""HTTP requests as ASGI events."""

from tempfile import SpooledTemporaryFile

from asgiref.testing import ApplicationCommunicator

# Django never closes the file that it read a body from if the request is cancelled or
# fails, old releases in no case.
SpooledTemporaryFile.__del__ = SpooledTemporaryFile.close


def http_scope(path="/", **changes):
    """Return the scope of a request, as hypercorn makes it."""
    path, _, query = path.partition("?")
    headers = {"host": "testserver", **changes.pop("headers", {})}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "scheme": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
        **changes,
    }


async def request_events(application, scope, body=b""):
    """Return all events with which an application answers a request."""
    server = ApplicationCommunicator(application, scope)
    await server.send_input({"type": "http.request", "body": body})
    events = []
    while not events or events[-1].get("more_body", len(events) == 1):
        events.append(await server.receive_output(timeout=5))
    await server.wait(timeout=5)
    return events


async def request(application, path="/", body=b"", **changes):
    """Return status, headers and body of the answer to a request."""
    start, *rest = await request_events(application, http_scope(path, **changes), body)
    headers = {}
    for name, value in start["headers"]:
        headers.setdefault(name.decode().lower(), []).append(value.decode("latin-1"))
    return start["status"], headers, b"".join(e.get("body", b"") for e in rest).decode()
