// The page: what its parts tell each other.

// How long, in milliseconds, screen readers are left in peace between messages.
const QUIET = 2000;

const facts = JSON.parse(byId("for-script").textContent);
const log = new Log(byId("log"));
const composer = new Composer((data, name) => {
  connection.send(data);
  log.add("sent", data, name);
});
const connection = new Connection({ onState, onOpen, onClose, onMessage });

// What the button says and does in a state of the connection.
const BUTTONS = {
  idle: "Connect",
  connecting: "Cancel",
  open: "Close",
  closing: "Closing…",
  waiting: "Stop",
  closed: "Reconnect",
  failed: "Reconnect",
};
const STOPPING = ["connecting", "open", "waiting", "closing"];

function onState(state, words) {
  const button = byId("connect");
  byId("state").dataset.state = state;
  byId("state").textContent = words;
  button.textContent = BUTTONS[state];
  // Not disabled, which would take the focus away from it.
  button.setAttribute("aria-disabled", state === "closing");
  button.classList.toggle("stop", STOPPING.includes(state));
  if (state === "open" && document.activeElement === button) byId("text").focus();
  byId("announcer").textContent = words;
  document.title = `${words}: ${location.pathname}`;
}

function onOpen(took, subprotocol) {
  const taken = subprotocol ? ` The subprotocol is ${subprotocol}.` : "";
  log.note("Open", `The handshake took ${took} ms.${taken}`);
}

function onClose(code, reason, { wasOpen, wasLeft, comesBack, offered }) {
  if (wasOpen) {
    const [name, meaning] = meaningOf(code);
    const why = wasLeft && code === 1000 ? "This page has closed it." : meaning;
    const given = reason ? `Reason given: “${reason}”. ` : "";
    log.note(`Closed with ${code}: ${name}`, given + why, isBad(code));
  } else if (wasLeft) {
    log.note("Cancelled", "The handshake was not answered yet.");
  } else if (comesBack) {
    log.note("Still no connection");
  } else {
    log.note("Closed with 1006: no connection", refusalOf(offered, facts), true);
  }
}

let heard = 0;

function onMessage(data) {
  log.add("received", data);
  heard++;
  if (heard > 1) return;
  const start = typeof data === "string" ? data.slice(0, 200) : "a binary message";
  byId("announcer").textContent = `Received: ${start}`;
  setTimeout(() => {
    if (heard > 1) byId("announcer").textContent = `${heard - 1} more received.`;
    heard = 0;
  }, QUIET);
}

// The URL of the WebSocket: that of the page, with the query in the field.
function socketURL() {
  const url = new URL(location.href);
  url.search = byId("query").value;
  url.hash = "";
  // What was connected to is what a reload shows.
  history.replaceState(null, "", url);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

function offeredSubprotocols() {
  const chosen = document.querySelectorAll("[name=subprotocol]:checked");
  const others = byId("others").value.split(",").map((name) => name.trim());
  return [...[...chosen].map(({ value }) => value), ...others.filter(Boolean)];
}

byId("connection").onsubmit = (event) => {
  event.preventDefault();
  byId("refusal").textContent = "";
  if (STOPPING.includes(connection.state)) {
    connection.close();
    return;
  }
  try {
    connection.open(socketURL(), offeredSubprotocols(), () => byId("again").checked);
  } catch (error) {
    byId("refusal").textContent = error.message;
  }
};

// Enter in a field connects, but is no reason to end a connection.
byId("connection").onkeydown = (event) => {
  const isField = event.target !== byId("connect");
  if (event.key === "Enter" && isField && STOPPING.includes(connection.state)) {
    event.preventDefault();
  }
};

document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
  if (effectiveDirective === "connect-src") {
    byId("refusal").textContent =
      "The Content-Security-Policy of the page forbids it: connect-src has to allow 'self'.";
  }
});

// A browser may keep the page for the way back, and its WebSocket open.
addEventListener("pagehide", () => connection.socket?.close());

byId("query").value = location.search.slice(1);
if (matchMedia("(max-width: 60rem)").matches) byId("facts").open = false;
byId("no-script").remove();
byId("console").hidden = false;
byId("connect").focus();
