// The New job form: which settings belong to the method, which differ from the default, which layers the model has.
(() => {
  "use strict";
  const form = document.getElementById("job-form");
  const layers = JSON.parse(document.getElementById("model-layers").textContent);

  function valueOf(control) {
    return control.type === "checkbox" ? String(control.checked) : control.value.trim();
  }

  function isDefault(value, standard) {
    if (value === standard) return true;
    return value !== "" && standard !== "" && Number(value) === Number(standard); // 2e-4 and 0.0002 are one value
  }

  function markDefaults() {
    for (const group of form.querySelectorAll(".group")) {
      let changed = 0;
      for (const setting of group.querySelectorAll(".setting")) {
        const standard = setting.dataset.default;
        const same = isDefault(valueOf(setting.querySelector("input, select")), standard);
        setting.querySelector(".standard").textContent = same ? "default" : standard ? `default: ${standard}` : "";
        if (!same && setting.closest("details")) changed += 1;
      }
      const summary = group.querySelector("[data-folded]");
      if (summary) summary.textContent = changed ? `${changed} changed` : "all at their defaults";
    }
  }

  function showSettingsOfMethod() {
    const kind = form.elements.method.value;
    for (const setting of form.querySelectorAll("[data-kind]")) setting.hidden = setting.dataset.kind !== kind;
    for (const fold of form.querySelectorAll("details.fold")) {
      const settings = [...fold.querySelectorAll(".setting")];
      if (settings.length) fold.hidden = settings.every((setting) => setting.hidden);
    }
  }

  function showLayers() {
    const names = layers[form.elements.base_model.value] || [];
    const line = document.getElementById("layers");
    line.hidden = !names.length;
    line.querySelector("span").textContent = names.join(", ");
  }

  // A link of the preview leads to a field that may be folded away.
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".problems a");
    if (!link) return;
    event.preventDefault();
    const target = document.getElementById(link.getAttribute("href").slice(1));
    const fold = target?.closest("details");
    if (fold) fold.open = true;
    target?.focus();
  });

  // The preview is redrawn while one types: an opened configuration stays open.
  let opened = false;
  document.addEventListener("htmx:beforeSwap", () => { opened = Boolean(document.querySelector("#preview details[open]")); });
  document.addEventListener("htmx:afterSwap", () => {
    const fold = document.querySelector("#preview details");
    if (fold && opened) fold.open = true;
  });

  const refresh = () => { showSettingsOfMethod(); showLayers(); markDefaults(); };
  form.addEventListener("input", refresh);
  form.addEventListener("change", refresh);
  form.addEventListener("submit", () => {
    const button = form.querySelector(".submit");
    setTimeout(() => { button.disabled = true; }); // after the browser has read the form
  });
  addEventListener("pageshow", () => { form.querySelector(".submit").disabled = false; refresh(); });
  refresh();
  document.querySelector(".field.wrong")?.scrollIntoView({ block: "center" });
})();
