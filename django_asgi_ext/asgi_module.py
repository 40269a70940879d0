"""What a project's asgi.py does, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.abc import InspectLoader
from importlib.util import find_spec

_MODULE = "django.core.asgi"
_FUNCTION = "get_asgi_application"


def is_made_by_django(module: str, name: str) -> bool:
    """
    Return whether a module names what Django's get_asgi_application() returns so.

    Only what is sure counts: a call of it that is the one thing that the name ever
    stands for. An application around it may know what to do with a WebSocket.
    """
    source = _source(module)
    if source is None:
        return False
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        # Who imports it is told.
        return False
    makers = set(_makers(tree))
    nodes = list(ast.walk(tree))
    made = sum(_is_call_for(node, name, makers) for node in nodes)
    return made > 0 and made == sum(_binds(node, name) for node in nodes)


def _source(module: str) -> str | None:
    try:
        # It imports the package that the module is in, no more.
        spec = find_spec(module)
        loader = spec.loader if spec is not None else None
        return loader.get_source(module) if isinstance(loader, InspectLoader) else None
    except (ImportError, SyntaxError, ValueError, AttributeError):
        return None


def _makers(tree: ast.Module) -> Iterator[str]:
    """Yield the expressions that are Django's function, as they stand in a source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == _MODULE:
            for alias in node.names:
                if alias.name == _FUNCTION:
                    yield alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom) and node.module == "django.core":
            for alias in node.names:
                if alias.name == "asgi":
                    yield f"{alias.asname or alias.name}.{_FUNCTION}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == _MODULE:
                    yield f"{alias.asname or alias.name}.{_FUNCTION}"


def _is_call_for(node: ast.AST, name: str, functions: set[str]) -> bool:
    """Return whether a statement lets a name stand for what a function returns."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == name
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) in functions
    )


def _binds(node: ast.AST, name: str) -> bool:
    """Return whether a name begins to stand for something here."""
    if isinstance(node, ast.Name):
        return node.id == name and isinstance(node.ctx, ast.Store)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == name
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in (name, "*")
    return False
