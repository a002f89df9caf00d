// Runs before the first paint: the remembered theme, else the system's. Kept apart and tiny because it blocks rendering.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("nibble-theme"); } catch { return null; } };
  const apply = () => { document.documentElement.dataset.bsTheme = remembered() || (system.matches ? "dark" : "light"); };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply); // another tab of ours changed it
})();
