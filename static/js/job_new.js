// The New job form: which settings are asked for, which differ from the default or the preset, and back to it with a click.
import { same, setControls, valueOf } from "./job_controls.js";
import { presetOf } from "./job_presets.js";
import "./job_preview.js";
import { showTargets } from "./job_targets.js";

const form = document.getElementById("job-form");

function standardOf(setting) {
  const preset = presetOf(setting.dataset.path);
  return preset ? preset : { value: setting.dataset.default, title: "default" };
}

function markOne(setting) {
  const standard = standardOf(setting);
  const mark = setting.querySelector(".standard");
  const isSame = same(valueOf(setting.dataset.path), standard.value);
  mark.disabled = isSame;
  const words = { true: "on", false: "off", "": "not set" }[standard.value] || standard.value;
  mark.textContent = isSame ? standard.title : `${standard.title}: ${words}`;
  mark.title = isSame ? "" : `Put ${words} back`;
  return isSame;
}

function markAll() {
  for (const group of form.querySelectorAll(".group")) {
    let changed = 0;
    for (const setting of group.querySelectorAll(".setting")) {
      markOne(setting);
      if (setting.closest("details") && !setting.hidden && !same(valueOf(setting.dataset.path), setting.dataset.default)) changed += 1;
    }
    const summary = group.querySelector("[data-folded]");
    if (summary) summary.textContent = changed ? `${changed} changed` : "all at their defaults";
  }
}

function isAskedFor({ dataset }) {
  const among = dataset.values.split("|").includes(valueOf(dataset.needs));
  return "except" in dataset ? !among : among;
}

function showWhatIsAskedFor() {
  for (const part of form.querySelectorAll("[data-needs]")) part.hidden = !isAskedFor(part);
  for (const fold of form.querySelectorAll(".group details.fold")) {
    fold.hidden = [...fold.querySelectorAll(".setting")].every((setting) => setting.hidden);
  }
}

form.addEventListener("click", (event) => {
  const mark = event.target.closest(".standard");
  if (!mark) return;
  const setting = mark.closest(".setting");
  setControls({ [setting.dataset.path]: standardOf(setting).value });
  setting.querySelector("input, select").dispatchEvent(new Event("change", { bubbles: true }));
});

const refresh = () => { showWhatIsAskedFor(); showTargets(); markAll(); };
form.addEventListener("input", refresh);
addEventListener("nibble:preset", refresh);
form.addEventListener("submit", () => {
  const button = form.querySelector(".submit");
  setTimeout(() => { button.disabled = true; }); // after the browser has read the form
});
addEventListener("pageshow", () => { form.querySelector(".submit").disabled = false; refresh(); });
refresh();
document.querySelector(".field.wrong, .choices.wrong")?.scrollIntoView({ block: "center" });
