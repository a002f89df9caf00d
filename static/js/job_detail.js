// A job page comes to life: first its stored points and lines, then the socket from the cursor of the first paint on.
// window.nibbleJob = {cursor, metrics, marks} (read-only): the last event seen, the points and lines as plotted, for tests.
import { Charts } from "./job_charts.js";
import { JobFeed } from "./job_feed.js";
import { LogPanel } from "./job_log.js";
import { Marks } from "./job_marks.js";
import { Series } from "./job_series.js";
import { refresh, showProgress, tick } from "./job_head.js";

const job = JSON.parse(document.getElementById("job-live").textContent);
const QUIET = new Set(["metrics", "memory", "log"]); // everything else may change what the page is made of
const QUEUE_LOOK_MS = 10_000;
const LABELS = { connecting: "connecting", live: "live", reconnecting: "reconnecting", refused: "too many open pages; trying again" };

const series = new Series();
series.estimate = job.estimate;
const log = document.getElementById("log") && new LogPanel(job.log);
const marks = new Marks(job.marks || { lines: [], planned: true });
const charts = document.getElementById("charts") && new Charts(series, marks, { hasEnded: job.ended });
let ready = false;
const early = []; // messages that arrive before the stored points do
let refreshing;

window.nibbleJob = Object.freeze({
  get cursor() { return Math.max(series.cursor, ready ? feed.cursor : 0); },
  get metrics() { return structuredClone(series.metrics); },
  get marks() { return structuredClone(marks.lines); },
});

function soonRefresh() {
  clearTimeout(refreshing);
  refreshing = setTimeout(() => refresh().catch(() => {}), 150); // several events of one moment are one look
}

function take(message) {
  if (!ready) { early.push(message); return; }
  log?.take(message.events);
  marks.take(message.events);
  series.estimate = message.progress.estimated_peak_bytes ?? null;
  if (charts && series.take(message.events)) charts.redraw();
  if (charts && series.hasNewMeasures) loadAnew();
  if (message.events.some(({ kind }) => kind === "plan")) job.peak = 0; // a plan begins a measurement of its own
  showProgress(message.progress);
  if (peakRose(message.progress.memory)) soonRefresh();
  const moved = message.status !== job.status;
  job.status = message.status;
  if (moved || message.events.some(({ kind }) => !QUIET.has(kind))) soonRefresh();
  if (moved && ["succeeded", "failed", "cancelled"].includes(message.status)) finish();
}

// The estimate is held against the peak on the server: asked again when there is one per cent more to say, which is seldom.
function peakRose(memory) {
  const peak = memory?.cuda_peak_bytes ?? 0;
  if (peak <= job.peak * 1.01) return false;
  job.peak = peak;
  return true;
}

function showState(state) {
  const live = document.getElementById("live");
  if (!live) return;
  live.dataset.state = state;
  live.lastElementChild.textContent = LABELS[state];
}

function finish() {
  feed.end();
  document.getElementById("live")?.remove();
}

const feed = new JobFeed({
  id: job.id,
  cursor: job.cursor,
  onEvents: take,
  onState: showState,
  onShut: () => location.reload(), // signed out or gone: the server says it in words
  onLost: () => refresh().catch(() => {}),
});

async function loadPoints() {
  series.hasNewMeasures = false; // asked for now: events that come meanwhile do not ask again
  const answer = await fetch(job.series);
  if (!answer.ok) throw new Error(`The points answered ${answer.status}`);
  series.load(await answer.json());
  charts.draw();
}

// What arrives meanwhile waits, as on the first load: the columns that come are older than it.
async function loadAnew() {
  ready = false;
  await loadPoints().catch(() => {});
  ready = true;
  early.splice(0).forEach(take);
}

async function loadStored() {
  if (charts) await loadPoints();
  await log?.load();
}

async function start() {
  for (let pause = 1000; ; pause = Math.min(30_000, pause * 2)) {
    try { await loadStored(); break; } catch { await new Promise((done) => setTimeout(done, pause)); }
  }
  ready = true;
  document.documentElement.dataset.job = "ready";
  early.splice(0).forEach(take);
}

if (!job.ended) {
  feed.open();
  setInterval(() => { if (job.status === "queued" && !document.hidden) soonRefresh(); }, QUEUE_LOOK_MS);
}
setInterval(tick, 1000);
tick();
start();
