"""One module each: an ASGI application that serves /hello/ and /echo/."""
