// The controls of the New job form as text by name: read, set several at once, told apart from a default.
const form = document.getElementById("job-form");

export function controlOf(name) {
  const found = form.elements[name];
  return found instanceof RadioNodeList ? found[0] : found;
}

export function valueOf(name) {
  const control = controlOf(name);
  if (!control) return "";
  if (control.type === "checkbox") return String(control.checked);
  return form.elements[name].value.trim();
}

export function same(value, other) {
  if (value === other) return true;
  return value !== "" && other !== "" && Number(value) === Number(other); // 2e-4 and 0.0002 are one value
}

export function titleOf(name) {
  const setting = document.querySelector(`[data-path="${name}"]`);
  return setting?.dataset.title || { method: "What is trained", objective: "What it learns", pool: "Pool" }[name] || name;
}

function wordsOf(name, value) {
  const control = controlOf(name);
  if (control?.type === "radio") return [...form.elements[name]].find((radio) => radio.value === value)?.closest("label").querySelector("b").textContent || value;
  if (control?.tagName === "SELECT") return [...control.options].find((option) => option.value === value)?.text || value;
  return { true: "on", false: "off", "": "not set" }[value] || value;
}

// Sets those that differ and says what was changed: [{ name, title, before, after, was }]. One input event tells the page.
export function setControls(values) {
  const changes = [];
  for (const [name, value] of Object.entries(values)) {
    const control = controlOf(name);
    const was = valueOf(name);
    if (!control || same(was, value)) continue;
    if (control.type === "checkbox") control.checked = value === "true";
    else form.elements[name].value = value;
    changes.push({ name, was, title: titleOf(name), before: wordsOf(name, was), after: wordsOf(name, value) });
  }
  if (changes.length) form.dispatchEvent(new Event("input", { bubbles: true }));
  return changes;
}

export function putBack(changes) {
  return setControls(Object.fromEntries(changes.map(({ name, was }) => [name, was])));
}

// A line that says what was changed, with a way back.
export function tell(box, words, changes, { onUndo = () => {} } = {}) {
  const list = changes.map(({ title, before, after }) => `${title}: ${before} → ${after}`).join(" · ");
  const said = document.createElement("p");
  const bold = document.createElement("b");
  bold.textContent = words;
  said.append(bold, list ? ` ${list}` : "");
  box.replaceChildren(said);
  if (changes.length) {
    const undo = document.createElement("button");
    undo.type = "button";
    undo.className = "btn small";
    undo.textContent = "Undo";
    undo.addEventListener("click", () => { putBack(changes); box.hidden = true; onUndo(); });
    box.append(undo);
  }
  box.hidden = false;
}
