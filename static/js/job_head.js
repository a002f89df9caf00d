// The figures above the charts: set from the progress that each socket message carries. Structure comes from the server (refresh).
import { duration, figure, grouped, rate, shortCount, size } from "./job_format.js";

const set = (name, text) => {
  for (const node of document.querySelectorAll(`[data-live="${name}"]`)) if (node.textContent !== text) node.textContent = text;
};

export function showProgress(progress) {
  const plain = { loss: figure, learning_rate: rate, grad_norm: figure, tokens_per_second: figure, seconds_left: duration };
  for (const [name, write] of Object.entries(plain)) if (progress[name] !== undefined) set(name, write(progress[name]));
  if (progress.step !== undefined) set("step", grouped(progress.step, 0));
  if (progress.max_steps) set("max_steps", grouped(progress.max_steps, 0));
  if (progress.epoch !== undefined) set("epoch", progress.epoch.toFixed(2));
  if (progress.tokens_seen) set("tokens_seen", `${shortCount(progress.tokens_seen)} tokens seen`);
  if (progress.phase) set("phase", progress.phase[0].toUpperCase() + progress.phase.slice(1));
  if (progress.detail !== undefined) set("detail", progress.detail);
  showLossChange(progress);
  showMemory(progress.memory);
  showBar(progress);
}

function showLossChange({ loss, first_loss: first }) {
  const change = loss === undefined || first === undefined ? null : loss - first;
  for (const node of change === null ? [] : document.querySelectorAll('[data-live="loss_change"]')) {
    const mark = document.createElement("span");
    mark.className = change <= 0 ? "good" : "warn";
    mark.textContent = `${change <= 0 ? "▼" : "▲"} ${figure(Math.abs(change))} since start`;
    node.replaceChildren(mark);
  }
}

function showMemory(memory) {
  if (!memory) return;
  const isGpu = memory.cuda_allocated_bytes !== undefined;
  set("memory_title", isGpu ? "GPU memory" : "Trainer memory (resident)");
  set("memory", size(isGpu ? memory.cuda_allocated_bytes : memory.rss_bytes));
  const card = memory.card_total_bytes ? `card ${size(memory.card_used_bytes)} of ${size(memory.card_total_bytes)}` : "";
  const lines = isGpu ? [`peak ${size(memory.cuda_peak_bytes)}`, `reserved ${size(memory.cuda_reserved_bytes)}`, card] : ["the job runs on the CPU"];
  for (const node of document.querySelectorAll('[data-live="memory_more"]')) {
    node.replaceChildren(...lines.filter(Boolean).flatMap((text, index) => (index ? [document.createElement("br"), text] : [text])));
  }
}

function showBar({ step, max_steps: steps }) {
  const bar = document.querySelector('[data-live="bar"]');
  if (!bar || !steps) return;
  const percent = Math.min(100, (100 * (step || 0)) / steps);
  bar.style.width = `${percent.toFixed(2)}%`;
  bar.parentElement.setAttribute("aria-valuenow", percent.toFixed(0));
}

// What has been going on since data-since, in seconds that tick.
export function tick() {
  for (const node of document.querySelectorAll("[data-since]")) {
    node.textContent = duration(Math.max(0, (Date.now() - Date.parse(node.dataset.since)) / 1000));
  }
}

const isChosenIn = (part) => document.activeElement?.tagName === "SELECT" && part.contains(document.activeElement);

// Fetches this page anew and replaces the parts marked data-refresh. Returns the fresh document, if there was one.
export async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected || answer.status === 403 || answer.status === 404) { location.reload(); return null; }
  if (!answer.ok) return null;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-refresh]")) {
    const next = fresh.getElementById(old.id);
    if (!next || old.querySelector("dialog[open], :popover-open") || isChosenIn(old)) continue; // a question that is being answered stays
    const opened = [...old.querySelectorAll("details")].map((node) => node.open);
    old.replaceWith(document.adoptNode(next));
    next.querySelectorAll("details").forEach((node, index) => { node.open = opened[index] ?? node.open; });
    window.nibble.localise(next);
  }
  tick();
  return fresh;
}
