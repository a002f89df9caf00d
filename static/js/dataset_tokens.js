// Rows as tokens: a token's number and text when it is pointed at or reached with the arrow keys; spaces and line ends made visible.
(() => {
  "use strict";
  for (const form of document.querySelectorAll("[data-choose]")) form.addEventListener("change", () => form.requestSubmit());

  const MARKS = { "\n": "↵\n", "\t": "→\t", "\r": "␍" };

  function mark(token) { // the text stays what it is for whoever copies it: marks are drawn, not typed
    const text = token.textContent;
    if (!/^ |[\n\t\r]| $/.test(text)) return;
    token.textContent = "";
    for (const part of text.split(/(^ +|[\n\t\r]| +$)/).filter(Boolean)) {
      if (/^( +|[\n\t\r])$/.test(part)) {
        const drawn = document.createElement("span");
        drawn.className = "blank";
        drawn.textContent = MARKS[part] || "·".repeat(part.length);
        token.append(drawn);
      } else token.append(part);
    }
  }

  function nextTold(list) {
    let next = list.nextElementSibling;
    while (!next.matches("[data-told]")) next = next.nextElementSibling;
    return next;
  }

  for (const list of document.querySelectorAll("[data-tokens]")) {
    const tokens = [...list.querySelectorAll(".tok")], told = nextTold(list);
    const texts = new Map(tokens.map((token) => [token, token.textContent]));
    tokens.forEach(mark);
    let at = -1;
    const tell = (place) => {
      if (place < 0 || place >= tokens.length) return;
      if (at >= 0) tokens[at].classList.remove("at");
      at = place;
      const token = tokens[at], kinds = [token.classList.contains("trained") ? "trained" : "read only", token.classList.contains("special") ? "special" : ""];
      told.textContent = `Token ${(at + 1).toLocaleString("en")}: number ${token.dataset.id}, ${JSON.stringify(texts.get(token))}, ${kinds.filter(Boolean).join(", ")}`;
    };
    list.addEventListener("pointerover", (event) => { const token = event.target.closest(".tok"); if (token) tell(tokens.indexOf(token)); });
    list.addEventListener("focus", () => { if (at < 0) tell(0); tokens[at].classList.add("at"); });
    list.addEventListener("blur", () => { if (at >= 0) tokens[at].classList.remove("at"); });
    list.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -tokens.length, End: tokens.length };
      if (!(event.key in steps)) return;
      event.preventDefault();
      tell(Math.min(tokens.length - 1, Math.max(0, at + steps[event.key])));
      tokens[at].classList.add("at");
      tokens[at].scrollIntoView({ block: "nearest" });
    });
  }
})();
