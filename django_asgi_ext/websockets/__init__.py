"""WebSockets as Django views."""
