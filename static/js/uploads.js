// Files on their way, each in a row with its progress: paused, gone on with (after a reload too), removed. They speak tus 1.0.
(() => {
  "use strict";
  const AT_ONCE = 2; // a browser opens six connections to a host, and the page wants some of them
  const RETRIES = [500, 1000, 2000, 4000, 8000, 15000, 30000, 30000, 60000]; // ms; counted anew whenever bytes got through
  const RATE_MS = 4000;
  const UNITS = ["B", "KiB", "MiB", "GiB"];

  function size(bytes) {
    let step = 0;
    while (bytes >= 1024 && step < UNITS.length - 1) { bytes /= 1024; step += 1; }
    return `${step && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[step]}`;
  }

  function duration(seconds) {
    if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  }

  function reasonOf(error) {
    try { return JSON.parse(error.originalResponse.getBody()).error.message; } catch { return "The server refused the file."; }
  }

  // One file. `state`: queued, sending, paused, broken (may go on), refused (may not), done.
  class Sending {
    constructor(box, file, limit) {
      this.box = box;
      this.file = file;
      this.marks = [];
      this.row = box.template.content.firstElementChild.cloneNode(true);
      this.part = (name) => this.row.querySelector(`[data-${name}]`);
      this.part("name").textContent = file.name;
      this.part("toggle").addEventListener("click", () => (this.state === "sending" || this.state === "queued" ? this.pause() : this.queue()));
      this.part("remove").addEventListener("click", () => this.remove());
      this.upload = new tus.Upload(file, {
        endpoint: box.door,
        headers: { "X-CSRFToken": box.token },
        metadata: { filename: file.name },
        retryDelays: RETRIES,
        onProgress: (sent, whole) => this.progressed(sent, whole),
        onSuccess: () => this.arrived(),
        onError: (error) => this.failed(error),
        onShouldRetry: (error) => this.mayRetry(error),
        onUploadUrlAvailable: () => this.box.known(this.upload.url),
      });
      if (file.size > limit) this.become("refused", `The file has ${size(file.size)}; up to ${size(limit)} are taken. Split it, or ask an administrator to raise the limit.`);
      else this.queue();
    }

    get id() { return this.upload.url.replace(/\/$/, "").split("/").pop(); }

    become(state, text) {
      this.state = this.row.dataset.state = state;
      this.part("text").textContent = text;
      const toggle = this.part("toggle"), moves = state === "sending" || state === "queued";
      toggle.hidden = state === "done" || state === "refused";
      toggle.querySelector("[data-pause]").hidden = !moves;
      toggle.querySelector("[data-resume]").hidden = moves;
      if (state === "done") this.part("bar").style.width = "100%";
      this.box.changed();
    }

    queue() { this.become("queued", "Waiting for its turn"); }

    async start() {
      this.marks = [];
      this.become("sending", "Starting…");
      if (!this.upload.url) {
        const before = await this.upload.findPreviousUploads();
        if (before.length) this.upload.resumeFromPreviousUpload(before[before.length - 1]);
      }
      if (this.state === "sending") this.upload.start();
    }

    pause() {
      this.upload.abort();
      this.become("paused", `Paused. ${this.sent ? `${size(this.sent)} of ${size(this.file.size)} sent.` : ""}`);
    }

    remove() {
      this.upload.abort(Boolean(this.upload.url)).catch(() => { /* the server forgets it by itself in a few days */ });
      this.row.remove();
      this.box.forget(this);
    }

    progressed(sent, whole) {
      const now = performance.now();
      this.sent = sent;
      this.marks = [...this.marks.filter((mark) => now - mark.at < RATE_MS), { at: now, sent }];
      const first = this.marks[0], rate = (1000 * (sent - first.sent)) / (now - first.at);
      this.part("bar").style.width = `${whole ? (100 * sent) / whole : 100}%`;
      const speed = now - first.at > 1000 && rate > 0 ? ` · ${size(rate)}/s · ${duration((whole - sent) / rate)} left` : "";
      if (this.state === "sending") this.part("text").textContent = `${size(sent)} of ${size(whole)}${speed}`;
    }

    arrived() { this.become("done", `${size(this.file.size)} · arrived`); }

    mayRetry(error) {
      const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
      const may = navigator.onLine && (status < 400 || status === 409 || status === 423 || status >= 500) && status !== 507;
      if (may) this.part("text").textContent = status === 423 ? "Being sent from another window already; waiting…" : "The connection broke. Trying again…";
      return may;
    }

    failed(error) {
      const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
      if (status === 401) this.become("broken", "You are signed out. Sign in in another window, then resume.");
      else if (status === 507 || status === 403) this.become("broken", reasonOf(error));
      else if (status >= 400 && status < 500 && status !== 409 && status !== 423) this.become("refused", reasonOf(error));
      else this.become("broken", `The connection broke. ${this.sent ? `What was sent (${size(this.sent)}) stays; resume to go on.` : "Resume to try again."}`);
    }
  }

  // The files of one form.
  class Box {
    constructor(form) {
      this.form = form;
      this.list = form.querySelector("[data-files]");
      this.template = form.querySelector("template[data-file]");
      this.door = new URL(this.list.dataset.door, location.href).href;
      this.token = form.querySelector("[name=csrfmiddlewaretoken]").value;
      this.sendings = [];
      this.waiting = null;
      addEventListener("online", () => this.sendings.filter((each) => each.state === "broken").forEach((each) => each.queue()));
      for (const button of form.querySelectorAll("[data-discards]")) {
        button.hidden = false;
        button.addEventListener("click", () => this.discard(button));
      }
    }

    add(files, limit) {
      for (const file of files) {
        const isThere = this.sendings.some(({ file: other }) => other.name === file.name && other.size === file.size && other.lastModified === file.lastModified);
        if (isThere) continue;
        const sending = new Sending(this, file, limit);
        this.sendings.push(sending);
        this.list.append(sending.row);
      }
      this.list.hidden = this.sendings.length === 0;
      this.changed();
    }

    forget(sending) {
      this.sendings = this.sendings.filter((each) => each !== sending);
      this.list.hidden = this.sendings.length === 0;
      this.changed();
    }

    known(url) { // shown as left from an earlier visit; now it goes on
      const id = url.replace(/\/$/, "").split("/").pop();
      this.form.querySelector(`[data-earlier="${id}"]`)?.remove();
    }

    changed() {
      let busy = this.sendings.filter((each) => each.state === "sending").length;
      for (const each of this.sendings) {
        if (busy < AT_ONCE && each.state === "queued") { busy += 1; each.start(); }
      }
      if (this.waiting && this.sendings.every((each) => each.state === "done")) this.waiting.resolve();
      if (this.waiting && this.sendings.some((each) => each.state === "refused")) this.waiting.reject(new Error("Remove the files that were refused, then try again."));
    }

    whenAllArrived() {
      return new Promise((resolve, reject) => {
        this.waiting = { resolve, reject };
        this.changed();
      }).finally(() => { this.waiting = null; });
    }

    get ids() { return this.sendings.map((each) => each.id); }

    async discard(button) {
      const reply = await fetch(button.dataset.discards, { method: "DELETE", headers: { "X-CSRFToken": this.token, "Tus-Resumable": "1.0.0" } });
      if (reply.ok || reply.status === 404 || reply.status === 410) button.closest("[data-earlier]").remove();
      else button.closest("[data-earlier]").querySelector("[data-text]").textContent = (await reply.json()).error.message;
    }

    async forgetUsed() { // else a file that is chosen again would look for an upload that is a dataset now
      const kept = await tus.defaultOptions.urlStorage.findAllUploads();
      const used = kept.filter((each) => this.ids.some((id) => (each.uploadUrl || "").includes(id)));
      await Promise.all(used.map((each) => tus.defaultOptions.urlStorage.removeUpload(each.urlStorageKey)));
    }
  }

  window.nibbleUploads = window.tus && tus.isSupported ? (form) => new Box(form) : null;
})();
