// Several jobs of the list at once: what is selected stays selected while the rows are refreshed, and a bar says how many.
(() => {
  "use strict";
  const bar = document.getElementById("selected");
  const chosen = new Set();
  const MOST_COMPARED = 6;
  const boxes = () => [...document.querySelectorAll("input[name=job][form=selected]")];

  function show() {
    bar.hidden = !chosen.size;
    document.getElementById("selected-count").textContent = chosen.size.toLocaleString("en-US");
    showActions();
    const all = document.getElementById("pick-all");
    if (!all) return;
    all.checked = chosen.size > 0 && boxes().every((box) => box.checked);
    all.indeterminate = chosen.size > 0 && !all.checked;
  }

  // Comparing is for two to six, whatever they do; stopping for those that have not ended and are the reader's to stop.
  function showActions() {
    const compare = document.getElementById("selected-compare");
    const few = chosen.size < 2;
    const numbers = [...chosen].map(Number).sort((one, other) => one - other);
    allow(compare, !few && chosen.size <= MOST_COMPARED, few ? "Select two to six jobs to compare them." : "Six jobs are the most that stand side by side.");
    if (compare.hasAttribute("aria-disabled")) compare.removeAttribute("href");
    else compare.href = `${compare.dataset.address}?jobs=${numbers.join(",")}`;
    const stoppable = boxes().some((box) => box.checked && box.hasAttribute("data-stoppable"));
    for (const button of bar.querySelectorAll("[data-stops]")) {
      allow(button, stoppable, "None of the selected jobs is yours to stop, or all of them have ended.");
      button.disabled = !stoppable;
    }
  }

  function allow(control, isOpen, why) {
    control.toggleAttribute("aria-disabled", !isOpen);
    if (!isOpen) control.setAttribute("aria-disabled", "true");
    control.title = isOpen ? "" : why;
  }

  // A job that is not on this page any more is not selected any more.
  function restore() {
    const there = boxes();
    const values = new Set(there.map((box) => box.value));
    for (const value of chosen) if (!values.has(value)) chosen.delete(value);
    for (const box of there) box.checked = chosen.has(box.value);
    show();
  }

  function pick(box) {
    if (box.checked) chosen.add(box.value);
    else chosen.delete(box.value);
  }

  document.addEventListener("change", ({ target }) => {
    if (target.id === "pick-all") for (const box of boxes()) { box.checked = target.checked; pick(box); }
    else if (target.matches("input[name=job][form=selected]")) pick(target);
    else return;
    show();
  });
  document.getElementById("selected-all").addEventListener("click", () => {
    for (const box of boxes()) { box.checked = true; pick(box); }
    show();
  });
  document.getElementById("selected-none").addEventListener("click", () => { chosen.clear(); restore(); });
  document.addEventListener("htmx:afterSwap", restore);
  addEventListener("pageshow", () => { for (const box of boxes()) pick(box); show(); }); // the browser fills boxes in on "back"
})();
