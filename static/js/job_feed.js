// The socket of a job page. It knows the last event it has seen, so that a lost connection leaves no gap and no double.
const SHORTEST_MS = 1000;
const LONGEST_MS = 30_000;

export class JobFeed {
  // onEvents(message): new events only. onState("connecting" | "live" | "reconnecting" | "refused"). onShut(code): do not come back.
  constructor({ id, cursor, onEvents, onState, onShut, onLost }) {
    Object.assign(this, { id, cursor, onEvents, onState, onShut, onLost, failures: 0, ended: false });
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.hurry(); });
  }

  open() {
    if (this.ended) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = (this.socket = new WebSocket(`${scheme}://${location.host}/ws/jobs/${this.id}/?after=${this.cursor}`));
    socket.onopen = () => { this.failures = 0; this.onState("live"); };
    socket.onmessage = (message) => this.take(JSON.parse(message.data));
    socket.onclose = (event) => this.closed(event.code);
  }

  take(message) {
    const fresh = message.events.filter((event) => event.cursor > this.cursor);
    this.cursor = Math.max(this.cursor, message.cursor);
    this.onEvents({ ...message, events: fresh });
  }

  closed(code) {
    if (this.ended) return;
    if (code === 4401 || code === 4404) { this.end(); this.onShut(code); return; }
    this.onState(code === 4429 ? "refused" : "reconnecting");
    if (++this.failures > 1) this.onLost(); // a refused handshake says no reason; the page may know it
    const pause = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** (this.failures - 1));
    this.timer = setTimeout(() => { this.timer = 0; this.open(); }, pause * (0.5 + Math.random() / 2)); // spread: a restart loses everyone at once
  }

  hurry() {
    if (!this.timer || this.ended) return;
    clearTimeout(this.timer);
    this.timer = 0;
    this.open();
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }
}
