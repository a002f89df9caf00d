// Adding datasets: files that are chosen or dropped set out at once; the form follows when all have arrived. Without scripts the plain form works.
(() => {
  "use strict";

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

  function post(form, box, say) {
    const data = new FormData(form), request = new XMLHttpRequest();
    data.delete("file"); // they are on the server already
    for (const id of box.ids) data.append("uploads", id);
    request.nibbleTarget = form.action;
    request.onload = async () => {
      if (request.status < 400) await box.forgetUsed();
      replacePage(request);
    };
    request.onerror = () => say("The connection broke. Your files are kept: try again.", false);
    request.open("POST", form.action);
    request.send(data);
    say("All files have arrived. Their rows are being read…", true);
  }

  async function send(form, box) {
    const word = form.querySelector("[data-word]"), button = form.querySelector("[type=submit]");
    const say = (text, isBusy) => { word.textContent = text; button.disabled = isBusy; };
    if (box.sendings.length) say("This goes on by itself as soon as all files have arrived.", true);
    try {
      await box.whenAllArrived();
      post(form, box, say);
    } catch (error) {
      say(error.message, false);
    }
  }

  function prepare(root) {
    for (const form of root.querySelectorAll("form[data-uploads]")) {
      if (!window.nibbleUploads) continue; // the plain form
      const box = window.nibbleUploads(form), zone = form.querySelector("[data-drop]"), input = zone.querySelector("input");
      for (const name of ["dragenter", "dragover"]) input.addEventListener(name, () => zone.classList.add("over"));
      for (const name of ["dragleave", "drop"]) input.addEventListener(name, () => zone.classList.remove("over"));
      input.addEventListener("change", () => {
        box.add(input.files, Number(input.dataset.limit));
        input.value = ""; // the same file may be chosen again after it was removed
      });
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        send(form, box);
      });
    }
  }

  prepare(document);
})();
