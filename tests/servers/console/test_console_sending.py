"""The console: what is sent."""

from browser import ENTER
from console_page import ARROW_DOWN, ARROW_UP, BACKSPACE, CONTROL, RELEASE, SHIFT


def test_json(console):
    """JSON is checked before it is sent, and then sent as it was typed."""
    console.connect("/echo/")
    console.choose("json")
    console.write('{"a": 1,}' + ENTER)
    console.expect("#problem", "Not sent: this is no JSON.")
    assert console.find("#text").get_attribute("aria-invalid") == "true"
    assert console.messages("sent") == []
    console.write(BACKSPACE + BACKSPACE)
    assert console.find("#problem").text == ""
    console.write("}" + ENTER)
    assert console.last("received") == '{"a": 1}'
    assert console.messages("sent") == ['{"a": 1}']


def test_file(console, folder):
    """A file is sent as one binary message, shown in hex, and can be saved again."""
    content = bytes(range(256)) * 2
    (folder / "sent.bin").write_bytes(content)
    console.connect("/echo/")
    console.choose("file")
    console.find("#file").send_keys(str(folder / "sent.bin"))
    console.find("#send").click()
    received = console.last("received")
    assert received.startswith("0000  00 01 02 03")
    assert "0040  40 41 42" in received and "@ABC" in received
    assert received.endswith("the first 256 bytes")
    assert console.last("sent").startswith("sent.bin\n")
    assert "512 B" in console.find(".message.received").text
    console.find(".message.received button").click()
    assert console.saved(folder, "message-*.bin").read_bytes() == content


def test_no_file(console):
    """Without a file there is nothing to send."""
    console.connect("/echo/")
    console.choose("file")
    console.find("#send").click()
    console.expect("#problem", "Choose a file first.")


def test_several_lines(console):
    """Shift+Enter begins a line, Enter another, and Ctrl+Enter sends them."""
    console.connect("/echo/")
    console.write(f"one{SHIFT}{ENTER}{RELEASE}two{ENTER}three")
    assert console.messages("sent") == []
    console.write(f"{CONTROL}{ENTER}{RELEASE}")
    assert console.last("received") == "one\ntwo\nthree"


def test_nothing(console):
    """An empty text is a message too."""
    console.connect("/echo/")
    console.find("#send").click()
    assert console.last("received") == "empty text"


def test_not_connected(console):
    """Without a connection nothing is sent, and the text is not lost."""
    console.visit("/echo/")
    console.write(f"hello{ENTER}")
    console.expect("#problem", "Not sent: there is no open connection.")
    assert console.find("#text").get_property("value") == "hello"


def test_history(console):
    """Arrows bring back what was sent before, and in the end what was begun."""
    console.connect("/echo/")
    console.write(f"one{ENTER}two{ENTER}begun")
    text = console.find("#text")
    seen = []
    for key in (ARROW_UP, ARROW_UP, ARROW_UP, ARROW_DOWN, ARROW_DOWN, ARROW_DOWN):
        console.write(key)
        seen.append(text.get_property("value"))
    assert seen == ["two", "one", "one", "two", "begun", "begun"]


def test_arrows_within_lines(console):
    """In a text of several lines arrows go from line to line first."""
    console.connect("/echo/")
    console.write(f"before{ENTER}")
    console.write(f"one{SHIFT}{ENTER}{RELEASE}two{ARROW_UP}")
    assert console.find("#text").get_property("value") == "one\ntwo"
    console.write(ARROW_UP)
    assert console.find("#text").get_property("value") == "before"
