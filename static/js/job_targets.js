// Target modules: a choice of all, attention, queries and values, or layers by their names in the chosen model. The text is what counts.
import { controlOf, valueOf } from "./job_controls.js";

const layers = JSON.parse(document.getElementById("model-layers").textContent);
const TARGETS = "lora.target_modules";
const text = controlOf(TARGETS);
const radios = [...document.querySelectorAll("[name=targets]")];
const names = document.getElementById("layer-names");
const shortcuts = radios.map((radio) => radio.value).filter(Boolean);
let isNamed = false; // chosen by name, also while the names are those of a shortcut

function listed() {
  return text.value.split(",").map((name) => name.trim()).filter(Boolean);
}

function say(value) {
  text.value = value;
  text.dispatchEvent(new Event("input", { bubbles: true }));
  text.dispatchEvent(new Event("change", { bubbles: true }));
}

function chip(name, { isOn, isFixed }) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.setAttribute("aria-pressed", String(isOn));
  button.disabled = isFixed;
  if (isFixed) button.title = "Choose layers to change them one by one";
  button.addEventListener("click", () => {
    const now = listed();
    say((isOn ? now.filter((other) => other !== name) : [...now, name]).join(", "));
    [...names.children].find((other) => other.textContent === name)?.focus();
  });
  return button;
}

export function showTargets() {
  const shortcut = shortcuts.includes(text.value.trim() || "auto") && !isNamed ? text.value.trim() || "auto" : "";
  for (const radio of radios) radio.checked = radio.value === shortcut;
  const model = layers[valueOf("base_model")] || {};
  const on = shortcut ? model[shortcut] || [] : listed();
  const found = model.auto || [];
  text.hidden = Boolean(shortcut);
  names.hidden = !found.length;
  names.replaceChildren(...found.map((name) => chip(name, { isOn: on.includes(name), isFixed: Boolean(shortcut) })));
}

for (const radio of radios) {
  radio.addEventListener("change", () => {
    const before = layers[valueOf("base_model")]?.[text.value.trim() || "auto"];
    isNamed = radio.value === "";
    if (radio.value) say(radio.value);
    else if (before?.length) say(before.join(", "));
    else showTargets();
  });
}
text.addEventListener("input", () => { if (shortcuts.includes(text.value.trim()) && document.activeElement !== text) isNamed = false; });
radios[0].closest(".segments").hidden = false;
