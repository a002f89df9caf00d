// The points of the charts in columns, as they are plotted. A later attempt wins: where it goes on, what was told of later steps goes.
const METRICS = ["step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second"];
const MEMORY = ["step", "at", "rss_bytes", "cuda_allocated_bytes", "cuda_reserved_bytes", "cuda_peak_bytes", "card_used_bytes"];
const SMOOTHING = 0.9;

export class Series {
  constructor() {
    this.cursor = 0;
    this.metrics = Object.fromEntries(METRICS.map((name) => [name, []]));
    this.memory = Object.fromEntries(MEMORY.map((name) => [name, []]));
    this.measures = {}; // columns beside metrics.step: what else the objective tells
    this.measureCharts = [];
    this.hasNewMeasures = false; // told of one for which the server has not said how to draw it
    this.estimate = null; // bytes that the plan's peak was estimated at
  }

  load({ cursor, metrics, memory, measures, measure_charts: measureCharts }) {
    Object.assign(this, { cursor, metrics, memory, measures, measureCharts, hasNewMeasures: false });
  }

  // Returns whether a chart changed. Events up to `cursor` are in the columns already.
  take(events) {
    const fresh = events.filter((event) => event.cursor > this.cursor);
    for (const { kind, data, at } of fresh) {
      if (kind === "plan") this.forgetAfter(data.resumed_from_step ?? 0);
      if (kind === "metrics") this.addMetrics(data);
      if (kind === "memory") this.addMemory(data, Date.parse(at));
    }
    if (fresh.length) this.cursor = fresh[fresh.length - 1].cursor;
    return fresh.some(({ kind }) => kind === "metrics" || kind === "memory" || kind === "plan" || kind === "replanned");
  }

  // A plan says where its trainer begins: at a checkpoint, or before step 1.
  forgetAfter(step) {
    let kept = this.metrics.step.length;
    while (kept > 0 && (!step || this.metrics.step[kept - 1] > step)) kept -= 1;
    for (const name of METRICS) this.metrics[name].length = kept;
    for (const column of Object.values(this.measures)) column.length = kept;
  }

  addMetrics(point) {
    const steps = this.metrics.step;
    let place = steps.length;
    while (place > 0 && steps[place - 1] >= point.step) place -= 1;
    const isNew = steps[place] !== point.step;
    for (const name of METRICS) {
      const value = point[name] ?? null;
      if (isNew) this.metrics[name].splice(place, 0, value);
      else if (value !== null) this.metrics[name][place] = value;
    }
    this.addMeasures(point.measures ?? {}, place, isNew);
  }

  addMeasures(told, place, isNew) {
    for (const [name, column] of Object.entries(this.measures)) {
      if (isNew) column.splice(place, 0, told[name] ?? null);
      else if (told[name] !== undefined) column[place] = told[name];
    }
    if (Object.keys(told).some((name) => !(name in this.measures))) this.hasNewMeasures = true;
  }

  addMemory(sample, at) {
    for (const name of MEMORY) this.memory[name].push(name === "at" ? at : sample[name] ?? null);
  }

  // Exponential mean without the bias of its start, as TensorBoard draws it.
  smoothedLoss() {
    let sum = 0;
    let weight = 0;
    return this.metrics.loss.map((loss) => {
      if (loss === null) return null;
      sum = sum * SMOOTHING + loss * (1 - SMOOTHING);
      weight = weight * SMOOTHING + (1 - SMOOTHING);
      return sum / weight;
    });
  }

  // Seconds since the first sample; workers' clocks may differ between attempts, the axis only goes forward.
  memorySeconds() {
    let latest = 0;
    const start = this.memory.at[0];
    return this.memory.at.map((at) => (latest = Math.max(latest, (at - start) / 1000)));
  }
}
