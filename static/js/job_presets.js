// Presets: one click fills in settings, says which, and can be taken back; what differs from the preset later is said too.
import { setControls, same, tell, titleOf, valueOf } from "./job_controls.js";

const presets = JSON.parse(document.getElementById("presets-values").textContent);
const chosen = document.getElementById("id_preset");
const box = document.getElementById("preset-told");
const buttons = [...document.querySelectorAll("[data-preset]")];
let isSetting = false;

// What a setting is compared with: { value, title } of the chosen preset; none while no preset names it.
export function presetOf(name) {
  const preset = presets[chosen.value];
  return preset && name in preset.values ? { value: preset.values[name], title: preset.title } : null;
}

function mark() {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.preset === chosen.value));
  if (chosen.value) explain(chosen.value);
}

function explain(name) {
  for (const radio of document.querySelectorAll("[name=explained]")) radio.checked = radio.value === name;
  for (const list of document.querySelectorAll("[data-why]")) list.hidden = list.dataset.why !== name;
}

function choose(name) {
  const before = chosen.value;
  chosen.value = name;
  isSetting = true;
  const changes = setControls(presets[name].values);
  isSetting = false;
  const many = changes.length === 1 ? "changed 1 setting:" : `changed ${changes.length} settings:`;
  const words = changes.length ? `${presets[name].title} ${many}` : `Everything stood as in ${presets[name].title} already.`;
  tell(box, words, changes, { onUndo: () => { chosen.value = before; mark(); dispatchEvent(new Event("nibble:preset")); } });
  mark();
  dispatchEvent(new Event("nibble:preset"));
}

// Said once something was changed by hand: the undo of the preset itself would throw that away.
function sayDifferences() {
  const preset = presets[chosen.value];
  if (!preset || isSetting) return;
  const differing = Object.entries(preset.values).filter(([name, value]) => !same(valueOf(name), value)).map(([name]) => name);
  if (!differing.length) { box.hidden = true; return; }
  const many = differing.length === 1 ? "1 setting differs" : `${differing.length} settings differ`;
  tell(box, `${many} from ${preset.title}: ${differing.map(titleOf).join(", ")}.`, []);
  const back = document.createElement("button");
  back.type = "button";
  back.className = "btn small";
  back.textContent = `Back to ${preset.title}`;
  back.addEventListener("click", () => choose(chosen.value));
  box.append(back);
}

for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.preset));
for (const radio of document.querySelectorAll("[name=explained]")) radio.addEventListener("change", () => explain(radio.value));
document.getElementById("job-form").addEventListener("change", sayDifferences);
mark();
sayDifferences();
