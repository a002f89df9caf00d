// The order of a queue by hand: rows are dragged, or moved with their buttons; the server's answer is the new order.
(() => {
  "use strict";
  let dragged = null;

  const rows = () => document.getElementById("queue-rows");
  const rowOf = (event) => event.target.closest?.("tr[data-job]");

  function mark(row) {
    for (const other of document.querySelectorAll("tr.over")) if (other !== row) other.classList.remove("over", "below");
    if (!row || row === dragged) return;
    row.classList.add("over");
    row.classList.toggle("below", Number(row.dataset.place) > Number(dragged.dataset.place));
  }

  document.addEventListener("dragstart", (event) => {
    dragged = rowOf(event) ?? null;
    if (!dragged) return;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged.dataset.job);
    dragged.classList.add("dragged");
  });
  document.addEventListener("dragover", (event) => {
    const row = rowOf(event);
    if (!dragged || !row) return;
    event.preventDefault();
    mark(row);
  });
  document.addEventListener("drop", (event) => {
    const row = rowOf(event);
    if (!dragged || !row || row === dragged) return;
    event.preventDefault();
    const values = { job: dragged.dataset.job, position: row.dataset.place };
    dragged = null;
    window.htmx.ajax("POST", rows().dataset.moves, { target: "#queue-rows", swap: "outerHTML", values });
  });
  document.addEventListener("dragend", () => {
    dragged?.classList.remove("dragged");
    dragged = null;
    mark(null);
  });

  // A refresh would take the row out of one's hand; a button at its end stays where the keyboard is and does nothing.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (dragged && event.detail.requestConfig.verb === "get") event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[aria-disabled=true]")) event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const { requestConfig } = event.detail;
    if (requestConfig?.verb !== "post") return;
    const row = document.querySelector(`tr[data-job="${requestConfig.parameters.job}"]`);
    if (row) document.getElementById("moved").textContent = `${row.querySelector("a")?.textContent ?? "The job"} is number ${row.dataset.place} now.`;
  });
})();
