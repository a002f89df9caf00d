// Several jobs of the list at once: what is selected stays selected while the rows are refreshed, and a bar says how many.
(() => {
  "use strict";
  const bar = document.getElementById("selected");
  const chosen = new Set();
  const boxes = () => [...document.querySelectorAll("input[name=job][form=selected]")];

  function show() {
    bar.hidden = !chosen.size;
    document.getElementById("selected-count").textContent = chosen.size.toLocaleString("en-US");
    const all = document.getElementById("pick-all");
    if (!all) return;
    all.checked = chosen.size > 0 && boxes().every((box) => box.checked);
    all.indeterminate = chosen.size > 0 && !all.checked;
  }

  // A job that ended meanwhile has no box any more, and nothing is left to do to it.
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
