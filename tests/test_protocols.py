"""The registry of protocols."""

import pytest
from django.core.exceptions import ImproperlyConfigured

import django_asgi_ext
from django_asgi_ext import ProtocolRegistry, UnsupportedProtocol


async def mqtt(scope, receive, send):
    """Serve nothing."""


async def other(scope, receive, send):
    """Serve nothing either."""


@pytest.fixture
def registry():
    registry = ProtocolRegistry()
    registry.register("mqtt", mqtt)
    return registry


def test_register_as_call():
    """register() takes an application, finds it by its type and returns it."""
    registry = ProtocolRegistry()
    assert registry.register("mqtt", mqtt) is mqtt
    assert registry["mqtt"] is mqtt


def test_register_as_decorator():
    """register() without an application is a decorator that changes nothing."""
    registry = ProtocolRegistry()

    @registry.register("mqtt")
    async def application(scope, receive, send): ...

    assert registry["mqtt"] is application


def test_register_twice(registry):
    """A type that is registered cannot be registered again by accident."""
    with pytest.raises(ImproperlyConfigured) as error:
        registry.register("mqtt", other)
    assert str(error.value) == (
        f"Scope type 'mqtt' is registered already, with {mqtt!r}. "
        "Pass replace=True to replace it."
    )
    assert registry["mqtt"] is mqtt


def test_decorate_twice(registry):
    """The decorator does not register a type again either."""
    with pytest.raises(ImproperlyConfigured):
        registry.register("mqtt")(other)
    assert registry["mqtt"] is mqtt


@pytest.mark.parametrize("decorate", [False, True])
def test_replace(registry, decorate):
    """replace=True registers a type again, as call and as decorator."""
    if decorate:
        registry.register("mqtt", replace=True)(other)
    else:
        registry.register("mqtt", other, replace=True)
    assert registry["mqtt"] is other


def test_replace_nothing():
    """replace=True registers a type that was not registered."""
    registry = ProtocolRegistry()
    registry.register("mqtt", mqtt, replace=True)
    assert registry["mqtt"] is mqtt


def test_register_other_type():
    """A scope type that is no str is refused."""
    with pytest.raises(TypeError) as error:
        ProtocolRegistry().register(5, mqtt)
    assert str(error.value) == "A scope type is a str, not 5."


def test_register_what_is_not_callable():
    """An application that cannot be called is refused."""
    with pytest.raises(TypeError) as error:
        ProtocolRegistry().register("mqtt", "chat.mqtt")
    assert str(error.value) == (
        "The application for scope type 'mqtt' is not callable: 'chat.mqtt'."
    )


def test_unregister(registry):
    """A type that was unregistered is unknown, and may be registered again."""
    registry.unregister("mqtt")
    assert "mqtt" not in registry
    registry.register("mqtt", other)
    assert registry["mqtt"] is other


def test_unregister_unknown(registry):
    """A type that is not registered cannot be unregistered."""
    with pytest.raises(UnsupportedProtocol) as error:
        registry.unregister("coap")
    assert str(error.value) == ("No protocol for scope type 'coap' (registered: mqtt).")


def test_unknown(registry):
    """An unknown type is a ValueError that names the registered types in order."""
    registry.register("coap", other)
    with pytest.raises(ValueError) as error:
        registry["webtransport"]
    assert type(error.value) is UnsupportedProtocol
    assert str(error.value) == (
        "No protocol for scope type 'webtransport' (registered: coap, mqtt)."
    )


def test_unknown_in_an_empty_registry():
    """The error of an empty registry says that nothing is registered."""
    with pytest.raises(UnsupportedProtocol) as error:
        ProtocolRegistry()["mqtt"]
    assert str(error.value) == ("No protocol for scope type 'mqtt' (registered: none).")


def test_get(registry):
    """get() returns the default for an unknown type, as that of any mapping."""
    assert registry.get("mqtt") is mqtt
    assert registry.get("coap") is None
    assert registry.get("coap", other) is other


def test_items(registry):
    """A pair that is not registered is not in items()."""
    assert ("mqtt", mqtt) in registry.items()
    assert ("coap", mqtt) not in registry.items()


def test_iterate(registry):
    """Iteration, len() and repr() know what is registered and not what was."""
    registry.register("coap", other)
    registry.register("amqp", other)
    registry.unregister("amqp")
    assert list(registry) == ["mqtt", "coap"]
    assert len(registry) == 2
    assert repr(registry) == "<ProtocolRegistry: coap, mqtt>"
    assert "coap" in registry
    assert "amqp" not in registry


def test_overlay_adds(registry):
    """What an overlay adds is found in it and not below."""
    overlay = registry.overlay({"coap": other})
    assert overlay["coap"] is other
    assert overlay["mqtt"] is mqtt
    assert sorted(overlay) == ["coap", "mqtt"]
    assert list(registry) == ["mqtt"]


def test_overlay_replaces(registry):
    """An overlay replaces without being asked twice, and only in itself."""
    overlay = registry.overlay({"mqtt": other})
    assert overlay["mqtt"] is other
    assert list(overlay) == ["mqtt"]
    assert registry["mqtt"] is mqtt


def test_overlay_takes_out(registry):
    """None takes a type out of the overlay and not out of what lies below."""
    overlay = registry.overlay({"mqtt": None})
    assert "mqtt" not in overlay
    assert list(overlay) == []
    assert len(overlay) == 0
    assert registry["mqtt"] is mqtt


def test_overlay_takes_out_what_comes_later(registry):
    """A type that was taken out stays out if it is registered below later."""
    overlay = registry.overlay({"coap": None})
    registry.register("coap", other)
    assert "coap" not in overlay


def test_overlay_sees_later_changes(registry):
    """What is registered, replaced or unregistered below is so in the overlay."""
    overlay = registry.overlay({})
    registry.register("coap", other)
    assert overlay["coap"] is other
    registry.register("coap", mqtt, replace=True)
    assert overlay["coap"] is mqtt
    registry.unregister("coap")
    assert "coap" not in overlay


def test_overlay_keeps_its_own(registry):
    """What an overlay has of its own stays when the one below changes."""
    overlay = registry.overlay({"mqtt": other})
    registry.unregister("mqtt")
    assert overlay["mqtt"] is other
    registry.register("mqtt", mqtt)
    assert overlay["mqtt"] is other


def test_overlay_twice_over(registry):
    """A type that one overlay took out is put in again by the next."""
    overlay = registry.overlay({"mqtt": None}).overlay({"mqtt": other})
    assert overlay["mqtt"] is other


def test_overlay_checks(registry):
    """An overlay refuses what register() refuses."""
    with pytest.raises(TypeError) as error:
        registry.overlay({"coap": 5})
    assert str(error.value) == (
        "The application for scope type 'coap' is not callable: 5."
    )


def test_register_in_an_overlay(registry):
    """A type that lies below counts as registered in the overlay."""
    overlay = registry.overlay({})
    with pytest.raises(ImproperlyConfigured):
        overlay.register("mqtt", other)
    overlay.register("mqtt", other, replace=True)
    assert registry["mqtt"] is mqtt


def test_unregister_in_an_overlay(registry):
    """What is unregistered in an overlay is still there below."""
    overlay = registry.overlay({"coap": other})
    overlay.unregister("coap")
    overlay.unregister("mqtt")
    assert list(overlay) == []
    assert registry["mqtt"] is mqtt
    with pytest.raises(UnsupportedProtocol):
        overlay.unregister("mqtt")


def test_protocols_of_the_process():
    """The registry of the process comes with three protocols."""
    assert sorted(django_asgi_ext.protocols) == ["http", "lifespan", "websocket"]
