// Keyboard shortcuts, active while no text field has the focus, and the dialog that lists them.

import { $ } from "/page/dom.js";

const OFF = "sse-bus-keys-off";

export function keys(actions) {
  const help = $("help"), on = $("keys-on");
  on.checked = !stored();
  on.onchange = () => store(!on.checked);
  $("help-open").onclick = () => help.showModal();
  help.querySelector(".close").onclick = () => help.close();

  const all = { ...actions, "?": () => help.showModal() };
  addEventListener("keydown", (key) => {
    if (key.key === "Escape" && key.target.closest?.("input, textarea, select")) return key.target.blur();
    if (!on.checked || key.ctrlKey || key.altKey || key.metaKey || key.isComposing) return;
    if (key.target.closest?.("input, textarea, select, dialog[open]")) return;
    const act = Object.hasOwn(all, key.key) && all[key.key];
    if (!act) return;
    key.preventDefault();
    act();
  });
}

// A browser may forbid local storage.
function stored() {
  try {
    return localStorage.getItem(OFF) === "1";
  } catch {
    return false;
  }
}

function store(off) {
  try {
    localStorage.setItem(OFF, off ? "1" : "0");
  } catch {
    // Then the setting lasts until the page is closed.
  }
}
