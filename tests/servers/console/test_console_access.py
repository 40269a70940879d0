"""The console: for everybody, on every screen."""

import pytest
from browser import ENTER, TAB
from console_page import ARROW_UP, RELEASE, SHIFT


def test_keyboard(console):
    """All is done by keyboard: connect, send, read, reach a message's button, close."""
    console.visit("/echo/")
    assert console.focused == console.find("#connect")
    console.focused.send_keys(ENTER)
    console.wait(lambda: console.focused == console.find("#text"))
    console.focused.send_keys(f"hello{ENTER}")
    console.last("received")
    back = f"{SHIFT}{TAB}{RELEASE}"
    # Over the switch to the list, which is one stop.
    console.focused.send_keys(back)
    console.focused.send_keys(back)
    assert console.focused == console.find("#scroller")
    console.focused.send_keys(ARROW_UP)
    assert console.focused == console.find(".message.received")
    console.focused.send_keys(ARROW_UP)
    assert console.focused == console.find(".message.sent")
    console.focused.send_keys(TAB)
    assert console.focused == console.find(".message.sent button")


def test_focus_is_visible(console):
    """What has the focus has an outline, in the light and in the dark."""
    console.visit("/echo/")
    stops = "input:not([type=file]), button:not([hidden]), textarea, summary, select"
    script = f"""
    const without = [];
    for (const node of [...document.querySelectorAll("{stops}, #scroller")]) {{
      node.focus({{ focusVisible: true }});
      if (document.activeElement !== node) continue;
      const seen = node.type === "radio" ? node.nextElementSibling : node;
      const {{ outlineStyle, outlineWidth }} = getComputedStyle(seen);
      if (outlineStyle === "none" || outlineWidth === "0px") without.push(node.id);
    }}
    return without;
    """
    assert console.run(script) == []


def test_names(console):
    """Every field and button has a name for a screen reader, and landmarks theirs."""
    console.connect("/echo/")
    console.write(f"hello{ENTER}")
    console.last("received")
    tree = console.browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
    names = {}
    for node in tree["nodes"]:
        if not node["ignored"]:
            role, name = node["role"]["value"], node.get("name", {}).get("value", "")
            names.setdefault(role, []).append(name)
    for role in ("button", "textbox", "checkbox", "radio", "combobox", "searchbox"):
        assert names[role] and all(names[role]), role
    assert "main" in names and "banner" in names
    assert names["complementary"] == ["View"]
    assert set(names["form"]) == {"Connection", "Message to send"}
    assert names["log"] == names["region"] == ["Messages"]
    assert {"Sent", "Received"} <= set(names["image"])


def test_announcements(console):
    """A screen reader hears of the first of several messages, and how many followed."""
    console.visit("/say/")
    console.run("""
    window.heard = [];
    const node = document.querySelector("#announcer");
    const hear = () => heard.push(node.textContent);
    new MutationObserver(hear).observe(node, { childList: true });
    """)
    console.connect()
    console.write(f"50 hello{ENTER}")
    console.wait(lambda: len(console.run("return heard")) == 4)
    first = ["Connecting…", "Open", "Received: hello", "49 more received."]
    assert console.run("return heard") == first
    assert console.find("#announcer").get_attribute("role") == "status"
    assert console.find("#scroller").get_attribute("aria-live") == "off"


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_narrow(console, width):
    """No screen is too narrow: nothing has to be scrolled sideways."""
    console.browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": False},
    )
    console.connect(f"/echo/{'room' * 30}/?{'x' * 300}")
    console.write("w" * 900 + ENTER)
    console.last("received")
    console.choose("json")
    console.write("{" * 100 + ENTER)
    console.expect("#problem", "Not sent")
    root = "document.documentElement"
    assert console.run(f"return {root}.scrollWidth - {root}.clientWidth") == 0
    outside = """
    return [...document.querySelectorAll("button, input, textarea, select")]
      .filter((node) => node.getBoundingClientRect().right > innerWidth)
      .map((node) => node.id);
    """
    assert console.run(outside) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(console, scheme):
    """Texts stand out from what is behind them, by 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    console.browser.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    console.connect("/close/")
    console.write('[1011, "x"]' + ENTER)
    console.wait(lambda: console.state == "Closed with 1011")
    console.write(f"x{ENTER}")
    console.expect("#problem", "Not sent")
    assert console.run(CONTRAST) == []


CONTRAST = """
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const [red, green, blue] = parse(color).slice(0, 3).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (parse(color)[3] !== 0) return color;
  }
  throw Error("nothing behind");
};
const weak = [];
for (const node of document.querySelectorAll("body *")) {
  const isText = ({ nodeType, data }) => nodeType === Node.TEXT_NODE && data.trim();
  if (![...node.childNodes].some(isText) || !node.checkVisibility()) continue;
  const [one, other] = [light(getComputedStyle(node).color), light(behind(node))];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (contrast < 4.5) weak.push([node.textContent, contrast]);
}
return weak;
"""
