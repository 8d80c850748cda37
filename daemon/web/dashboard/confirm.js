// The dialog that asks before something is removed that cannot be restored.

import { $, setText } from "/page/dom.js";

// Asks a question, and returns true if the user confirms it with the button that has the label `verb`. Cancel has the
// focus first.
export function confirmed(question, verb) {
  const dialog = $("confirm"), [yes, no] = ["yes", "no"].map((name) => dialog.querySelector(`.${name}`));
  setText($("confirm-question"), question);
  setText(yes, verb);
  dialog.returnValue = "";
  dialog.showModal();
  yes.onclick = () => dialog.close("yes");
  no.onclick = () => dialog.close();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
