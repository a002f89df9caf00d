// The charts: uPlot in the page's colours, redrawn at most once a frame and rebuilt when the theme changes.
import { duration, figure, rate, shortCount, size } from "./job_format.js";

const FONT = "11px Inter, system-ui, sans-serif";
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function fade(name) {
  return (plot) => {
    const { top, height } = plot.bbox;
    if (!height) return "transparent"; // uPlot asks once before it has laid itself out
    const gradient = plot.ctx.createLinearGradient(0, top, 0, top + height);
    gradient.addColorStop(0, `${colour(name)}55`);
    gradient.addColorStop(1, `${colour(name)}00`);
    return gradient;
  };
}

function timeTick(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${(seconds / 60).toLocaleString("en-US", { maximumFractionDigits: 1 })} min`;
  return `${(seconds / 3600).toLocaleString("en-US", { maximumFractionDigits: 2 })} h`;
}
const short = (value) => Number(value.toPrecision(4)).toLocaleString("en-US");
const line = (label, name, value, more = {}) => ({ label, stroke: colour(name), width: 2, spanGaps: true, value, points: { size: 5, fill: colour(name) }, ...more });
const area = (label, name, value, more = {}) => line(label, name, value, { fill: fade(name), ...more });

const MEMORY_LINES = [
  ["cuda_allocated_bytes", "allocated", "chart-memory", true],
  ["cuda_reserved_bytes", "reserved", "chart-memory-2", false],
  ["cuda_peak_bytes", "peak", "chart-memory-3", false],
  ["card_used_bytes", "card in use", "chart-eval", false],
];

function memoryLines({ memory, estimate }) {
  const has = (name) => memory[name].some((value) => value !== null);
  const cuda = MEMORY_LINES.filter(([name]) => has(name));
  if (!cuda.length) return [["rss_bytes", "resident", "chart-memory", true]];
  return estimate ? [...cuda, ["estimate", "estimated peak", "chart-rate", false]] : cuda;
}

// Each chart: where it stands, its columns, its series, how it writes x and y.
function chartsOf(series) {
  const { metrics, memory } = series;
  const lines = memoryLines(series);
  const steps = (column) => [metrics.step, metrics[column]];
  return [
    { at: "chart-loss", data: () => [metrics.step, metrics.loss, series.smoothedLoss(), metrics.eval_loss], y: figure, tick: short, series: () => [
      line("train", "chart-loss", figure, { width: 1, stroke: `${colour("chart-loss")}70` }),
      area("smoothed", "chart-loss", figure),
      line("evaluation", "chart-eval", figure, { points: { show: true, size: 6, fill: colour("chart-eval") } }),
    ] },
    { at: "chart-memory", data: () => [series.memorySeconds(), ...lines.map(([name]) => memory[name] ?? memory.at.map(() => series.estimate))], y: size, byTime: true, bytes: true, fromZero: lines.length === 1,
      series: () => lines.map(([what, label, name, filled]) => (filled ? area : line)(label, name, size, what === "estimate" ? { dash: [6, 5], width: 1.5, points: { show: false } } : {})) },
    { at: "chart-rate", data: () => steps("learning_rate"), y: rate, fromZero: true, series: () => [area("learning rate", "chart-rate", rate)] },
    { at: "chart-norm", data: () => steps("grad_norm"), y: figure, tick: short, fromZero: true, series: () => [area("gradient norm", "chart-norm", figure)] },
    { at: "chart-speed", data: () => steps("tokens_per_second"), y: figure, tick: shortCount, fromZero: true, series: () => [area("tokens/s", "chart-speed", figure)] },
    ...series.measureCharts.map((chart) => measureChart(chart, series)),
  ];
}

function measureChart({ key, lines, is_share: isShare }, series) {
  const write = isShare ? (value) => `${(value * 100).toFixed(1)} %` : figure;
  const dots = (label, name) => (label.includes("evaluation") ? { width: 1, points: { show: true, size: 6, fill: colour(name) } } : {});
  return {
    at: `measure-${key}`, y: write, tick: isShare ? (value) => `${Math.round(value * 100)} %` : short, range: isShare ? [0, 1.02] : null,
    data: () => [series.metrics.step, ...lines.map(([name]) => series.measures[name])],
    series: () => lines.map(([, label, name]) => line(label, name, write, dots(label, name))),
  };
}

function keyOf(label, hue) {
  const key = document.createElement("span");
  const mark = document.createElement("i");
  key.className = "key";
  mark.style.background = `var(--${hue})`;
  key.append(mark, label);
  return key;
}

// One panel a chart, made when there is something to draw: an objective that tells nothing more leaves no empty box.
function panelFor({ key, title, sentence, lines }) {
  if (document.getElementById(`measure-${key}`)) return;
  const panel = document.createElement("section");
  panel.className = "panel";
  const [head, name, legend, words, box] = ["div", "h3", "span", "p", "div"].map((tag) => document.createElement(tag));
  head.className = "panel-head";
  name.textContent = title;
  legend.className = "chart-key";
  if (lines.length > 1) legend.append(...lines.filter(([, label]) => !label.endsWith(", evaluation")).map(([, label, hue]) => keyOf(label, hue)));
  if (lines.some(([, label]) => label.endsWith(", evaluation"))) legend.append("(dots: evaluation)");
  words.className = "muted measure-words";
  words.textContent = sentence;
  box.className = "chart";
  box.id = `measure-${key}`;
  head.append(name, legend);
  panel.append(head, words, box);
  document.getElementById("measures").append(panel);
}

function options(chart, box, marks) {
  const axis = { stroke: colour("muted"), font: FONT, grid: { stroke: colour("chart-grid"), width: 1 }, ticks: { show: false } };
  const x = chart.byTime ? (_, values) => values.map(timeTick) : (_, values) => values.map((value) => (Number.isInteger(value) ? value.toLocaleString("en-US") : ""));
  return {
    width: box.clientWidth,
    height: box.clientHeight,
    legend: { show: false },
    scales: { x: { time: false }, y: chart.range ? { range: chart.range } : chart.fromZero ? { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } : {} },
    cursor: { y: false, points: { size: 7 }, ...(chart.byTime ? {} : { sync: { key: "steps" } }) },
    padding: [10, 14, 0, 0],
    axes: [{ ...axis, values: x, size: 28, space: chart.byTime ? 84 : 60, ...(chart.byTime ? { incrs: TIME_STEPS } : {}) }, { ...axis, size: chart.bytes ? 64 : 52, space: 34, values: (_, values) => values.map((value) => (value === null ? "" : (chart.tick || chart.y)(value))), ...(chart.bytes ? { incrs: BYTE_STEPS } : {}) }],
    series: [{}, ...chart.series()],
    hooks: { setCursor: [(plot) => tell(plot, chart, box, marks)], draw: chart.byTime ? [] : [(plot) => marks.draw(plot, colour("muted"))] },
  };
}

const BYTE_STEPS = Array.from({ length: 48 }, (_, power) => 2 ** power);
const TIME_STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800];

// What lies under the pointer, in a small box beside it.
function tell(plot, chart, box, marks) {
  const tip = box.querySelector(".tip");
  const { idx, left } = plot.cursor;
  if (!tip) return;
  tip.hidden = idx === null || idx === undefined || left < 0;
  if (tip.hidden) return;
  const x = plot.data[0][idx];
  const rows = plot.series.slice(1).map((one, index) => [one.label, plot.data[index + 1][idx]]).filter(([, value]) => value !== null && value !== undefined);
  tip.replaceChildren(...[chart.byTime ? `after ${duration(x)}` : [`step ${x.toLocaleString("en-US")}`, ...marks.at(x)].join(", "), ...rows.map(([label, value]) => `${label} ${chart.y(value)}`)].map((text) => {
    const row = document.createElement("span");
    row.textContent = text;
    return row;
  }));
  tip.classList.toggle("leftwards", left > plot.over.clientWidth / 2);
  tip.style.left = `${left + plot.over.offsetLeft}px`;
}

export class Charts {
  constructor(series, marks, { hasEnded }) {
    Object.assign(this, { series, marks, hasEnded });
    this.plots = new Map();
    this.sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
      this.plots.get(target.id)?.setSize({ width: target.clientWidth, height: target.clientHeight });
    }));
    addEventListener("nibble:theme", () => this.rebuild());
  }

  // Many messages in one frame are one drawing.
  redraw() {
    this.waiting ??= requestAnimationFrame(() => { this.waiting = undefined; this.draw(); });
  }

  draw() {
    if (!this.series.metrics.step.length && (this.hasEnded || !this.series.memory.at.length)) return;
    document.getElementById("figures").hidden = false; // before uPlot measures its boxes
    this.series.measureCharts.forEach(panelFor);
    for (const chart of chartsOf(this.series)) {
      const data = chart.data();
      if (!data.slice(1).some((column) => column.some((value) => value !== null))) continue;
      const plot = this.plots.get(chart.at);
      if (plot && plot.series.length === data.length) plot.setData(data);
      else this.build(chart, data);
    }
    this.tellMemoryLines();
    document.getElementById("mark-key").hidden = !this.marks.lines.length;
  }

  build(chart, data) {
    const box = document.getElementById(chart.at);
    this.plots.get(chart.at)?.destroy();
    box.replaceChildren();
    this.plots.set(chart.at, new uPlot(options(chart, box, this.marks), data, box));
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    box.append(tip);
    this.sizes.observe(box);
  }

  rebuild() {
    for (const plot of this.plots.values()) plot.destroy();
    this.plots.clear();
    this.draw();
  }

  tellMemoryLines() {
    if (!this.series.memory.at.length) return;
    const lines = memoryLines(this.series);
    const isGpu = lines[0][0] !== "rss_bytes";
    document.getElementById("memory-heading").textContent = isGpu ? "GPU memory" : "Trainer memory";
    document.getElementById("memory-legend").replaceChildren(...lines.map(([, label, name]) => keyOf(label, name)));
  }
}
