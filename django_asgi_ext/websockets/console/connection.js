// One WebSocket after another to the URL of this page.

// How often, and how soon, in milliseconds, to look whether a server is back.
const ATTEMPTS = 20;
const DELAYS = [300, 700, 1500, 3000];

const RESTART = 1012;

class Connection {
  // The functions hear of a new state and its words, of openings, ends and messages.
  constructor({ onState, onOpen, onClose, onMessage }) {
    Object.assign(this, { onState, onOpen, onClose, onMessage });
    this.state = "idle";
    this.attempt = 0;
  }

  become(state, words) {
    this.state = state;
    this.onState(state, words);
  }

  // Open a connection. A SyntaxError says what is wrong with the arguments.
  open(url, offered, mayComeBack) {
    this.stopWaiting();
    const socket = new WebSocket(url, offered);
    const began = performance.now();
    let wasOpen = false;
    this.socket = socket;
    this.isLeaving = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      wasOpen = true;
      this.attempt = 0;
      const taken = socket.protocol ? `, ${socket.protocol}` : "";
      this.onOpen(Math.round(performance.now() - began), socket.protocol);
      this.become("open", `Open${taken}`);
    };
    socket.onmessage = ({ data }) => this.onMessage(data);
    socket.onclose = ({ code, reason }) => {
      const isRestarting = code === RESTART || (this.attempt > 0 && !wasOpen);
      const comesBack =
        isRestarting && !this.isLeaving && mayComeBack() && this.attempt < ATTEMPTS;
      const wasLeft = this.isLeaving;
      this.onClose(code, reason, { wasOpen, wasLeft, comesBack, offered });
      if (comesBack) {
        this.wait(() => this.open(url, offered, mayComeBack));
      } else {
        this.attempt = 0;
        const isFailure = !wasLeft && isBad(code);
        const words = wasOpen ? `Closed with ${code}` : "No connection";
        this.become(isFailure ? "failed" : "closed", words);
      }
    };
    this.become("connecting", "Connecting…");
  }

  wait(again) {
    const delay = DELAYS[Math.min(this.attempt, DELAYS.length - 1)];
    this.attempt++;
    // Not to the instant with all others that wait.
    this.timer = setTimeout(again, delay * (0.75 + Math.random() / 2));
    this.become("waiting", `Coming back: attempt ${this.attempt} of ${ATTEMPTS}`);
  }

  stopWaiting() {
    clearTimeout(this.timer);
  }

  // Close it, or stop what is to open it.
  close() {
    this.isLeaving = true;
    if (this.state === "waiting") {
      this.stopWaiting();
      this.attempt = 0;
      this.become("closed", "Not connected");
    } else if (this.state !== "closing") {
      this.become("closing", "Closing…");
      this.socket.close(1000);
    }
  }

  // Send a message; raise an Error if there is no connection.
  send(data) {
    if (this.state !== "open") throw Error("Not sent: there is no open connection.");
    this.socket.send(data);
  }
}
