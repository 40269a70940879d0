"""Groups with presence: who is there."""

import asyncio
import datetime
import json
import threading
import uuid

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import path
from wire import Wire

from django_asgi_ext import groups, websocket
from django_asgi_ext.groups.member import Member
from django_asgi_ext.groups.memory import MemoryBackend

POLICIES = {"chat": {"presence": True}, "log": {"presence": True, "history": 10}}


class User:
    """A user as far as presence wants to know."""

    is_authenticated = True

    def __init__(self, pk, name):
        self.pk = pk
        self._name = name

    def __str__(self):
        return self._name


ADA, GRACE = User(1, "ada"), User(2, "grace")
USERS = {"ada": ADA, "grace": GRACE, "nobody": AnonymousUser()}


class Middleware:
    """Takes the user from the URL, and a session if one is named there."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.user = USERS.get(request.path.split("/")[2], ADA)
        if "session" in request.GET:
            request.session = Session(request.GET["session"])
        return self.get_response(request)


class Session:
    def __init__(self, session_key):
        self.session_key = session_key

    def keys(self):
        return []


@websocket(group="{group}")
async def listening(socket, name, group):
    """Wait until the peer leaves."""
    await socket.recv()


@websocket
async def introduced(socket, name, group):
    """Join with the info that the peer says."""
    async for text in socket:
        await socket.join(group, info=json.loads(text))


@pytest.fixture
def member(connect, urls, settings_of_ours):
    """Connect a user to a group; return the peer and what it was told first."""
    settings_of_ours(GROUPS={"POLICIES": POLICIES})
    urls(
        path("ws/<name>/<group>/", listening),
        path("in/<name>/<group>/", introduced),
    )

    async def make(name, group="chat", query=""):
        peer = connect(f"/ws/{name}/{group}/{query}")
        await peer.accepted()
        if group == "log" and not query:
            # Where the group is.
            assert list(await hear(peer)) == ["@id"]
        return peer, await hear(peer)

    with override_settings(MIDDLEWARE=["test_groups_presence.Middleware"]):
        yield make


async def ignore(event):
    """Take what nobody wants to know."""


async def hear(peer):
    return json.loads(await peer.hear())


ADA_INFO, GRACE_INFO = {"id": 1, "name": "ada"}, {"id": 2, "name": "grace"}


async def test_members(member):
    """Who joins is told who is there; the others are told who joins and leaves."""
    ada, told = await member("ada")
    assert told == {"@presence": "members", "group": "chat", "members": [ADA_INFO]}
    grace, told = await member("grace")
    assert told["members"] == [ADA_INFO, GRACE_INFO]
    assert groups.members("chat") == [ADA_INFO, GRACE_INFO]
    assert await groups.amembers("chat") == [ADA_INFO, GRACE_INFO]
    assert await hear(ada) == {
        "@presence": "join",
        "group": "chat",
        "member": GRACE_INFO,
    }
    await grace.leave()
    assert await hear(ada) == {
        "@presence": "leave",
        "group": "chat",
        "member": GRACE_INFO,
    }
    assert groups.members("chat") == [ADA_INFO]
    await ada.leave()
    assert groups.members("chat") == []


async def test_two_tabs(member):
    """A user with two sockets joins with the first and leaves with the last."""
    grace, _ = await member("grace")
    one, _ = await member("ada")
    assert (await hear(grace))["@presence"] == "join"
    two, told = await member("ada")
    assert told["members"] == [GRACE_INFO, ADA_INFO]
    await one.leave()
    assert groups.members("chat") == [GRACE_INFO, ADA_INFO]
    groups.publish("chat", "nothing was said before")
    assert await grace.hear() == "nothing was said before"
    await two.leave()
    assert await hear(grace) == {
        "@presence": "leave",
        "group": "chat",
        "member": ADA_INFO,
    }
    await grace.leave()


async def test_anonymous(member):
    """Anonymous users are there too, each socket for itself."""
    one, told = await member("nobody")
    (first,) = told["members"]
    assert first["id"].startswith("anonymous-")
    two, told = await member("nobody")
    assert len(told["members"]) == 2
    await one.leave()
    await two.leave()


async def test_anonymous_session(member):
    """An anonymous user with a session is there once; its key stays secret."""
    one, _ = await member("nobody", query="?session=secret")
    two, told = await member("nobody", query="?session=secret")
    (info,) = told["members"]
    assert "secret" not in str(info)
    three, told = await member("nobody", query="?session=other")
    assert len(told["members"]) == 2
    for peer in (one, two, three):
        await peer.leave()


async def test_own_info(member, connect):
    """A view may say what others see; the id in it says who is the same."""
    watching, _ = await member("grace")
    one, two = connect("/in/ada/chat/"), connect("/in/ada/chat/")
    await one.accepted()
    await two.accepted()
    await one.say(json.dumps({"id": "a", "colour": "red"}))
    assert (await hear(watching))["member"] == {"id": "a", "colour": "red"}
    await two.say(json.dumps({"colour": "blue"}))
    assert (await hear(watching))["member"] == {"id": 1, "colour": "blue"}
    # Another id is another one.
    await hear(two)
    await two.say(json.dumps({"id": "b"}))
    assert (await hear(watching)) == {
        "@presence": "join",
        "group": "chat",
        "member": {"id": "b"},
    }
    assert (await hear(watching)) == {
        "@presence": "leave",
        "group": "chat",
        "member": {"id": 1, "colour": "blue"},
    }
    for peer in (one, two, watching):
        await peer.leave()


async def test_info_that_is_none(member, connect):
    """The info of a member is a dict."""
    peer = connect("/in/ada/chat/")
    await peer.accepted()
    await peer.say("[]")
    assert await peer.closed() == (1011, "")
    assert groups.members("chat") == []


@pytest.mark.parametrize("text", ['{"id": 1, "rate": 1e999}', '{"id": [-1e999]}'])
async def test_info_that_is_no_json(member, connect, text):
    """An info that JSON cannot express fails for its member, and for no other."""
    watching, _ = await member("grace")
    peer = connect("/in/ada/chat/")
    await peer.accepted()
    await peer.say(text)
    assert await peer.closed() == (1011, "")
    ada, told = await member("ada")
    assert told["members"] == [GRACE_INFO, ADA_INFO]
    assert (await hear(watching))["member"] == ADA_INFO
    await ada.leave()
    await watching.leave()


async def test_new_info_of_unknown_type(member):
    """A new info that cannot be encoded raises TypeError; the one before stays."""
    ada = Member(Wire(), None)
    await ada.join("chat", None, ignore, {"id": 1})
    with pytest.raises(TypeError) as error:
        await ada.join("chat", None, ignore, {"id": 1, "colour": object()})
    assert str(error.value).startswith("Object of type object is not JSON serializable")
    assert groups.members("chat") == [{"id": 1}]
    ada.end()


async def test_info_that_changes_later(member):
    """What becomes of an info afterwards, or of the list of members, nobody sees."""
    info = {"id": 1, "tags": ["a"]}
    ada = Member(Wire(), None)
    await ada.join("chat", None, ignore, info)
    info["name"] = "later"
    info["tags"].append("b")
    for found in (groups.members("chat"), await groups.amembers("chat")):
        assert found == [{"id": 1, "tags": ["a"]}]
        found[0]["tags"].append("c")
    assert groups.members("chat") == [{"id": 1, "tags": ["a"]}]
    ada.end()


async def test_info_out_of_json(member):
    """An info is what JSON makes of it, and so is the id that says who is the same."""
    key = uuid.UUID(int=1)
    ada, tab = Member(Wire(), None), Member(Wire(), None)
    await ada.join("chat", None, ignore, {"id": key, "since": datetime.date.min})
    await tab.join("chat", None, ignore, {"id": str(key)})
    assert groups.members("chat") == [{"id": str(key), "since": "0001-01-01"}]
    ada.end()
    tab.end()


async def test_leave_group(member, connect):
    """leave() ends presence as well."""

    @websocket
    async def view(socket):
        await socket.join("chat", info={"id": "x"})
        await socket.recv()
        await socket.leave("chat")
        await socket.send(json.dumps(await groups.amembers("chat")))

    peer = connect(view)
    await peer.accepted()
    assert (await hear(peer))["members"] == [{"id": "x"}]
    await peer.say("leave")
    assert await peer.hear() == "[]"
    assert await peer.closed() == (1000, "")


async def test_with_history(member):
    """In a group with history, joining and leaving are no part of it."""
    ada, _ = await member("ada", "log")
    grace, _ = await member("grace", "log")
    assert (await hear(ada))["@presence"] == "join"
    groups.publish("log", "hello")
    last_id = (await hear(ada))["@id"]
    await grace.leave()
    assert (await hear(ada))["@presence"] == "leave"
    await ada.leave()
    groups.publish("log", "missed")
    ada, first = await member("ada", "log", f"?last_id={last_id}")
    assert first["data"] == "missed"
    assert (await hear(ada))["members"] == [ADA_INFO]
    await ada.leave()


async def test_subscription(member, connect):
    """A view that subscribes is not there, and is told nothing of who is."""

    @websocket
    async def view(socket):
        async with socket.subscribe("chat") as messages:
            await socket.send("there")
            async for message in messages:
                await socket.send(message)

    ada, _ = await member("ada")
    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "there"
    assert await ada.receive_nothing()
    assert groups.members("chat") == [ADA_INFO]
    await ada.leave()
    groups.publish("chat", "for all")
    assert await peer.hear() == "for all"
    await peer.leave()


@pytest.mark.parametrize("options", [{"info": {"id": "x"}}, {"presence": True}])
async def test_subscription_with_presence(member, connect, options):
    """With presence or an info it is there, and takes what is told of others."""

    @websocket
    async def view(socket):
        await socket.accept()
        async for message in socket.subscribe("chat", **options):
            await socket.send_json([message])

    grace, _ = await member("grace")
    peer = connect(view)
    await peer.accepted()
    (told,) = await hear(peer)
    assert told["@presence"] == "members"
    [_, info] = told["members"]
    assert (await hear(grace))["member"] == info
    await grace.leave()
    (told,) = await hear(peer)
    assert told == {"@presence": "leave", "group": "chat", "member": GRACE_INFO}
    assert groups.members("chat") == [info]
    await peer.leave()
    assert groups.members("chat") == []


async def test_subscription_that_appears(member, connect):
    """Who subscribes without presence and then joins with an info is there."""

    @websocket
    async def view(socket):
        async with socket.subscribe("chat") as messages:
            await socket.join("chat", info={"id": "x"})
            await socket.send("there")
            async for message in messages:
                await socket.send_json(message)

    grace, _ = await member("grace")
    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "there"
    assert (await hear(grace))["member"] == {"id": "x"}
    await grace.leave()
    assert (await hear(peer))["member"] == GRACE_INFO
    await peer.leave()


async def test_no_presence(settings_of_ours):
    """Who is in a group without presence nobody knows, and that is an error."""
    settings_of_ours()
    message = (
        "The group 'chat' has no presence. Set it in ASGI_EXT['GROUPS']['POLICIES'], "
        "as {'chat.*': {'presence': True}}."
    )
    with pytest.raises(ImproperlyConfigured) as error:
        groups.members("chat")
    assert str(error.value) == message
    with pytest.raises(ImproperlyConfigured) as error:
        await groups.amembers("chat")
    assert str(error.value) == message


class DistantBackend(MemoryBackend):
    """A backend that lets others run when a member enters, as one far away does."""

    async def enter(self, group, key, token, info):
        """Enter after a while, and tell after another one, later if it is late."""
        await asyncio.sleep(0)
        await super().enter(group, key, token, info)
        for _ in range(9 if "late" in info else 1):
            await asyncio.sleep(0)


@pytest.fixture
async def distant_member(settings_of_ours):
    """Return a member, of a group in a backend that is far away."""
    backend = "test_groups_presence.DistantBackend"
    settings_of_ours(GROUPS={"BACKEND": backend, "POLICIES": POLICIES})
    member = Member(Wire(), None)
    await member.join("chat", None, ignore, {"id": 0})
    yield member
    member.end()


async def test_two_joins_at_once(distant_member):
    """A socket that joins with two ids at once is there with one of them."""
    joins = [distant_member.join("chat", None, ignore, {"id": id}) for id in (1, 2)]
    await asyncio.gather(*joins)
    assert groups.members("chat") == [{"id": 2}]
    distant_member.leave("chat")
    assert groups.members("chat") == []


@pytest.mark.parametrize("ids", [(1, 0), (0, 1), (1, 2, 0), (1, 0, 1)])
async def test_several_joins_at_once(distant_member, ids):
    """A socket that joins with several ids at once is there with the last of them."""
    await asyncio.gather(
        *(distant_member.join("chat", None, ignore, {"id": id}) for id in ids)
    )
    assert groups.members("chat") == [{"id": ids[-1]}]


async def test_leaving_while_info_changes(distant_member):
    """A socket that leaves while its new info is on its way is not there any more."""
    join = distant_member.join("chat", None, ignore, {"id": 0, "colour": "red"})
    joining = asyncio.create_task(join)
    await asyncio.sleep(0)
    distant_member.leave("chat")
    await joining
    assert groups.members("chat") == []


async def test_joining_anew_while_info_changes(distant_member):
    """A new info that comes late does not take out who has left and joined anew."""
    info = {"id": 0, "late": True}
    joining = asyncio.create_task(distant_member.join("chat", None, ignore, info))
    while groups.members("chat") != [info]:
        await asyncio.sleep(0)
    distant_member.leave("chat")
    assert not joining.done()
    await distant_member.join("chat", None, ignore, {"id": 0})
    await joining
    assert groups.members("chat") == [{"id": 0}]


async def test_back_while_leaving(member, monkeypatch):
    """Who comes back while the socket before leaves is not told to have left."""
    ada, _ = await member("ada")
    is_asked, goes_on = threading.Event(), threading.Event()

    class SlowUser(User):
        """A user whose name takes a while, as one of the database may."""

        def __str__(self):
            is_asked.set()
            assert goes_on.wait(10)
            return super().__str__()

    monkeypatch.setitem(USERS, "ada", SlowUser(1, "ada"))
    back = asyncio.create_task(member("ada"))
    await asyncio.to_thread(is_asked.wait, 10)
    await ada.leave()
    goes_on.set()
    peer, told = await back
    assert told["members"] == [ADA_INFO]
    await groups.apublish("chat", "hello")
    assert await peer.hear() == "hello"
