// What every page does: theme switch, local times and ages, dialogs, copy buttons, chosen files' names.
(() => {
  "use strict";
  const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const precise = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const dayAndClock = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const dayAndHour = new Intl.DateTimeFormat(undefined, { weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

  function age(moment) {
    let amount = Math.min(0, (moment - Date.now()) / 1000); // a clock that is ahead reads as "now"
    for (const [unit, size] of STEPS) {
      if (Math.abs(amount) < size) return unit === "second" && amount > -10 ? "just now" : relative.format(Math.trunc(amount), unit);
      amount /= size;
    }
    return "";
  }

  function localise(root) {
    for (const node of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(node.dateTime);
      if (isNaN(moment)) continue;
      const today = moment.toDateString() === new Date().toDateString();
      if ("age" in node.dataset) node.textContent = age(moment);
      else if ("clock" in node.dataset) node.textContent = (today ? clock : dayAndClock).format(moment);
      else if ("hour" in node.dataset) node.textContent = (today ? hour : dayAndHour).format(moment);
      else if ("local" in node.dataset) node.textContent = zoned.format(moment);
      else continue;
      node.title = precise.format(moment);
    }
  }

  function switchTheme() {
    const next = document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark";
    document.documentElement.dataset.bsTheme = next;
    try { localStorage.setItem("nibble-theme", next); } catch { /* private window: the choice lasts until the page is left */ }
    dispatchEvent(new Event("nibble:theme"));
  }

  function copyBySelection(text) {
    const area = document.createElement("textarea");
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copies);
    const text = source.value ?? source.textContent;
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyBySelection(text); // plain http on another machine than localhost has no clipboard interface
    const label = button.querySelector("span") || button;
    const before = label.textContent;
    label.textContent = "Copied";
    setTimeout(() => { label.textContent = before; }, 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-switch], [data-opens], [data-closes], [data-copies]");
    if (!button) return;
    if ("themeSwitch" in button.dataset) switchTheme();
    if (button.dataset.opens) document.getElementById(button.dataset.opens).showModal();
    if ("closes" in button.dataset) button.closest("dialog").close();
    if (button.dataset.copies) copy(button);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, pathInfo } = event.detail;
    if (!xhr.responseURL || new URL(xhr.responseURL).pathname === new URL(pathInfo.requestPath, location.href).pathname) return;
    event.detail.shouldSwap = false; // redirected to the sign-in page: signed out meanwhile
    location.reload();
  });
  let unfolded = []; // what one opened stays open through a refresh
  document.addEventListener("htmx:beforeSwap", () => { unfolded = [...document.querySelectorAll("details[id][open]")].map(({ id }) => id); });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
    localise(document); // with outerHTML the event's target is the node that went
  });
  for (const dialog of document.querySelectorAll("dialog[data-open-now]")) dialog.showModal(); // a form in it was refused
  localise(document);
  setInterval(() => localise(document), 10_000);
  window.nibble = { localise, age };
})();
