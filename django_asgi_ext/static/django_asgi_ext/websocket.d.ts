/** What may be set. Delays are in milliseconds. */
export interface ReconnectingWebSocketOptions {
  /**
   * Whether messages are JSON: what send() takes becomes JSON, and what comes is what
   * the JSON says, or the text itself if it is none. Bytes stay bytes. Default: false.
   */
  json?: boolean;
  /**
   * Whether messages of resumable groups are understood. Turn it off if the view sends
   * on what peers have written as they wrote it. Default: true.
   */
  groups?: boolean;
  /** Ids to go on from, as another object had them in lastIds. Default: none. */
  lastIds?: Iterable<string>;
  /** How many messages may wait for a connection. Default: 100. */
  maxQueued?: number;
  /** How many bytes may wait for a connection. Default: 1048576. */
  maxBufferedAmount?: number;
  /** The longest delay of the first retry; each further one doubles it. Default: 1000. */
  minDelay?: number;
  /** The longest delay of any retry, and of one in the background. Default: 30000. */
  maxDelay?: number;
  /** The longest delay after 1001 and 1012, and once the network is back. Default: 500. */
  restartDelay?: number;
  /** How long a connection lasts for the delays to begin anew. Default: 10000. */
  stableAfter?: number;
  /** How long an opening handshake may take. Default: 10000. */
  connectTimeout?: number;
  /**
   * How long nothing is heard by a page in the background until it asks for a new
   * connection when it is looked at again. Infinity: never. Default: 60000.
   */
  staleAfter?: number;
  /** A number from 0 to 1, the share of the longest delay to wait. Default: Math.random. */
  random?: () => number;
}

/** What is said of the members of a group. */
export type Presence =
  | { presence: "members"; group: string; members: any[] }
  | { presence: "join" | "leave"; group: string; member: any };

export interface ReconnectingWebSocketEventMap {
  /** There is a connection, the first one or a further one. */
  open: Event;
  /** A message: bytes are an ArrayBuffer. One of a group has its id in lastEventId. */
  message: MessageEvent<any>;
  /** A connection, or the attempt to have one, is over. It comes back if readyState is CONNECTING. */
  close: CloseEvent;
  /** A connection has failed. A close event follows. */
  error: Event;
  /** Messages of a group were missed, and the server has them no more. */
  missed: MessageEvent<{ group: string }>;
  /** Somebody joins or leaves a group, or its members are told. */
  presence: MessageEvent<Presence>;
}

/** A WebSocket that comes back. It has the names of the browser's own. */
export class ReconnectingWebSocket extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  /**
   * Connect to a URL, which may be relative to the page.
   *
   * Throw TypeError for an unknown option or id, and what new WebSocket() throws: a
   * TypeError or a SyntaxError.
   */
  constructor(
    url: string | URL,
    protocols?: string | string[],
    options?: ReconnectingWebSocketOptions,
  );

  /** The absolute URL, without the ids of the messages that were heard last. */
  readonly url: string;
  /** CONNECTING while there is no connection but will be; CLOSED if it does not come back. */
  readonly readyState: 0 | 1 | 2 | 3;
  /** The subprotocol of the connection, "" without one. */
  readonly protocol: string;
  /** The extensions of the connection, "" without one. */
  readonly extensions: string;
  /** Bytes are always an ArrayBuffer. To set anything else throws TypeError. */
  binaryType: "arraybuffer";
  /** Bytes that send() has taken and the network has not. */
  readonly bufferedAmount: number;
  /** Messages that wait for a connection: as text, or as a Blob of bytes. */
  readonly unsent: (string | Blob)[];
  /** The id heard last of each group, for the option of that name. */
  readonly lastIds: string[];

  onopen: ((event: Event) => any) | null;
  onmessage: ((event: MessageEvent<any>) => any) | null;
  onclose: ((event: CloseEvent) => any) | null;
  onerror: ((event: Event) => any) | null;
  onmissed: ((event: MessageEvent<{ group: string }>) => any) | null;
  onpresence: ((event: MessageEvent<Presence>) => any) | null;

  /**
   * Send a message, or keep it until there is a connection.
   *
   * It is text or bytes; with the option json anything that JSON can say.
   *
   * Throw a DOMException: InvalidStateError when it is CLOSING or CLOSED, and
   * QuotaExceededError if too much waits; and TypeError for what is no message. The
   * message is not sent then, and those that wait are kept.
   */
  send(data: string | ArrayBuffer | ArrayBufferView | Blob | unknown): void;

  /** Close for good, as the browser's own, with the same errors. */
  close(code?: number, reason?: string): void;

  /** Give up the connection, if there is one, and connect anew; when CLOSED as well. */
  reconnect(): void;

  addEventListener<K extends keyof ReconnectingWebSocketEventMap>(
    type: K,
    listener: (this: ReconnectingWebSocket, event: ReconnectingWebSocketEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ReconnectingWebSocketEventMap>(
    type: K,
    listener: (this: ReconnectingWebSocket, event: ReconnectingWebSocketEventMap[K]) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
