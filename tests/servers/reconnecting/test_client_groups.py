"""What the browser client makes of messages of resumable groups."""

import json

import pytest


def history(page, *texts, then="return messages(socket).slice(1)", options="{}"):
    """Let the server send texts, and return what the page makes of them."""
    script = f"""
    const socket = await opened("/ws/history/?q=1", {options});
    await nth(socket, "message");
    socket.send(JSON.stringify([...arguments[0], "end"]));
    await until(() => messages(socket).includes("end"));
    socket.events = socket.events.filter(({{ data }}) => data !== "end");
    {then}
    """
    return page.run(script, [t if isinstance(t, str) else json.dumps(t) for t in texts])


def message(id, data):
    return {"@id": id, "data": data}


def test_message_of_a_group(page):
    """A message of a group is what its data says; its id is the event's lastEventId."""
    assert history(
        page,
        message("lobby@1-0", {"a": 1}),
        message("lobby@1-1", "text"),
        message("lobby@2-0", None),
        then="""
        const host = "ws://" + location.host;
        return socket.events
          .slice(2)
          .map(({ type, data, lastEventId, origin }) => [
            type, data, lastEventId, origin === host
          ]);
        """,
    ) == [
        ["message", {"a": 1}, "lobby@1-0", True],
        ["message", "text", "lobby@1-1", True],
        ["message", None, "lobby@2-0", True],
    ]


def test_bytes_of_a_group(page):
    """Bytes that come as base64 are an ArrayBuffer."""
    then = """
    const data = messages(socket)[1];
    return [data instanceof ArrayBuffer, ...new Uint8Array(data)];
    """
    text = {"@id": "lobby@1-0", "base64": "AID/"}
    assert history(page, text, then=then) == [True, 0, 128, 255]


def test_resuming(page):
    """A new connection asks for what comes after the last message of each group."""
    texts = [
        message("lobby@1-0", "a"),
        message("Ada & Grace@home@3-0", "b"),
        message("lobby@1-12", "c"),
    ]
    then = """
    socket.events = [];
    socket.reconnect();
    const { data } = await nth(socket, "message");
    return [JSON.parse(data), socket.lastIds, socket.url.endsWith("/ws/history/?q=1")];
    """
    ids = ["Ada & Grace@home@3-0", "lobby@1-12"]
    assert history(page, *texts, then=then) == [
        {"last_id": ids, "query": "1"},
        ids,
        True,
    ]


def test_resuming_without_a_message(page):
    """A page that has heard nothing of a group yet comes back to what it missed."""
    script = """
    const socket = await opened(`/ws/kept/${crypto.randomUUID()}/`);
    await until(() => socket.lastIds.length);
    socket.send("cut me off");
    await nth(socket, "message");
    return [types(socket), messages(socket)];
    """
    assert page.run(script) == [
        ["open", "close", "open", "message"],
        ["missed"],
    ]


def test_resuming_without_query(page):
    """Ids become the query of a URL that has none."""
    script = """
    const socket = await connect("/ws/echo/", { lastIds: ["lobby@1-2"] });
    return handshakes[0].url.search;
    """
    assert page.run(script) == "?last_id=lobby%401-2"


def test_first_connection(page):
    """A page that was never there asks for nothing, unless it knows ids from before."""
    script = """
    const seen = [];
    for (const lastIds of [[], ["lobby@1-2", "garden@3-4"]]) {
      const socket = await connect("/ws/history/?q=", { lastIds, json: true });
      seen.push((await nth(socket, "message")).data.last_id);
    }
    return seen;
    """
    assert page.run(script) == [[], ["lobby@1-2", "garden@3-4"]]


@pytest.mark.parametrize(
    ("id", "again"),
    [
        ("lobby@5-5", []),
        ("lobby@5-4", []),
        ("lobby@4-6", []),
        ("lobby@5-6", ["again"]),
        ("lobby@6-0", ["again"]),
        ("lobby@10-0", ["again"]),
        ("garden@1-0", ["again"]),
        ("@1-0", ["again"]),
    ],
)
def test_duplicates(page, id, again):
    """A message that was there before, or an older one, does not come again."""
    texts = [message("lobby@5-5", "first"), message(id, "again")]
    assert history(page, *texts) == ["first", *again]


def test_large_positions(page):
    """Positions have 64 bits, which are more than a number of JavaScript's has."""
    texts = [
        message(f"lobby@{2**63 - 1}-{2**63 - 2}", "first"),
        message(f"lobby@{2**63 - 1}-{2**63 - 1}", "second"),
        message(f"lobby@{2**63 - 1}-{2**63 - 1}", "again"),
    ]
    assert history(page, *texts) == ["first", "second"]


def test_duplicates_after_coming_back(page):
    """What was heard by the last connection is not heard again by the next one."""
    then = """
    socket.reconnect();
    await nth(socket, "message", 3);
    const again = arguments[0].concat('{"@id": "lobby@1-2", "data": "new"}');
    socket.send(JSON.stringify(again));
    await until(() => messages(socket).includes("new"));
    return messages(socket).filter((data) => !data.includes("last_id"));
    """
    texts = [message("lobby@1-0", "a"), message("lobby@1-1", "b")]
    assert history(page, *texts, then=then) == ["a", "b", "new"]


def test_position(page):
    """An id alone says where a group is: the page goes on from there."""
    texts = [{"@id": "lobby@5-0"}, {"@id": "lobby@4-0"}, message("lobby@5-0", "again")]
    then = "return [messages(socket).slice(1), socket.lastIds]"
    assert history(page, *texts, then=then) == [[], ["lobby@5-0"]]


def test_missed(page):
    """If the server has forgotten too much the page is told, and goes on from there."""
    texts = [
        message("lobby@5-0", "old"),
        {"@id": "lobby@2-0", "@missed": True},
        message("lobby@2-0", "again"),
        message("lobby@2-1", "new"),
    ]
    then = """
    const { data, lastEventId } = await nth(socket, "missed");
    const heard = [types(socket).slice(2), messages(socket).slice(1)];
    return [data, lastEventId, ...heard, socket.lastIds];
    """
    assert history(page, *texts, then=then) == [
        {"group": "lobby"},
        "lobby@2-0",
        ["message", "missed", "message"],
        ["old", "new"],
        ["lobby@2-1"],
    ]


def test_presence(page):
    """Who is in a group, and who joins and leaves, comes as events of their own."""
    texts = [
        {"@presence": "members", "group": "lobby", "members": ["ada", {"id": 2}]},
        {"@presence": "join", "group": "lobby", "member": "grace"},
        {"@presence": "leave", "group": "lobby", "member": "ada"},
    ]
    then = "return socket.events.slice(2).map(({ type, data }) => [type, data])"
    assert history(page, *texts, then=then) == [
        [
            "presence",
            {"presence": "members", "group": "lobby", "members": ["ada", {"id": 2}]},
        ],
        ["presence", {"presence": "join", "group": "lobby", "member": "grace"}],
        ["presence", {"presence": "leave", "group": "lobby", "member": "ada"}],
    ]


ALMOST = [
    {"@id": "lobby", "data": 1},
    {"@id": "lobby@1", "data": 1},
    {"@id": "lobby@1-x", "data": 1},
    {"@id": ["lobby@1-1"], "data": 1},
    {"@id": "lobby@1-1", "other": 1},
    {"@id": "lobby@1-1", "@missed": "yes"},
    {"@id": "lobby@1-1", "base64": "?"},
    {"@id": "lobby@1-1", "base64": None},
    {"@presence": "gone"},
    {"@presence": ["join"]},
    ["@id", "@presence"],
    "@id",
]


def test_what_groups_do_not_say(page):
    """What is no message of a group comes as the application's own."""
    texts = [json.dumps(value) for value in ALMOST]
    assert history(page, *texts) == texts


def test_json_that_groups_do_not_say(page):
    """That is so with the option json too."""
    script = """
    const socket = await opened("/ws/echo/", { json: true });
    for (const value of arguments[0]) socket.send(value);
    await nth(socket, "message", arguments[0].length);
    return messages(socket);
    """
    assert page.run(script, ALMOST) == ALMOST


def test_without_groups(page):
    """With the option groups off all messages are the application's own."""
    texts = [
        message("lobby@1-0", "a"),
        message("lobby@1-0", "a"),
        {"@presence": "join", "group": "lobby", "member": "grace"},
    ]
    found = history(page, *texts, options="{ groups: false }")
    assert found == [json.dumps(text) for text in texts]


def test_json_without_groups(page):
    """That is so with the option json too."""
    script = """
    const socket = await opened("/ws/echo/", { json: true, groups: false });
    socket.send(arguments[0]);
    return (await nth(socket, "message")).data;
    """
    assert page.run(script, message("lobby@1-0", "a")) == message("lobby@1-0", "a")


def test_many_groups(page):
    """It goes on from the 64 groups that were heard last: the URL stays short."""
    texts = [message(f"room{number}@1-0", number) for number in range(70)]
    texts.append(message("room10@2-0", "again"))
    expected = [f"room{number}@1-0" for number in range(6, 70) if number != 10]
    found = history(page, *texts, then="return socket.lastIds")
    assert found == [*expected, "room10@2-0"]
