// The Run preview: redrawn with each change. Its clicks change settings; what it found wrong is said at the fields too.
import { controlOf, setControls, tell } from "./job_controls.js";

const form = document.getElementById("job-form");
const preview = document.getElementById("preview");
const EMPTY_AT_FIRST = ["name", "base_model", "dataset_version", "pool"]; // being empty is no mistake before one has been there
const visited = new Set();

function fieldOf(name) {
  return controlOf(name)?.closest(".field, .choices");
}

// Not while one is still typing there, and not for what nobody has come to yet.
function isSaid(name) {
  const control = controlOf(name);
  if (!control || control.type === "hidden") return false;
  if (control === document.activeElement && control.tagName === "INPUT" && !visited.has(name)) return false;
  return visited.has(name) || Boolean(control.value) || !EMPTY_AT_FIRST.includes(name);
}

function sayProblems() {
  const problems = new Map([...preview.querySelectorAll(".problems [data-path]")].map((item) => [item.dataset.path, item.dataset.sentence]));
  for (const error of form.querySelectorAll(".field > .error, .choices > .error")) error.remove();
  for (const field of form.querySelectorAll(".wrong")) field.classList.remove("wrong");
  for (const [name, sentence] of problems) {
    const field = isSaid(name) && fieldOf(name);
    if (!field) continue;
    field.classList.add("wrong");
    const error = document.createElement("div");
    error.className = "error";
    error.id = `${controlOf(name).id}_error`;
    error.textContent = sentence;
    const help = field.querySelector(".help");
    if (help) help.before(error);
    else field.append(error);
  }
}

function tellElsewhere() {
  for (const words of preview.querySelectorAll("[data-tells]")) {
    const place = document.getElementById(words.dataset.tells);
    if (place) place.textContent = words.textContent;
  }
}

// A setting that is wrong for a moment leaves the last bar standing, greyed.
let last = preview.querySelector("#memory");
function keepLast() {
  const now = preview.querySelector("#memory");
  const gap = preview.querySelector("[data-unknown]");
  if (now) last = now;
  else if (gap && last && controlOf("base_model").value) {
    last.classList.add("stale");
    gap.before(last);
  }
}

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target !== preview) return;
  keepLast();
  tellElsewhere();
  sayProblems();
});

form.addEventListener("change", ({ target }) => { if (target.name) { visited.add(target.name); sayProblems(); } });

preview.addEventListener("click", (event) => {
  const button = event.target.closest("[data-sets]");
  if (!button) return;
  const changes = setControls(JSON.parse(button.dataset.sets));
  tell(document.getElementById("change-told"), "Changed.", changes);
  for (const { name } of changes) fieldOf(name)?.classList.add("mended");
});

// A link leads to a field that may be folded away.
preview.addEventListener("click", (event) => {
  const link = event.target.closest(".problems a");
  if (!link) return;
  event.preventDefault();
  const target = controlOf(link.closest("[data-path]").dataset.path);
  const fold = target?.closest("details");
  if (fold) fold.open = true;
  target?.focus();
});

// Pointing at a part, or coming to it with the keyboard, shows it in every bar.
function point(name) {
  for (const part of preview.querySelectorAll("[data-part]")) {
    part.classList.toggle("shown", Boolean(name) && part.dataset.part === name);
    part.classList.toggle("dimmed", Boolean(name) && part.dataset.part !== name);
  }
}
for (const kind of ["pointerover", "focusin"]) preview.addEventListener(kind, ({ target }) => point(target.closest("[data-part]")?.dataset.part));
for (const kind of ["pointerleave", "focusout"]) preview.addEventListener(kind, () => point(""));

tellElsewhere();
