"""
Worker threads, leased to a socket or a request for one work unit at a time.

A socket may live for days; a thread and its database connections must not live
with it. So its synchronous code (the handshake, the ORM, sync_to_async) runs in
units: a unit begins with the first call, stays on one thread, and ends when the
socket goes back to waiting for a message or makes no call for a while. Around
it Django's close_old_connections() runs in that thread, as around a request.

A request over HTTP is one unit, see http/leases.py. It has threads of another set.
"""

from __future__ import annotations

from django_asgi_ext.threads.databases import keep_transactions
from django_asgi_ext.threads.sockets import Unit, WorkUnits
from django_asgi_ext.threads.units import WorkUnit
from django_asgi_ext.threads.workers import WorkerThreads

__all__ = ["Unit", "WorkUnit", "WorkUnits", "WorkerThreads", "keep_transactions"]
