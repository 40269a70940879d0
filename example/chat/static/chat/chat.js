// One room of the chat. What comes from peers is put into the page as text, never
// as markup.

import { ReconnectingWebSocket } from "django_asgi_ext/websocket";

const MAX_ENTRIES = 500;

const byId = (id) => document.getElementById(id);
const socketPath = document.querySelector("main").dataset.socket;
const log = byId("log");
const input = byId("text");

const socket = new ReconnectingWebSocket(socketPath, [], { json: true });
const people = new Map(); // Names by ids; empty while there is no connection.
let me = byId("user").textContent;
let following = true; // The log is scrolled to its end.

// What the server says

socket.onmessage = ({ data }) => {
  if (data.type === "message") {
    addMessage(data);
  } else if (data.type === "error") {
    showProblem(data.text);
  } else {
    // Somebody else may have logged in since the page was loaded.
    me = byId("user").textContent = data.user;
    showState("open", "Connected");
    showProblem("");
    showPeople();
    addEvent("You are connected.");
  }
};

socket.onmissed = () => addEvent("Messages may be missing here.");

socket.onpresence = ({ data: { presence, members, member } }) => {
  if (presence === "members") {
    people.clear();
    for (const { id, name } of members) people.set(id, name);
  } else if (presence === "leave") {
    if (people.delete(member.id)) addEvent(`${member.name} left.`);
  } else {
    if (!people.has(member.id)) addEvent(`${member.name} joined.`);
    people.set(member.id, member.name);
  }
  showPeople();
};

// The connection

socket.onclose = ({ code, reason }) => {
  const wasOpen = people.size > 0;
  people.clear();
  showPeople();
  if (wasOpen) addEvent("You are not connected any more.");
  if (socket.readyState === WebSocket.CONNECTING) {
    showState("waiting", `${whyClosed(code, reason)} Trying again …`);
    if (!wasOpen && code === 1006) explainDenial();
  } else if (code !== 1006) {
    showState("denied", whyClosed(code, reason));
  }
};

function whyClosed(code, reason) {
  if (code === 1006) return "There is no connection.";
  if (code === 1001 || code === 1012) return "The server is restarting.";
  return `The server closed the connection with ${code}${reason && ` (${reason})`}.`;
}

// A browser tells a page nothing about a handshake that failed. Over plain HTTP
// the same URL has the same guards, so ask them: a view that is reached answers
// 426 Upgrade Required.
async function explainDenial() {
  const options = { redirect: "manual", cache: "no-store" };
  const response = await fetch(socketPath, options).catch(() => null);
  if (!response || socket.readyState !== WebSocket.CONNECTING) return;
  if (response.status === 426) {
    showState(
      "waiting",
      "The connection was denied. The server may not allow the origin of this page, " +
        "or a proxy in between may not pass WebSockets on. Trying again …",
    );
  } else if (response.status < 426) {
    socket.close();
    const isRedirect = response.type === "opaqueredirect";
    const why = isRedirect ? ": you are not logged in" : ` with status ${response.status}`;
    showState("denied", `The server denied the connection${why}.`);
    byId("login").hidden = !isRedirect;
  }
}

// What is shown

function showState(state, text) {
  byId("status").parentElement.dataset.state = state;
  byId("status").textContent = text;
  byId("retry").hidden = state === "connecting" || state === "open";
  byId("login").hidden = true;
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

function showPeople() {
  byId("here").replaceChildren(
    ...Array.from(people.values(), (name) => {
      const label = element("span", "", element("bdi", "", name));
      if (name === me) label.append(" (you)");
      return element("li", "", avatar(name), label);
    }),
  );
}

function addEvent(text) {
  add(element("p", "event", text));
}

function addMessage({ user, text, at }) {
  const time = element("time", "", new Date(at).toLocaleTimeString([], { timeStyle: "short" }));
  time.dateTime = at;
  const name = element("p", "name", element("bdi", "", user), time);
  name.style.setProperty("--hue", hue(user));
  const words = element("p", "", text);
  words.dir = "auto";
  const kind = user === me ? "message mine" : "message";
  add(element("div", kind, avatar(user), element("div", "", name, words)));
}

function add(entry) {
  log.append(entry);
  while (log.children.length > MAX_ENTRIES) log.firstChild.remove();
  follow();
}

function follow() {
  if (following) log.scrollTop = log.scrollHeight;
}

function avatar(name) {
  const circle = element("span", "avatar", [...name][0].toUpperCase());
  circle.setAttribute("aria-hidden", "true");
  circle.style.setProperty("--hue", hue(name));
  return circle;
}

function hue(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// What the user does

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  input.focus();
  if (!text) return;
  try {
    socket.send({ text });
  } catch {
    showProblem("Not sent: there is no connection.");
    return;
  }
  input.value = "";
  showProblem(people.size ? "" : "This is sent as soon as there is a connection.");
});

log.addEventListener("scroll", () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
});

// It is smaller while a note is shown, or the keyboard of a phone.
new ResizeObserver(follow).observe(log);

byId("retry").addEventListener("click", () => {
  socket.reconnect();
  showState("connecting", "Connecting …");
});
