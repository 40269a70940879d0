// The messages of a connection, newest last, as far as they are kept.

const MAX_ENTRIES = 1000;
const MAX_BYTES = 64 * 1024 * 1024;
// Longer texts, in characters, are shown when they are asked for, and not whole.
const MAX_INLINE = 1200;
const MAX_SHOWN = 100_000;
const MAX_HEX = 256;

const WAYS = { sent: ["↑", "Sent"], received: ["↓", "Received"], note: ["", "Note"] };

class Log {
  constructor(list) {
    this.list = list;
    this.scroller = list.parentElement;
    this.entries = [];
    this.bytes = 0;
    this.dropped = 0;
    this.isDrawing = false;
    // Whether it follows what comes, until somebody scrolls back.
    this.follows = true;
    new ResizeObserver(() => this.follow()).observe(this.scroller);
    this.scroller.addEventListener("scroll", () => this.lookWhere(), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.move(event));
    list.addEventListener("focusin", ({ target }) => this.choose(target.closest(".message")));
    byId("newest").onclick = () => this.toEnd();
    byId("filter").oninput = byId("kinds").onchange = () => this.filter();
    byId("clear").onclick = () => this.clear();
  }

  // Add a message; what has no room any more goes.
  add(kind, data, name = "") {
    const size = sizeOf(data);
    const text = typeof data === "string" ? data.slice(0, MAX_SHOWN) : dump(data);
    this.keep({ kind, data, name, size, text });
  }

  // Add a line about the connection itself.
  note(title, detail = "", isBad = false) {
    this.keep({ kind: "note", title, detail, isBad, size: 0, text: `${title} ${detail}` });
  }

  keep(entry) {
    entry.time = new Date();
    entry.text = entry.text.toLowerCase();
    this.entries.push(entry);
    this.bytes += entry.size;
    while (this.hasTooMany()) {
      const oldest = this.entries.shift();
      this.bytes -= oldest.size;
      this.dropped += oldest.kind !== "note";
      this.forget(oldest.node);
    }
    if (!this.isDrawing) {
      this.isDrawing = true;
      requestAnimationFrame(() => this.draw());
    }
  }

  forget(node) {
    // The keyboard must not begin anew at the top of the page.
    if (node?.contains(document.activeElement)) this.scroller.focus();
    node?.remove();
  }

  hasTooMany() {
    const { length } = this.entries;
    return length > MAX_ENTRIES || (length > 1 && this.bytes > MAX_BYTES);
  }

  // Show what has come since the last time, at once for all of it.
  draw() {
    this.isDrawing = false;
    const nodes = [];
    for (let index = this.entries.length - 1; index >= 0 && !this.entries[index].node; index--) {
      const entry = this.entries[index];
      entry.node = nodeOf(entry);
      entry.node.hidden = !this.matches(entry);
      nodes.unshift(entry.node);
    }
    this.list.append(...nodes);
    this.tell();
    this.follow();
  }

  clear() {
    this.entries = [];
    this.bytes = this.dropped = 0;
    this.list.replaceChildren();
    this.tell();
    this.toEnd();
  }

  matches({ kind, text }) {
    const wanted = byId("kinds").value;
    return (!wanted || kind === wanted) && text.includes(byId("filter").value.toLowerCase());
  }

  filter() {
    for (const entry of this.entries) {
      if (entry.node) entry.node.hidden = !this.matches(entry);
    }
    this.tell();
    this.toEnd();
  }

  tell() {
    const messages = this.entries.filter(({ kind }) => kind !== "note");
    const shown = messages.filter((entry) => this.matches(entry)).length;
    const all = grouped(messages.length);
    let text = shown < messages.length ? `${grouped(shown)} of ${all}` : all;
    if (this.dropped) text += `, ${grouped(this.dropped)} older dropped`;
    byId("count").textContent = messages.length || this.dropped ? text : "none yet";
  }

  lookWhere() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.follows = scrollHeight - scrollTop - clientHeight < 40;
    byId("newest").hidden = this.follows;
  }

  follow() {
    if (this.follows) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  toEnd() {
    this.follows = true;
    byId("newest").hidden = true;
    this.follow();
  }

  // The list is one stop of the Tab key; arrows go from message to message.
  move(event) {
    const shown = [...this.list.children].filter((node) => !node.hidden);
    const now = shown.indexOf(document.activeElement.closest(".message"));
    const last = shown.length - 1;
    const before = now < 0 ? last : Math.max(now - 1, 0);
    const after = Math.min(now + 1, last);
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const targets = { ArrowUp: before, ArrowDown: after, Home: 0, End: last };
    if (!(event.key in targets) || last < 0) return;
    event.preventDefault();
    shown[targets[event.key]].focus();
  }

  // Only the buttons of the chosen message are stops of the Tab key.
  choose(node) {
    if (node === this.chosen || !node) return;
    const reach = (message, tabIndex) => {
      for (const button of message.querySelectorAll("button, summary")) button.tabIndex = tabIndex;
    };
    if (this.chosen) reach(this.chosen, -1);
    reach(node, 0);
    this.chosen = node;
  }
}

function grouped(number) {
  return number.toLocaleString("en");
}

function dump(data) {
  const perLine = matchMedia("(max-width: 40rem)").matches ? 8 : 16;
  return hexDump(new Uint8Array(data, 0, Math.min(data.byteLength, MAX_HEX)), perLine);
}

function nodeOf(entry) {
  const node = make("li", `message ${entry.kind}${entry.isBad ? " bad" : ""}`);
  node.tabIndex = -1;
  const [sign, word] = WAYS[entry.kind];
  const way = make("span", "way", sign);
  way.setAttribute("role", "img");
  way.setAttribute("aria-label", word);
  const body = make("div", "body");
  const end = make("span", "end");
  node.append(make("time", "", inTime(entry.time)), way, body, end);
  if (entry.kind === "note") {
    body.append(make("strong", "", entry.title));
    if (entry.detail) body.append(make("p", "", entry.detail));
    return node;
  }
  body.append(bodyOf(entry));
  end.append(make("span", "size", inBytes(entry.size)), actionOf(entry));
  return node;
}

function bodyOf({ data, name }) {
  if (typeof data !== "string") {
    const box = make("div", "");
    if (name) box.append(make("div", "", name));
    if (data.byteLength) box.append(make("pre", "hex", dump(data)));
    else box.append(make("span", "empty", "no bytes"));
    if (data.byteLength > MAX_HEX) box.append(make("span", "more", `the first ${MAX_HEX} bytes`));
    return box;
  }
  if (!data) return make("span", "empty", "empty text");
  if (data.length <= MAX_INLINE) return preOf(data);
  const details = make("details", "");
  const summary = make("summary", "", `${data.slice(0, 200)}…`);
  summary.tabIndex = -1;
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    details.append(preOf(data.length > MAX_SHOWN ? data.slice(0, MAX_SHOWN) : data));
    if (data.length > MAX_SHOWN) {
      details.append(make("span", "more", `the first ${grouped(MAX_SHOWN)} characters`));
    }
  });
  return details;
}

function preOf(text) {
  return isStructure(text) ? preOfJSON(text) : make("pre", "", text);
}

// A text is copied, where the browser lets pages do that; all else is saved.
function actionOf({ data, name, time }) {
  const isCopied = typeof data === "string" && navigator.clipboard;
  const button = make("button", "", isCopied ? "Copy" : "Save");
  button.type = "button";
  button.tabIndex = -1;
  button.onclick = async () => {
    if (!isCopied) {
      const ending = typeof data === "string" ? "txt" : "bin";
      save(data, name || `message-${inTime(time).replace(/\W/g, "-")}.${ending}`);
      return;
    }
    await navigator.clipboard.writeText(data).then(
      () => (button.textContent = "Copied"),
      () => (button.textContent = "Not allowed"),
    );
    byId("announcer").textContent = button.textContent;
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  return button;
}

function save(data, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([data]));
  link.download = name;
  link.click();
  // The download has begun with the click, and needs it for that only.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
