// The form for a token. It takes the place of the page until the daemon accepts one.

import { $, setText } from "/page/dom.js";
import { session } from "/page/session.js";

// `start` is called when the daemon has accepted a token.
export function login(start) {
  const form = $("login"), { token, keep } = form.elements, error = $("login-error"), out = $("sign-out");

  function show(message) {
    $("main").hidden = out.hidden = true;
    form.hidden = false;
    document.body.classList.add("signed-out");
    setText(error, message);
    document.title = "sign in · sse-bus";
    token.focus();
  }

  async function refused(given) {
    const init = { headers: { Authorization: `Bearer ${given}` }, cache: "no-store", signal: AbortSignal.timeout(10_000) };
    try {
      const response = await fetch("/status", init);
      // A token that may only subscribe or publish is valid, too.
      if (response.ok || response.status === 403) return "";
      return (await response.json()).error.message;
    } catch {
      return "the daemon does not answer";
    }
  }

  form.onsubmit = async (event) => {
    event.preventDefault();
    // Pasted tokens often have white space around them. A header can hold visible ASCII only.
    const given = token.value.trim();
    const why = /^[!-~]+$/.test(given) ? await refused(given) : "this is not a token";
    setText(error, why);
    token.setAttribute("aria-invalid", String(Boolean(why)));
    if (why) return token.focus();
    session.signIn(given, keep.checked);
    token.value = "";
    form.hidden = true;
    $("main").hidden = out.hidden = false;
    document.body.classList.remove("signed-out");
    start();
  };

  out.onclick = () => {
    session.signOut();
    location.reload();
  };
  out.hidden = !session.hasToken;
  session.onDenied(show);
}
