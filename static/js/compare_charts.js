// Curves of several jobs over each other: uPlot, one colour a job, by step, time or tokens.
import { duration, figure, rate, shortCount, size } from "./job_format.js";

const FONT = "11px Inter, system-ui, sans-serif";
const HUES = ["chart-loss", "chart-eval", "chart-memory", "chart-rate", "chart-speed", "chart-norm"];
const SMOOTHING = 0.85;
const BYTE_STEPS = Array.from({ length: 48 }, (_, power) => 2 ** power);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const hue = (job) => HUES[(job.place - 1) % HUES.length];
const short = (value) => Number(value.toPrecision(3)).toLocaleString("en-US");

const AXES = {
  step: { column: "step", tick: (value) => (Number.isInteger(value) ? value.toLocaleString("en-US") : ""), told: (value) => `step ${value.toLocaleString("en-US")}` },
  time: { column: "seconds", tick: timeTick, told: (value) => `after ${duration(value)}` },
  tokens: { column: "tokens", tick: shortCount, told: (value) => `${shortCount(value)} tokens` },
};
const CHARTS = [
  { name: "loss", part: "curve", column: "loss", write: figure, tick: short, mayLog: true, isSmoothed: true },
  { name: "memory", part: "memory", column: "bytes", write: size, tick: size, isBytes: true, fromZero: true },
  { name: "eval", part: "curve", column: "eval_loss", write: figure, tick: short, mayLog: true, hasDots: true },
  { name: "rate", part: "curve", column: "learning_rate", write: rate, tick: rate, fromZero: true },
];

function timeTick(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${(seconds / 60).toLocaleString("en-US", { maximumFractionDigits: 1 })} min`;
  return `${(seconds / 3600).toLocaleString("en-US", { maximumFractionDigits: 2 })} h`;
}

// Exponential mean without the bias of its start, as the job page draws it.
function smoothed(values) {
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    sum = sum * SMOOTHING + value * (1 - SMOOTHING);
    weight = weight * SMOOTHING + (1 - SMOOTHING);
    return sum / weight;
  });
}

// [x, y] of a job without holes, x rising: uPlot joins such tables by their x.
function points(chart, told, view) {
  const part = told?.[chart.part];
  const xs = part?.[AXES[view.by].column] ?? [];
  const kept = [[], []];
  xs.forEach((x, index) => {
    const y = part[chart.column][index];
    if (x === null || y === null || (kept[0].length && x <= kept[0].at(-1)) || (chart.mayLog && view.log && y <= 0)) return;
    kept[0].push(x);
    kept[1].push(y);
  });
  if (view.by === "tokens" && !kept[0].at(-1)) return [[], []]; // its trainer counts none
  return chart.isSmoothed && view.smooth ? [kept[0], smoothed(kept[1])] : kept;
}

export class CompareCharts {
  constructor(jobs, curves, view) {
    Object.assign(this, { jobs, curves, view, plots: new Map() });
    this.sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
      this.plots.get(target.id)?.setSize({ width: target.clientWidth, height: target.clientHeight });
    }));
    addEventListener("nibble:theme", () => this.rebuild());
  }

  draw() {
    let drawn = 0;
    for (const chart of CHARTS) {
      const tables = this.jobs.map((job) => points(chart, this.curves.get(job.id), this.view));
      const shown = this.jobs.filter((_, index) => tables[index][0].length);
      document.getElementById(`box-${chart.name}`).hidden = chart.name === "eval" && !shown.length;
      drawn += shown.length;
      this.put(chart, shown, tables.filter(([xs]) => xs.length));
    }
    document.getElementById("curves").hidden = !drawn;
    document.getElementById("curves-none").hidden = Boolean(drawn);
    this.tellMemory();
  }

  put(chart, shown, tables) {
    const box = document.getElementById(`curve-${chart.name}`);
    const plot = this.plots.get(box.id);
    const who = shown.map(({ id }) => id).join();
    if (!tables.length) { this.drop(box); return; }
    const data = uPlot.join(tables);
    if (plot && plot.who === who) { plot.setData(data); return; }
    this.drop(box);
    document.getElementById("curves").hidden = false; // before uPlot measures its box
    const made = new uPlot(this.options(chart, box, shown), data, box);
    made.who = who;
    this.plots.set(box.id, made);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    box.append(tip);
    this.sizes.observe(box);
  }

  drop(box) {
    this.plots.get(box.id)?.destroy();
    this.plots.delete(box.id);
    box.replaceChildren();
  }

  rebuild() {
    for (const chart of CHARTS) this.drop(document.getElementById(`curve-${chart.name}`));
    this.draw();
  }

  options(chart, box, shown) {
    const axis = { stroke: colour("muted"), font: FONT, grid: { stroke: colour("chart-grid"), width: 1 }, ticks: { show: false } };
    const isLog = chart.mayLog && this.view.log;
    const line = (job) => ({ label: job.name, stroke: colour(hue(job)), width: 2, spanGaps: true, points: { show: Boolean(chart.hasDots), size: 6, fill: colour(hue(job)) }, job });
    const y = isLog ? { distr: 3 } : chart.fromZero ? { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } : {};
    const written = (_, values) => values.map((value) => (value === null ? "" : chart.tick(value)));
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      legend: { show: false },
      scales: { x: { time: false }, y },
      cursor: { y: false, sync: { key: "curves" }, points: { size: 7 } },
      padding: [10, 14, 0, 0],
      axes: [{ ...axis, size: 28, space: 70, values: (_, values) => values.map(AXES[this.view.by].tick) }, { ...axis, size: chart.isBytes ? 64 : 56, space: 34, values: written, ...(chart.isBytes ? { incrs: BYTE_STEPS } : {}) }],
      series: [{}, ...shown.map(line)],
      hooks: { setCursor: [(plot) => this.tell(plot, chart, box)] },
    };
  }

  // What lies under the pointer: of each job the point that is nearest to its left.
  tell(plot, chart, box) {
    const tip = box.querySelector(".tip");
    const { idx, left } = plot.cursor;
    if (!tip) return;
    tip.hidden = idx === null || idx === undefined || left < 0;
    if (tip.hidden) return;
    const head = document.createElement("span");
    head.textContent = AXES[this.view.by].told(plot.data[0][idx]);
    tip.replaceChildren(head, ...plot.series.slice(1).map(({ job }, index) => told(job, valueAt(plot.data[index + 1], idx), chart.write)).filter(Boolean));
    tip.classList.toggle("leftwards", left > plot.over.clientWidth / 2);
    tip.style.left = `${left + plot.over.offsetLeft}px`;
  }

  tellMemory() {
    const kinds = new Set(this.jobs.map((job) => this.curves.get(job.id)).filter((one) => one?.memory.step.length).map((one) => one.memory_of));
    const title = kinds.size > 1 ? "Memory (GPU: allocated; CPU: resident)" : kinds.has("host") ? "Trainer memory (resident)" : "GPU memory (allocated)";
    document.getElementById("memory-title").textContent = title;
  }
}

function valueAt(values, idx) {
  for (let place = idx; place >= 0; place -= 1) if (values[place] !== null && values[place] !== undefined) return place === idx || hasLater(values, idx) ? values[place] : null;
  return null;
}

// A run that ended before this point has no value here.
const hasLater = (values, idx) => values.findIndex((value, place) => place > idx && value !== null && value !== undefined) >= 0;

function told(job, value, write) {
  if (value === null) return null;
  const row = document.createElement("span");
  const mark = document.createElement("i");
  mark.className = `dot hue-${job.place}`;
  row.append(mark, `${job.name} ${write(value)}`);
  return row;
}
