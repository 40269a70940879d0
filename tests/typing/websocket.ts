// What a type checker must accept of the browser client, and what it must not.

import { ReconnectingWebSocket } from "django_asgi_ext/websocket";
import type { Presence, ReconnectingWebSocketOptions } from "django_asgi_ext/websocket";

const options: Required<ReconnectingWebSocketOptions> = {
  json: true,
  groups: true,
  lastIds: new Set(["lobby@1-0"]),
  maxQueued: 1,
  maxBufferedAmount: 1,
  minDelay: 1,
  maxDelay: 1,
  restartDelay: 1,
  stableAfter: 1,
  connectTimeout: 1,
  staleAfter: Infinity,
  random: Math.random,
};

const socket = new ReconnectingWebSocket(new URL("wss://example.com/"), ["chat.v1"], options);
new ReconnectingWebSocket("/ws/", "chat.v1");
new ReconnectingWebSocket("/ws/");

// In place of the browser's own.
const own: Pick<
  WebSocket,
  | "url"
  | "readyState"
  | "protocol"
  | "extensions"
  | "bufferedAmount"
  | "send"
  | "close"
  | "addEventListener"
  | "removeEventListener"
  | "dispatchEvent"
> = socket;
own.send("hello");

socket.binaryType = "arraybuffer";
socket.send({ a: [1, null] });
socket.send(new Uint8Array(1));
socket.close();
socket.close(4000, "bye");
socket.reconnect();

const unsent: (string | Blob)[] = socket.unsent;
new ReconnectingWebSocket("/ws/", [], { lastIds: socket.lastIds, maxQueued: unsent.length });

socket.onopen = socket.onerror = (event: Event) => event.type;
socket.onmessage = ({ data, lastEventId }) => lastEventId.length + data.length;
socket.onclose = ({ code }) => code === 1012 && socket.readyState === ReconnectingWebSocket.CLOSED;
socket.onmissed = ({ data }) => data.group.length;
socket.onpresence = ({ data }) => names(data);
socket.addEventListener("presence", ({ data }) => names(data), { once: true });
socket.addEventListener("close", (event) => event.code);
socket.addEventListener("other", { handleEvent: (event: Event) => event.type });

function names(presence: Presence): any[] {
  return presence.presence === "members" ? presence.members : [presence.member];
}

// @ts-expect-error
new ReconnectingWebSocket();
// @ts-expect-error
new ReconnectingWebSocket("/ws/", [], { jsn: true });
// @ts-expect-error
socket.readyState = 1;
// @ts-expect-error
socket.binaryType = "blob";
// @ts-expect-error
socket.addEventListener("presence", ({ data }) => data.groups);
