// The log panel: newest lines first fetched, older ones on demand, new ones from the socket; follows the end unless one scrolled up.
const MOST_LINES = 3000;
const NEAR_END_PX = 24;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export class LogPanel {
  constructor(address) {
    const part = (name) => document.getElementById(`log${name}`);
    Object.assign(this, { address, box: part(""), list: part("-lines"), older: part("-older"), empty: part("-empty"), count: part("-count"), button: part("-follow"), find: part("-find") });
    Object.assign(this, { first: 0, last: 0, follows: true, more: false });
    this.box.addEventListener("scroll", () => this.setFollows(this.isAtEnd()));
    this.button.addEventListener("click", () => { this.setFollows(true); this.toEnd(); });
    this.older.addEventListener("click", () => this.loadOlder());
    this.find?.addEventListener("input", () => this.filter());
  }

  async load() {
    const { lines, more } = await this.fetch(0);
    this.add(lines);
    this.setMore(more);
  }

  async loadOlder() {
    this.older.disabled = true;
    const height = this.box.scrollHeight;
    const { lines, more } = await this.fetch(this.first);
    this.list.prepend(...lines.map((line) => this.row(line)));
    if (lines.length) this.first = lines[0].cursor;
    this.setMore(more);
    this.older.disabled = false;
    this.box.scrollTop += this.box.scrollHeight - height; // what one was reading stays where it was
    this.filter();
  }

  async fetch(before) {
    const answer = await fetch(`${this.address}?limit=500&before=${before}`);
    if (!answer.ok) throw new Error(`The log answered ${answer.status}`);
    return answer.json();
  }

  take(events) {
    this.add(events.filter(({ kind }) => kind === "log").map(({ cursor, at, data }) => ({ cursor, at, level: data.level || "info", text: data.text })));
  }

  add(lines) {
    const fresh = lines.filter(({ cursor }) => cursor > this.last);
    if (!fresh.length) return this.tell();
    this.first ||= fresh[0].cursor;
    this.last = fresh[fresh.length - 1].cursor;
    this.list.append(...fresh.map((line) => this.row(line)));
    if (this.follows) this.trim();
    this.filter();
    if (this.follows) this.toEnd();
    this.tell();
  }

  // Only while one follows the end: what one is reading never moves away.
  trim() {
    while (this.list.children.length > MOST_LINES) {
      this.list.firstElementChild.remove();
      this.first = Number(this.list.firstElementChild.dataset.cursor);
      this.setMore(true);
    }
  }

  row({ cursor, at, level, text }) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    item.className = level;
    item.dataset.cursor = cursor;
    time.dateTime = at;
    time.textContent = clock.format(new Date(at));
    item.append(time, ` ${text}`);
    return item;
  }

  filter() {
    const wanted = this.find?.value.trim().toLowerCase();
    if (wanted === undefined) return;
    for (const item of this.list.children) item.hidden = Boolean(wanted) && !item.textContent.toLowerCase().includes(wanted);
    this.tell();
  }

  tell() {
    const shown = this.list.querySelectorAll("li:not([hidden])").length;
    this.empty.hidden = this.list.children.length > 0;
    this.count.textContent = shown ? `${this.more ? "last " : ""}${shown.toLocaleString("en-US")} ${shown === 1 ? "line" : "lines"}` : "";
  }

  setMore(more) { this.more = more; this.older.hidden = !more; this.tell(); }
  setFollows(follows) { this.follows = follows; this.button.hidden = follows; }
  isAtEnd() { return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_END_PX; }
  toEnd() { this.box.scrollTop = this.box.scrollHeight; }
}
