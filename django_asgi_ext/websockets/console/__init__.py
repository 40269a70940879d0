"""The page on which a browser talks to a WebSocket view, while DEBUG is on."""
