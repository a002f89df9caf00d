// Statistics of a dataset: what the movable max-length line would cut. Without scripts the first figures stand.
(() => {
  "use strict";
  for (const form of document.querySelectorAll("[data-choose]")) form.addEventListener("change", () => form.requestSubmit());
  const data = document.getElementById("lengths"), panel = document.querySelector("[data-lengths]");
  if (!data || !panel) return;
  const counted = JSON.parse(data.textContent), BIN = 1024;
  const line = panel.querySelector("[data-line]"), exact = panel.querySelector("[data-exact]"), bars = [...panel.querySelectorAll("rect")];
  const batch = document.querySelector("[data-batch]"), batchLength = batch.querySelector("[name=max_length]");
  const number = (value) => Math.round(value).toLocaleString("en");
  const say = (name, text) => { const place = panel.querySelector(`[data-${name}]`); if (place.textContent !== text) place.textContent = text; };

  function fromOf(counts) { // how many there are at a place and after it
    const after = new Float64Array(counts.exact.length + 1), beyond = counts.beyond;
    for (let place = counts.exact.length - 1; place >= 0; place -= 1) after[place] = after[place + 1] + counts.exact[place];
    return (place) => after[Math.min(Math.max(place, 0), counts.exact.length)] + beyond.reduce((sum, [start, count]) => sum + (start + BIN > place ? count : 0), 0);
  }
  const longer = fromOf(counted.lengths), trained = fromOf(counted.trained_at), begins = fromOf(counted.first_trained);

  function share(part) { // 1.9 %, and never 0 % for something
    const percent = 100 * part;
    if (percent <= 0) return "0 %";
    if (percent < 0.1) return "under 0.1 %";
    return percent > 99.9 && percent < 100 ? "over 99.9 %" : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
  }

  function tell(length) {
    const cut = longer(length + 1), emptied = begins(length);
    const rows = cut ? `${number(cut)} ${cut === 1 ? "row" : "rows"} (${share(cut / counted.rows)}) would be cut,` : "No row would be cut.";
    const lost = cut ? `${share(trained(length) / Math.max(counted.trained_tokens, 1))} of trained tokens lost.` : "";
    say("cut-rows", rows);
    say("cut-lost", lost + (cut && emptied > 0 ? ` ${number(emptied)} of them would keep no trained token and be left out.` : ""));
    line.setAttribute("aria-valuetext", `${number(length)} tokens. ${rows} ${lost}`.trim());
    for (const bar of bars) bar.classList.toggle("cut", Number(bar.dataset.low) > length);
  }

  let later = 0;
  function tellBatch(length) { // asked of the server once the line rests
    if (Number(batchLength.value) === length) return;
    batchLength.value = length;
    clearTimeout(later);
    later = setTimeout(() => window.htmx.trigger(batch, "told"), 250);
  }

  function set(length, from) {
    const whole = Math.max(8, Math.round(length));
    if (from !== line) line.value = whole;
    if (from !== exact) exact.value = whole;
    tell(whole);
    tellBatch(whole);
  }

  line.addEventListener("input", () => set(Number(line.value), line));
  exact.addEventListener("input", () => { if (exact.value) set(Number(exact.value), exact); });
  for (const button of panel.querySelectorAll("[data-sets]")) button.addEventListener("click", () => set(Number(button.dataset.sets)));
  set(Number(exact.value), exact);
})();
