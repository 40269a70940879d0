"""The registry that stands in place of Django's check of the scope's type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured

from django_asgi_ext.exceptions import UnsupportedProtocol

Scope = dict[str, Any]
Event = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
# Scope, Receive and Send. Every framework has types of its own for them, and an
# application written for any of these must do.
ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

Application = TypeVar("Application", bound=ASGIApplication)


class ProtocolRegistry(Mapping[str, ASGIApplication]):
    """
    Map scope types to ASGI applications (ASGI specification, "Applications").

    A registry may lie over another one, its base: what is not found in it is
    looked up there. So one application adds a protocol, replaces one or takes
    one out without touching any other application in the process.
    """

    def __init__(self, base: Mapping[str, ASGIApplication] | None = None) -> None:
        self._base: Mapping[str, ASGIApplication] = {} if base is None else base
        # None takes a protocol of the base out.
        self._applications: dict[str, ASGIApplication | None] = {}

    @overload
    def register(
        self, scope_type: str, application: None = None, *, replace: bool = False
    ) -> Callable[[Application], Application]: ...

    @overload
    def register(
        self, scope_type: str, application: Application, *, replace: bool = False
    ) -> Application: ...

    def register(
        self,
        scope_type: str,
        application: Application | None = None,
        *,
        replace: bool = False,
    ) -> Application | Callable[[Application], Application]:
        """
        Serve connections of a scope type with an ASGI application.

        Return the application. Without one, return a decorator for it.

        Raise ImproperlyConfigured if the type is registered already and
        replace is false, and TypeError if the type is no string or the
        application cannot be called.
        """
        if application is None:
            return lambda application: self.register(
                scope_type, application, replace=replace
            )
        if not isinstance(scope_type, str):
            raise TypeError(f"A scope type is a str, not {scope_type!r}.")
        if not callable(application):
            raise TypeError(
                f"The application for scope type '{scope_type}' is not callable: "
                f"{application!r}."
            )
        if scope_type in self and not replace:
            raise ImproperlyConfigured(
                f"Scope type '{scope_type}' is registered already, with "
                f"{self[scope_type]!r}. Pass replace=True to replace it."
            )
        self._applications[scope_type] = application
        return application

    def unregister(self, scope_type: str) -> None:
        """
        Take a protocol out, here and not in the base.

        Raise UnsupportedProtocol if it is not registered.
        """
        self[scope_type]
        if scope_type in self._base:
            self._applications[scope_type] = None
        else:
            del self._applications[scope_type]

    def overlay(
        self, applications: Mapping[str, ASGIApplication | None]
    ) -> ProtocolRegistry:
        """
        Return a new registry that lies over this one.

        An application in it is used instead of the one of the same type here,
        None takes that one out. Later changes here are seen there.

        Raise TypeError if this is no mapping, and as register() does.
        """
        if not isinstance(applications, Mapping):
            raise TypeError(
                "protocols must be a mapping of scope types to ASGI applications, "
                f"not {applications!r}."
            )
        registry = ProtocolRegistry(self)
        for scope_type, application in applications.items():
            if application is not None:
                registry.register(scope_type, application, replace=True)
            else:
                # Also for what the base does not hold yet.
                registry._applications[scope_type] = None
        return registry

    def __getitem__(self, scope_type: str) -> ASGIApplication:
        """
        Return the application for a scope type.

        Raise UnsupportedProtocol if there is none.
        """
        application = self._find(scope_type)
        if application is None:
            registered = ", ".join(sorted(self)) or "none"
            raise UnsupportedProtocol(
                f"No protocol for scope type {scope_type!r} (registered: {registered})."
            )
        return application

    def __contains__(self, scope_type: object) -> bool:
        return self._find(scope_type) is not None

    def __iter__(self) -> Iterator[str]:
        for scope_type in {**dict.fromkeys(self._base), **self._applications}:
            if scope_type in self:
                yield scope_type

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(sorted(self))}>"

    def _find(self, scope_type: Any) -> ASGIApplication | None:
        if scope_type in self._applications:
            return self._applications[scope_type]
        if scope_type in self._base:
            return self._base[scope_type]
        return None


# The protocols of every application in the process.
protocols = ProtocolRegistry()
