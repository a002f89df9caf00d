// Uploading: files dropped on the zone, the chosen file's name, and progress while it is sent. Without scripts the plain form works too.
(() => {
  "use strict";
  const UNITS = ["B", "KiB", "MiB", "GiB"];

  function size(bytes) {
    let step = 0;
    while (bytes >= 1024 && step < UNITS.length - 1) { bytes /= 1024; step += 1; }
    return `${step && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[step]}`;
  }

  function show(zone) {
    const file = zone.querySelector("input").files[0];
    if (file) zone.querySelector("[data-chosen]").textContent = `${file.name} · ${size(file.size)}`;
  }

  function replacePage(request) {
    if (request.responseURL && new URL(request.responseURL).pathname !== new URL(request.nibbleTarget, location.href).pathname) {
      location.assign(request.responseURL); // redirected: it was taken
      return;
    }
    const page = new DOMParser().parseFromString(request.responseText, "text/html"); // the form again, with what is wrong
    const main = page.querySelector("main");
    if (!main) { location.reload(); return; }
    document.querySelector("main").replaceWith(main);
    prepare(main);
    window.nibble.localise(main);
    (main.querySelector("[role=alert]") || main).scrollIntoView({ block: "center" });
  }

  function send(form) {
    const box = form.querySelector("[data-progress]"), bar = box.querySelector("i"), text = box.querySelector("p");
    const button = form.querySelector("[type=submit]");
    const input = form.querySelector("[data-limit]"), file = input.files[0];
    box.hidden = false;
    if (file && file.size > Number(input.dataset.limit)) {
      text.textContent = `The file has ${size(file.size)}; up to ${size(Number(input.dataset.limit))} are taken. Split it, or ask an administrator to raise the limit.`;
      return;
    }
    const request = new XMLHttpRequest();
    request.nibbleTarget = form.action;
    request.upload.onprogress = (event) => {
      if (!event.lengthComputable) return;
      bar.style.width = `${(100 * event.loaded) / event.total}%`;
      text.textContent = event.loaded < event.total ? `${size(event.loaded)} of ${size(event.total)} sent` : "Sent. The lines are being read…";
    };
    request.onload = () => replacePage(request);
    request.onerror = () => { button.disabled = false; text.textContent = "The connection broke, and nothing was stored. Try again."; };
    button.disabled = true;
    request.open("POST", form.action);
    request.send(new FormData(form));
  }

  function prepare(root) {
    for (const zone of root.querySelectorAll("[data-drop]")) {
      const input = zone.querySelector("input");
      for (const name of ["dragenter", "dragover"]) input.addEventListener(name, () => zone.classList.add("over"));
      for (const name of ["dragleave", "drop"]) input.addEventListener(name, () => zone.classList.remove("over"));
      input.addEventListener("change", () => show(zone));
    }
    for (const form of root.querySelectorAll("form[data-uploads]")) {
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        send(form);
      });
    }
  }

  prepare(document);
})();
