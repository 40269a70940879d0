"""The console: how messages are shown and kept."""

import json

import pytest
from browser import ENTER

# A message that would do something if it were anything but text.
HOSTILE = "<img src=x onerror=\"document.title='alert'\"></pre></script>"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"a":[1,2],"b":{}}', '{"a": [1, 2], "b": {}}'),
        ('["\\"}",[],true , null]', '["\\"}", [], true, null]'),
        # Parsed, these would be other numbers, and one member fewer.
        ('{"n":12345678901234567890,"n":1.0}', '{"n": 12345678901234567890, "n": 1.0}'),
        (
            '{"first":{"name":"x","list":[]},"other":"%s"}' % ("y" * 40),
            '{\n  "first": {"name": "x", "list": []},\n  "other": "%s"\n}' % ("y" * 40),
        ),
        ('{"a":1,}', '{"a":1,}'),
        ("[]", "[]"),
        ('"a string"', '"a string"'),
    ],
    ids=["short", "strings", "numbers", "long", "no JSON", "empty", "no structure"],
)
def test_layout(console, sent, shown):
    """JSON is laid out, and nothing of it is changed."""
    console.connect("/echo/")
    console.write(sent + ENTER)
    assert console.last("received") == shown


def test_long_text(console):
    """A long text is shown when it is asked for."""
    console.connect("/say/")
    text = json.dumps([{"number": number} for number in range(200)])
    console.write(f"1 {text}{ENTER}")
    console.wait(lambda: console.messages("received"))
    assert len(console.last("received")) < 300
    console.find(".message.received summary").click()
    console.wait(lambda: '  {"number": 199}\n]' in console.last("received"))


def test_hostile_message(console):
    """A message is text, whatever is in it, and so is JSON."""
    console.connect("/echo/")
    for text in (HOSTILE, json.dumps({HOSTILE: [HOSTILE, HOSTILE]})):
        console.write(text + ENTER)
        console.wait(lambda text=text: console.messages("sent")[-1:] != [])
    console.wait(lambda: len(console.messages("received")) == 2)
    assert console.messages("received")[0] == HOSTILE
    assert console.run("return document.querySelectorAll('#log img').length") == 0
    assert console.browser.driver.title.startswith("Open")


def test_hostile_page(console):
    """Path and query cannot do anything on the page either."""
    console.connect(
        "/echo/%3Cimg src=x%3E/?'\"><script>document.title='alert'</script>"
    )
    assert console.find("h1 bdi").text == "/echo/<img src=x>/"
    assert "<script>" in console.run(
        "return decodeURIComponent(document.querySelector('#query').value)"
    )
    assert console.browser.driver.title.startswith("Open")


def test_nothing_is_ever_html(console):
    """The page's own policy forbids what would make HTML of a text."""
    console.visit("/echo/")
    with pytest.raises(AssertionError, match="TrustedHTML"):
        console.run("document.body.innerHTML = '<b>bold</b>'")


def test_cap(console):
    """A flood leaves the last thousand messages, and says how many are gone."""
    console.connect("/say/")
    console.write(f"5000 x{ENTER}")
    console.wait(lambda: console.find("#count").text == "1,000, 4,001 older dropped")
    assert console.run("return document.querySelector('#log').children.length") == 1000


def test_cap_of_bytes(console):
    """Large messages go sooner, so that the page does not eat up the memory."""
    console.connect("/say/")
    megabyte = "document.querySelector('#text').value = `70 ${'x'.repeat(1000000)}`"
    console.run(megabyte)
    console.find("#send").click()
    # Of the one that was sent and 70 that came those that fit into 64 MiB.
    console.wait(lambda: console.find("#count").text == "67, 4 older dropped")


def test_clear(console):
    """The messages can be cleared away."""
    console.connect("/echo/")
    console.write(f"hello{ENTER}")
    console.last("received")
    console.find("#clear").click()
    assert console.messages("received") == console.messages("note") == []
    assert console.find("#count").text == "none yet"
    console.write(f"again{ENTER}")
    assert console.last("received") == "again"


def test_filter(console):
    """Messages can be filtered by text and by direction, also those to come."""
    console.connect("/echo/")
    console.write(f"Apple{ENTER}pear{ENTER}")
    console.wait(lambda: len(console.messages("received")) == 2)
    console.find("#filter").send_keys("aPP")
    assert console.messages("received") == ["Apple"]
    assert console.find("#count").text == "2 of 4"
    console.find("#kinds").send_keys("Sent")
    assert (console.messages("sent"), console.messages("received")) == (["Apple"], [])
    console.write(f"apple pie{ENTER}")
    console.wait(lambda: console.find("#count").text == "2 of 6")
    assert console.messages("sent") == ["Apple", "apple pie"]
    assert console.messages("received") == []


# How far the list is from its end.
GAP = """
const list = document.querySelector("#scroller");
return list.scrollHeight - list.scrollTop - list.clientHeight;
"""


def test_scrolling(console):
    """The list follows what comes, unless somebody has scrolled back."""
    console.connect("/say/")
    console.write(f"100 x{ENTER}")
    console.wait(lambda: console.find("#count").text == "101")
    console.wait(lambda: console.run(GAP) < 2)
    assert not console.find("#newest").is_displayed()
    console.run("document.querySelector('#scroller').scrollTop = 0")
    console.wait(lambda: console.find("#newest").is_displayed())
    console.write(f"1 y{ENTER}")
    console.wait(lambda: console.find("#count").text == "103")
    assert console.run("return document.querySelector('#scroller').scrollTop") == 0
    console.find("#newest").click()
    console.wait(lambda: console.run(GAP) < 2)


def test_less_room(console):
    """The last message stays in sight when the list gets smaller."""
    console.connect("/say/")
    console.write(f"100 x{ENTER}")
    console.wait(lambda: console.find("#count").text == "101")
    console.wait(lambda: console.run(GAP) < 2)
    console.choose("json")
    console.write("{" + ENTER)
    console.expect("#problem", "Not sent")
    console.wait(lambda: console.run(GAP) < 2)


def test_copy(console):
    """A text can be copied as it came, not as it is laid out."""
    console.browser.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    console.connect("/echo/")
    console.write(f'{{"a":1}}{ENTER}')
    console.last("received")
    console.find(".message.received button").click()
    console.expect(".message.received button", "Copied")
    assert console.run("return navigator.clipboard.readText()") == '{"a":1}'


def test_no_clipboard(console, folder):
    """Where a page may not use the clipboard, as without TLS, a text can be saved."""
    console.visit("/echo/")
    console.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    console.connect()
    console.write(f"héllo{ENTER}")
    console.last("received")
    console.find(".message.received button").click()
    saved = console.saved(folder, "message-*.txt")
    assert saved.read_text() == "héllo"


def test_keyboard_of_a_message_that_goes(console):
    """If the message that has the focus goes, the list has it."""
    console.connect("/say/")
    console.write(f"1 first{ENTER}")
    console.last("received")
    console.write("2000 more")
    # A click of the script's leaves the focus where it is.
    console.run("""
    document.querySelector(".message.received").focus();
    document.querySelector("#send").click();
    """)
    console.wait(lambda: console.find("#count").text == "1,000, 1,003 older dropped")
    assert console.focused == console.find("#scroller")
