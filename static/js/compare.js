// The Compare page comes to life: curves of the jobs over each other; while one of them runs, figures and curves are fetched anew.
// window.nibbleCompare = {curves, view} (read-only): what is drawn, for tests.
import { CompareCharts } from "./compare_charts.js";
import { refresh } from "./job_head.js";

const EVERY_MS = 5000;
const { jobs, view } = JSON.parse(document.getElementById("comparison").textContent);
const curves = new Map();
const charts = new CompareCharts(jobs, curves, view);

window.nibbleCompare = Object.freeze({
  get curves() { return Object.fromEntries(structuredClone(curves)); },
  get view() { return { ...view }; },
});

async function load(job) {
  const answer = await fetch(job.curves);
  if (answer.redirected || answer.status === 404) { location.reload(); return; } // signed out, or gone: the server says it in words
  if (answer.ok) curves.set(job.id, await answer.json());
}

async function loadAll(wanted) {
  await Promise.all(wanted.map((job) => load(job).catch(() => {})));
  charts.draw();
  document.documentElement.dataset.compare = "ready";
}

// A reload shows the same curves: the address keeps how they are drawn.
function keep() {
  const words = new URLSearchParams(location.search);
  const put = (name, value) => (value ? words.set(name, value) : words.delete(name));
  put("by", view.by === "step" ? "" : view.by);
  put("log", view.log ? "1" : "");
  put("smooth", view.smooth ? "" : "0");
  history.replaceState(null, "", `${location.pathname}?${words.toString().replaceAll("%2C", ",")}`);
  show();
  charts.rebuild();
}

function show() {
  for (const choice of document.querySelectorAll("input[name=axis]")) choice.checked = choice.value === view.by;
  document.getElementById("curves-log").checked = view.log;
  document.getElementById("curves-smooth").checked = view.smooth;
}

for (const choice of document.querySelectorAll("input[name=axis]")) choice.addEventListener("change", () => { view.by = choice.value; keep(); });
document.getElementById("curves-log").addEventListener("change", ({ target }) => { view.log = target.checked; keep(); });
document.getElementById("curves-smooth").addEventListener("change", ({ target }) => { view.smooth = target.checked; keep(); });

async function look() {
  const running = jobs.filter(({ ended }) => !ended);
  if (!running.length || document.hidden) return;
  const fresh = await refresh(); // asks first: whoever ends meanwhile has its last points fetched after its end
  await loadAll(running);
  const told = fresh && fresh.getElementById("comparison");
  if (told) for (const { id, ended } of JSON.parse(told.textContent).jobs) jobs.find((job) => job.id === id).ended = ended;
}

show();
loadAll(jobs);
if (jobs.some(({ ended }) => !ended)) setInterval(() => look().catch(() => {}), EVERY_MS);
