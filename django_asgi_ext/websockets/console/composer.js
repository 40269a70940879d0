// What is to be sent: a text, JSON that is checked before, or a file.

const MAX_HISTORY = 100;

class Composer {
  // The function gets a message and the name of its file, and sends it.
  constructor(send) {
    this.send = send;
    this.history = [];
    this.place = 0;
    this.draft = "";
    this.text = byId("text");
    this.file = byId("file");
    byId("composer").onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    byId("composer").onchange = ({ target }) => target.name === "kind" && this.choose();
    this.text.oninput = () => this.complain("");
    this.text.onkeydown = (event) => this.press(event);
    this.choose();
  }

  get kind() {
    return byId("composer").elements.kind.value;
  }

  choose() {
    this.file.hidden = this.kind !== "file";
    this.text.hidden = !this.file.hidden;
    this.text.placeholder = this.kind === "json" ? '{"as": "JSON"}' : "A text message";
    this.complain("");
  }

  complain(problem) {
    byId("problem").textContent = problem;
    for (const field of [this.text, this.file]) {
      field.setAttribute("aria-invalid", Boolean(problem));
    }
  }

  async submit() {
    this.complain("");
    try {
      if (this.kind === "file") await this.submitFile();
      else this.submitText();
    } catch (error) {
      this.complain(error.message);
    }
  }

  submitText() {
    const text = this.text.value;
    if (this.kind === "json") checkJSON(text);
    this.send(text);
    if (text && text !== this.history.at(-1)) this.history.push(text);
    this.history = this.history.slice(-MAX_HISTORY);
    this.place = this.history.length;
    this.text.value = this.draft = "";
  }

  async submitFile() {
    const [file] = this.file.files;
    if (!file) throw Error("Choose a file first.");
    this.send(await file.arrayBuffer(), file.name);
  }

  press(event) {
    const { key, ctrlKey, metaKey, shiftKey, isComposing } = event;
    if (isComposing) return;
    const lines = this.text.value.split("\n");
    if (key === "Enter" && (ctrlKey || metaKey || (!shiftKey && lines.length === 1))) {
      event.preventDefault();
      this.submit();
    } else if (key === "ArrowUp" && this.isCaretIn(0)) {
      this.recall(this.place - 1, event);
    } else if (key === "ArrowDown" && this.isCaretIn(lines.length - 1)) {
      this.recall(this.place + 1, event);
    }
  }

  isCaretIn(line) {
    const { value, selectionStart: start, selectionEnd: end } = this.text;
    return start === end && value.slice(0, start).split("\n").length - 1 === line;
  }

  // Bring back an earlier message, or in the end what was being written.
  recall(place, event) {
    if (place < 0 || place > this.history.length) return;
    event.preventDefault();
    if (this.place === this.history.length) this.draft = this.text.value;
    this.place = place;
    this.text.value = this.history[place] ?? this.draft;
    this.complain("");
  }
}

// Raise a SyntaxError that says what is wrong with a text as JSON.
function checkJSON(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw SyntaxError(`Not sent: this is no JSON. ${error.message}`);
  }
}
