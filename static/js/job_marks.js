// Lines across the charts: where a later attempt went on, and where the plan was made smaller.
export class Marks {
  constructor({ lines, planned }) {
    this.lines = [...lines];
    this.planned = planned; // the first plan of all is no change of anything
  }

  take(events) {
    for (const { cursor, kind, data } of events) {
      if (kind === "replanned") this.lines.push({ cursor, step: data.from_step, label: "smaller passes" });
      if (kind === "plan") this.takePlan(cursor, data.resumed_from_step ?? 0);
    }
  }

  takePlan(cursor, step) {
    if (this.planned || step) this.lines.push({ cursor, step, label: step ? "goes on" : "begins anew" });
    this.planned = true;
  }

  // A dashed line and a small flag at its head, in the plot's own pixels.
  draw(plot, colour) {
    const { ctx, bbox } = plot;
    const [low, high] = [plot.scales.x.min, plot.scales.x.max];
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = devicePixelRatio;
    for (const { step } of this.lines) {
      if (step > high) continue;
      const x = Math.round(plot.valToPos(Math.max(step, low), "x", true)) + 0.5;
      ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.setLineDash([]);
      const side = 6 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x + side, bbox.top + side / 2);
      ctx.lineTo(x, bbox.top + side);
      ctx.fill();
    }
    ctx.restore();
  }

  // What the pointer's box says at this step.
  at(step) {
    return [...new Set(this.lines.filter((mark) => mark.step === step).map(({ label }) => label))];
  }
}
