// What a close code means (RFC 6455, section 7.4.1; the IANA registry), and what
// it says of the view that is at the other end here.

const CODES = {
  1000: ["Normal closure", "The view has returned, or has closed the connection."],
  1001: ["Going away", "Nothing was said for IDLE_TIMEOUT, or the server goes away."],
  1002: ["Protocol error", "One side has broken the rules of RFC 6455."],
  1003: ["Unsupported data", "The view does not take this kind of message, text or binary."],
  1005: ["No status received", "The close frame had no code. Some servers leave it out."],
  1006: [
    "Abnormal closure",
    "The connection broke off without a close frame: the server process has ended, the " +
      "network has failed, or this page has not read for SEND_TIMEOUT.",
  ],
  1007: [
    "Invalid data",
    "A text was no UTF-8, or no JSON: the view wanted that, as recv_json() does, and did " +
      "not handle InvalidJSON.",
  ],
  1008: [
    "Policy violation",
    "The view has raised PermissionDenied, which django.request logs, or it has left too " +
      "much unread for 30 seconds, which django_asgi_ext.websocket logs.",
  ],
  1009: ["Message too big", "The view takes no messages of that size."],
  1010: ["Mandatory extension", "The client needs an extension that the server has not."],
  1011: [
    "Internal error",
    "The view has raised an exception. The server's log has the traceback, in django.request.",
  ],
  1012: ["Service restart", "The server shuts down, or loads changed code."],
  1013: ["Try again later", "The view has no room for this connection now."],
  1014: ["Bad gateway", "A proxy got no proper answer from the server behind it."],
  1015: ["TLS handshake", "The TLS handshake has failed."],
};

// Return the name of a close code, and what it says of the view.
function meaningOf(code) {
  if (code in CODES) return CODES[code];
  if (code >= 4000) return ["The view's own code", "What it means is up to the view."];
  if (code >= 3000) return ["A registered code", "A library or framework has it from IANA."];
  return ["Unknown code", "RFC 6455 does not define it."];
}

// Return whether something must have gone wrong.
function isBad(code) {
  return code > 1001 && code !== 1005 && code < 3000;
}

// Say why there was no connection, as far as can be known: a browser tells no page.
function refusalOf(offered, facts) {
  const reasons = [];
  if (!facts.isASGI) {
    reasons.push(
      'This page came over WSGI, which has no WebSockets. If it is manage.py runserver, put "django_asgi_ext" before "django.contrib.staticfiles" into INSTALLED_APPS; else run an ASGI server, as hypercorn.',
    );
  }
  if (offered.length && !offered.some((name) => facts.subprotocols.includes(name))) {
    reasons.push(
      "A browser hangs up if the view takes none of the subprotocols that are offered.",
    );
  }
  reasons.push(
    "The handshake was refused, or nobody answered; a browser tells a page no more. The " +
      "server's log has the status and the reason, in django.request or, for an origin, in " +
      "django.security.WebSocketOrigin. So have the browser's developer tools, under Network.",
  );
  return reasons.join(" ");
}
