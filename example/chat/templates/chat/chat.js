"use strict";

// One room of the chat. What comes from peers is put into the page as text, never
// as markup.

const FIRST_DELAY = 1000; // milliseconds
const LONGEST_DELAY = 30000;
const STABLE_AFTER = 10000;
const MAX_ENTRIES = 500;

const byId = (id) => document.getElementById(id);
const { socket: socketPath, login: loginURL } = document.querySelector("main").dataset;
const log = byId("log");
const input = byId("text");

let socket = null;
let me = byId("user").textContent;
let retries = 0;
let timer = null;
let following = true; // The log is scrolled to its end.

// The connection

function connect() {
  clearTimeout(timer);
  timer = null;
  showState("connecting", "Connecting …");
  const url = new URL(socketPath, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const connection = (socket = new WebSocket(url));
  let openedAt = null;
  connection.onopen = () => {
    openedAt = performance.now();
  };
  connection.onmessage = (event) => receive(JSON.parse(event.data));
  connection.onclose = (event) => {
    if (openedAt === null) {
      explainDenial();
      return;
    }
    if (performance.now() - openedAt > STABLE_AFTER) retries = 0;
    showPeople([]);
    addEvent("You are not connected any more.");
    retryLater(whyClosed(event));
  };
}

function whyClosed({ code, reason }) {
  if (code === 1006) return "The connection was lost.";
  if (code === 1001 || code === 1012) return "The server is restarting.";
  return `The server closed the connection with ${code}${reason && ` (${reason})`}.`;
}

// A browser tells a page nothing about a handshake that failed. Over plain HTTP
// the same URL has the same guards, so ask them: a view that is reached answers
// 426 Upgrade Required.
async function explainDenial() {
  let response;
  try {
    response = await fetch(socketPath, { redirect: "manual", cache: "no-store" });
  } catch {
    retryLater("The server cannot be reached.");
    return;
  }
  if (response.type === "opaqueredirect") {
    showState("denied", "The server denied the connection: you are not logged in.");
    byId("login").href = loginURL;
    byId("login").hidden = false;
  } else if (response.status === 426) {
    retryLater(
      "The connection was denied. The server may not allow the origin of this page, " +
        "or a proxy in between may not pass WebSockets on.",
    );
  } else {
    showState("denied", `The server denied the connection with status ${response.status}.`);
  }
}

function retryLater(why) {
  // Half of the delay is left to chance, so that not all come back at once.
  const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** retries++) * (0.5 + Math.random() / 2);
  timer = setTimeout(connect, delay);
  const seconds = Math.ceil(delay / 1000);
  showState("waiting", `${why} Trying again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.`);
  byId("retry").hidden = false;
}

function retryNow() {
  if (timer !== null) connect();
}

// What the server says

function receive(event) {
  if (event.type === "message") {
    addMessage(event);
  } else if (event.type === "error") {
    showProblem(event.text);
  } else {
    if (event.type === "welcome") {
      me = byId("user").textContent = event.user;
      showState("open", "Connected");
      showProblem("");
      addEvent("You are connected.");
    } else {
      addEvent(`${event.user} ${event.type === "join" ? "joined" : "left"}.`);
    }
    showPeople(event.here);
  }
}

// What is shown

function showState(state, text) {
  byId("status").parentElement.dataset.state = state;
  byId("status").textContent = text;
  byId("retry").hidden = true;
  byId("login").hidden = true;
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

function showPeople(names) {
  byId("here").replaceChildren(
    ...names.map((name) => {
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
  if (socket.readyState !== WebSocket.OPEN) {
    showProblem("Not sent: there is no connection.");
    return;
  }
  socket.send(JSON.stringify({ text }));
  input.value = "";
  showProblem("");
});

log.addEventListener("scroll", () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
});

// It is smaller while a note is shown, or the keyboard of a phone.
new ResizeObserver(follow).observe(log);

byId("retry").addEventListener("click", retryNow);
window.addEventListener("online", retryNow);
// A browser may keep a page that was left, for the way back, and its connection
// open: the others would go on seeing the user here. On the way back it reconnects.
window.addEventListener("pagehide", () => socket.close());

connect();
