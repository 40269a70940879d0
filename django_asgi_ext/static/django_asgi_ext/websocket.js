/**
 * A WebSocket that comes back: docs/browser.md tells how to use it, websocket.d.ts
 * what each name means. websocket.min.js is made of this file:
 *
 *     esbuild --minify --target=es2022 --charset=utf8 websocket.js > websocket.min.js
 */

// States of a WebSocket (WHATWG WebSockets, section 3.1).
const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

const EVENTS = ["open", "message", "close", "error", "missed", "presence"];

// What is said with these would be said again (RFC 6455, section 7.4.1): the work is
// done, or what this page says is not understood, too large or not allowed.
const FINAL_CODES = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
const RESTART_CODES = [1001, 1012];

// More would make the URL of the handshake longer than servers read.
const MAX_GROUPS = 64;

const DEFAULTS = {
  json: false,
  groups: true,
  lastIds: [],
  // Messages, and bytes of all of them.
  maxQueued: 100,
  maxBufferedAmount: 1024 * 1024,
  // Milliseconds.
  minDelay: 1000,
  maxDelay: 30000,
  restartDelay: 500,
  stableAfter: 10000,
  connectTimeout: 10000,
  staleAfter: 60000,
  random: Math.random,
};

/** What was heard last of each group. */
class LastHeard {
  #entries = new Map();

  /** Note an id down, newer or not. */
  set(entry) {
    // Those heard last stand last.
    this.#entries.delete(entry.group);
    this.#entries.set(entry.group, entry);
    if (this.#entries.size > MAX_GROUPS) {
      this.#entries.delete(this.#entries.keys().next().value);
    }
  }

  /** Note an id down if it is newer than the one before, and say whether it is. */
  advance(entry) {
    const isNewer = !(this.#entries.get(entry.group)?.position >= entry.position);
    if (isNewer) this.set(entry);
    return isNewer;
  }

  get ids() {
    return Array.from(this.#entries.values(), ({ id }) => id);
  }
}

/** Return the parts of an id, "<group>@<number>-<number>", or undefined. */
function parseId(id) {
  const [, group, major, minor] = /^(.*)@(\d+)-(\d+)$/s.exec(id) ?? [];
  // Both have up to 64 bits.
  return major && { id, group, position: (BigInt(major) << 64n) + BigInt(minor) };
}

function toWebSocketURL(url) {
  // A worker has no document.
  const absolute = new URL(url, globalThis.document?.baseURI ?? location.href);
  absolute.protocol = absolute.protocol.replace("http", "ws");
  return absolute;
}

function isFinal(code) {
  return FINAL_CODES.includes(code) || (code >= 4400 && code <= 4499);
}

function isBinary(data) {
  return data instanceof ArrayBuffer || ArrayBuffer.isView(data) || data instanceof Blob;
}

function parseJSON(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // No JSON text says that.
  }
}

/** Return the bytes, or undefined if it is no base64. */
function decodeBase64(text) {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  } catch {
    return undefined;
  }
}

export class ReconnectingWebSocket extends EventTarget {
  static CONNECTING = CONNECTING;
  static OPEN = OPEN;
  static CLOSING = CLOSING;
  static CLOSED = CLOSED;

  CONNECTING = CONNECTING;
  OPEN = OPEN;
  CLOSING = CLOSING;
  CLOSED = CLOSED;

  #url;
  #protocols;
  #options;
  #isLocal;
  #lastHeard = new LastHeard();
  #queue = [];
  #state = CONNECTING;
  #native = null; // The connection or the attempt to have one.
  #timer;
  #attempts = 0; // In a row, without a connection that lasted.
  #openedAt = Infinity;
  #heardAt = 0; // Or hidden since then.
  #isAsleep = false; // The page is kept for the way back, or frozen.
  #listening = null;

  constructor(url, protocols = [], options = {}) {
    super();
    for (const name in options) {
      if (!(name in DEFAULTS)) throw new TypeError(`This is no option: ${name}`);
    }
    this.#url = toWebSocketURL(url);
    // A machine reaches itself without a network.
    this.#isLocal = /(^|\.)localhost$|^127\.|^\[::1\]$/.test(this.#url.hostname);
    this.#protocols = protocols;
    this.#options = { ...DEFAULTS, ...options };
    for (const id of this.#options.lastIds) {
      const entry = parseId(id);
      if (!entry) throw new TypeError(`This is no id: ${id}`);
      this.#lastHeard.set(entry);
    }
    for (const type of EVENTS) {
      this[`on${type}`] = null;
      this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    }
    this.#begin();
  }

  get url() {
    return this.#url.href;
  }

  get readyState() {
    return this.#state;
  }

  get protocol() {
    return this.#native?.protocol ?? "";
  }

  get extensions() {
    return this.#native?.extensions ?? "";
  }

  get binaryType() {
    return "arraybuffer";
  }

  set binaryType(type) {
    if (type !== "arraybuffer") throw new TypeError("binaryType is always arraybuffer.");
  }

  get bufferedAmount() {
    const queued = this.#queue.reduce((sum, { size }) => sum + size, 0);
    return queued + (this.#native?.bufferedAmount ?? 0);
  }

  get unsent() {
    return this.#queue.map(({ message }) => message);
  }

  get lastIds() {
    return this.#lastHeard.ids;
  }

  send(data) {
    if (this.#state > OPEN) {
      throw new DOMException("The WebSocket is closed.", "InvalidStateError");
    }
    const message = isBinary(data) ? data : this.#encode(data);
    if (this.#native?.readyState === OPEN) {
      this.#native.send(message);
      return;
    }
    // It knows the size, and keeps the bytes as they are now.
    const blob = new Blob([message]);
    const { maxQueued, maxBufferedAmount } = this.#options;
    if (this.#queue.length >= maxQueued || this.bufferedAmount + blob.size > maxBufferedAmount) {
      throw new DOMException(
        "Too much waits for a connection.",
        "QuotaExceededError",
      );
    }
    this.#queue.push({ message: isBinary(message) ? blob : message, size: blob.size });
  }

  close(code, reason) {
    if (this.#state > OPEN) return;
    // Throws before anything has changed if the code or the reason is wrong.
    this.#native?.close(code, reason);
    clearTimeout(this.#timer);
    this.#state = CLOSING;
    if (!this.#native) {
      setTimeout(() => {
        if (this.#state === CLOSING && !this.#native) this.#end({ code: 1006 });
      });
    }
  }

  reconnect() {
    this.#drop(1006, "reconnect");
    this.#attempts = 0;
    this.#begin();
  }

  // Coming and going

  #begin() {
    this.#state = CONNECTING;
    this.#connect();
    this.#listening ??= this.#listen();
  }

  #connect() {
    if (this.#native || this.#state > OPEN || this.#isAsleep || this.#isOffline()) return;
    clearTimeout(this.#timer);
    const native = new WebSocket(this.#resumingURL(), this.#protocols);
    native.binaryType = "arraybuffer";
    native.onopen = () => this.#open();
    native.onmessage = (event) => this.#receive(event);
    native.onerror = () => this.dispatchEvent(new Event("error"));
    native.onclose = (event) => this.#end(event);
    this.#native = native;
    this.#timer = setTimeout(
      () => this.#drop(1006, "connect timeout"),
      this.#options.connectTimeout,
    );
  }

  #resumingURL() {
    const url = new URL(this.#url);
    const ids = this.lastIds.map((id) => `last_id=${encodeURIComponent(id)}`);
    if (ids.length) url.search += (url.search ? "&" : "?") + ids.join("&");
    return url;
  }

  #open() {
    clearTimeout(this.#timer);
    this.#state = OPEN;
    this.#openedAt = this.#heardAt = Date.now();
    this.dispatchEvent(new Event("open"));
    // What the page has sent just now went first.
    while (this.#queue.length && this.#native?.readyState === OPEN) {
      this.#native.send(this.#queue.shift().message);
    }
  }

  /** Give the connection up, if there is one: it may be dead, so do not wait for it. */
  #drop(code, reason) {
    const native = this.#native;
    if (!native) return;
    native.onopen = native.onmessage = native.onerror = native.onclose = null;
    native.close();
    this.#end({ code, reason });
  }

  #end({ code, reason = "", wasClean = false }) {
    clearTimeout(this.#timer);
    const lasted = Date.now() - this.#openedAt >= this.#options.stableAfter;
    this.#native = null;
    this.#openedAt = Infinity;
    if (this.#state === CLOSING || isFinal(code)) {
      this.#state = CLOSED;
      this.#listening.abort();
      this.#listening = null;
      this.#isAsleep = false; // Nobody tells when it wakes up.
    } else {
      this.#state = CONNECTING;
      if (lasted) this.#attempts = 0;
      this.#connectWithin(this.#longestDelay(lasted && RESTART_CODES.includes(code)));
      this.#attempts++;
    }
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
  }

  #longestDelay(restarts) {
    const { minDelay, maxDelay, restartDelay } = this.#options;
    // Nobody looks at it: let those pages go first that somebody looks at.
    if (globalThis.document?.hidden) return maxDelay;
    return restarts ? restartDelay : Math.min(maxDelay, minDelay * 2 ** this.#attempts);
  }

  /** Leave all of the delay to chance, so that not all come back at once. */
  #connectWithin(delay) {
    if (this.#native) return; // Whoever was told of the close has begun already.
    clearTimeout(this.#timer);
    if (this.#isAsleep || this.#isOffline()) return;
    this.#timer = setTimeout(() => this.#connect(), this.#options.random() * delay);
  }

  // What happens to the page and its network

  #listen() {
    const controller = new AbortController(); // Its signal is what addEventListener() wants.
    const on = (target, listeners) => {
      for (const type in listeners) target?.addEventListener(type, listeners[type], controller);
    };
    const sleep = () => this.#sleep();
    const wake = () => this.#wake();
    on(globalThis, {
      offline: () => this.#changeNetwork(),
      online: () => this.#changeNetwork(),
      pagehide: sleep,
      pageshow: wake,
    });
    on(globalThis.document, {
      freeze: sleep,
      resume: wake,
      visibilitychange: () => this.#changeVisibility(),
    });
    return controller;
  }

  #isOffline() {
    // The first attempt is made in any case: it finds out what is wrong with the URL.
    return this.#listening && !this.#isLocal && navigator.onLine === false;
  }

  #changeNetwork() {
    // What was connected by another network may be dead.
    if (!this.#isLocal) this.#renew(this.#options.restartDelay);
  }

  #renew(delay) {
    if (this.#state > OPEN) return;
    this.#drop(1006, "connection in doubt");
    this.#attempts = 0;
    this.#connectWithin(delay);
  }

  #sleep() {
    this.#isAsleep = true;
    this.#drop(1001, "page hidden");
  }

  #wake() {
    this.#isAsleep = false;
    this.#connect();
  }

  #changeVisibility() {
    if (document.hidden) {
      this.#heardAt = Date.now();
    } else if (!this.#native) {
      this.#connect();
    } else if (Date.now() - this.#heardAt >= this.#options.staleAfter) {
      if (this.#state === OPEN) this.#renew(0);
    }
  }

  // Messages

  #encode(data) {
    const text = this.#options.json ? JSON.stringify(data) : `${data}`;
    if (text === undefined || (!this.#options.json && typeof data === "object")) {
      throw new TypeError(`Cannot send ${text}: it is neither text nor bytes nor JSON.`);
    }
    return text;
  }

  #receive({ data, origin }) {
    this.#heardAt = Date.now();
    const { json, groups } = this.#options;
    if (typeof data === "string" && (json || (groups && data.includes('"@')))) {
      const value = parseJSON(data);
      if (groups && this.#receiveOfGroup(value, origin)) return;
      if (json && value !== undefined) data = value;
    }
    this.#tell("message", { data, origin });
  }

  /** Say whether a value is what the server says of a group, and tell the page. */
  #receiveOfGroup(value, origin) {
    const id = value?.["@id"];
    if (["members", "join", "leave"].includes(value?.["@presence"])) {
      const { "@presence": presence, ...rest } = value;
      this.#tell("presence", { data: { presence, ...rest }, origin });
      return true;
    }
    const entry = typeof id === "string" && parseId(id);
    if (!entry) return false;
    if (value["@missed"] === true) {
      // The id may be an older one: the server has forgotten the others.
      this.#lastHeard.set(entry);
      this.#tell("missed", { data: { group: entry.group }, origin, lastEventId: id });
      return true;
    }
    const { base64 } = value;
    const data = typeof base64 === "string" ? decodeBase64(base64) : value.data;
    const isEmpty = data === undefined; // With an id alone: that is where the group is.
    if (isEmpty && Object.keys(value).length > 1) return false;
    if (this.#lastHeard.advance(entry) && !isEmpty) {
      this.#tell("message", { data, origin, lastEventId: id });
    }
    return true;
  }

  #tell(type, options) {
    this.dispatchEvent(new MessageEvent(type, options));
  }
}
