// How messages look: sizes, times, JSON and bytes.

const encoder = new TextEncoder();

function byId(id) {
  return document.getElementById(id);
}

// Make an element. Texts are only ever set as text, never as HTML.
function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function sizeOf(data) {
  return typeof data === "string" ? encoder.encode(data).length : data.byteLength;
}

// Say a number of bytes in words.
function inBytes(size) {
  if (size < 1024) return `${size} B`;
  if (size < 1024 * 1024) return `${(size / 1024).toFixed(1)} KiB`;
  return `${(size / 1024 / 1024).toFixed(1)} MiB`;
}

function pad(number, length = 2) {
  return String(number).padStart(length, "0");
}

function inTime(date) {
  const seconds = `${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${seconds}`;
}

// Return whether a text is a JSON object or array, which are worth laying out.
function isStructure(text) {
  if (!/^\s*[[{]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// How much of a structure is kept on one line, in characters.
const LINE = 60;

// Deeper than that a message would take many times its size, and nobody could read it.
const MAX_INDENT = 20;

const JSON_TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g;

// Lay out valid JSON: a list of [class, text]. Literals stay as they are in the
// message, since parsing would round large numbers and drop repeated keys.
function layOut(json) {
  const tokens = json.match(JSON_TOKEN);
  const short = shortStructures(tokens);
  const parts = [];
  let plain = "";
  let depth = 0;
  let closing = -1;
  tokens.forEach((token, index) => {
    const next = tokens[index + 1];
    // Within a structure that fits on the line, until it ends.
    if (index > closing && short.has(index)) closing = short.get(index);
    const isInLine = index <= closing;
    const isEmpty = "[{".includes(token) && "]}".includes(next);
    const indent = () => "  ".repeat(Math.min(depth, MAX_INDENT));
    const newLine = () => (isInLine || isEmpty ? "" : `\n${indent()}`);
    if (token === "{" || token === "[") {
      depth++;
      plain += token + newLine();
    } else if (token === "}" || token === "]") {
      depth--;
      plain += (isInLine ? "" : newLine()) + token;
    } else if (token === ",") {
      plain += `,${newLine() || " "}`;
    } else if (token === ":") {
      plain += ": ";
    } else {
      parts.push(["", plain], [classOf(token, next), token]);
      plain = "";
    }
  });
  parts.push(["", plain]);
  return parts;
}

function classOf(token, next) {
  if (!token.startsWith('"')) return "value";
  return next === ":" ? "key" : "string";
}

// Map where structures begin, if they fit on a line, to where they end.
function shortStructures(tokens) {
  const short = new Map();
  const open = [];
  let length = 0;
  tokens.forEach((token, index) => {
    length += token.length + (token === "," || token === ":");
    if (token === "{" || token === "[") open.push([index, length]);
    if (token === "}" || token === "]") {
      const [start, before] = open.pop();
      if (length - before < LINE) short.set(start, index);
    }
  });
  return short;
}

// Make the element for JSON that has been laid out.
function preOfJSON(json) {
  const pre = make("pre", "json");
  for (const [className, text] of layOut(json)) {
    pre.append(className ? make("span", className, text) : text);
  }
  return pre;
}

// Show bytes as their numbers and as ASCII, so many on a line.
function hexDump(bytes, perLine) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += perLine) {
    const part = [...bytes.subarray(start, start + perLine)];
    const numbers = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = part.map((byte) => (isPrintable(byte) ? String.fromCharCode(byte) : "·"));
    const offset = start.toString(16).padStart(4, "0");
    lines.push(`${offset}  ${numbers.padEnd(perLine * 3)} ${letters.join("")}`);
  }
  return lines.join("\n");
}

function isPrintable(byte) {
  return byte > 31 && byte < 127;
}
