// The token of the page, for a bus that does not know the browser's user: on another machine, or of another user.
//
// The token is kept in memory, and in the tab's session storage only if the user wants it. It is sent as a header alone.
// An EventSource cannot send headers: its URL contains a ticket instead, which soon expires.

const KEY = "sse-bus-token";

let token = stored();
let ask; // called when the daemon wants a token

export const session = {
  // True while the page waits for a token.
  isClosed: false,

  get hasToken() {
    return Boolean(token);
  },

  headers() {
    return token ? { Authorization: `Bearer ${token}` } : {};
  },

  // Sets what to do when the daemon refuses a request without a valid token. It receives the daemon's message.
  onDenied(callback) {
    ask = callback;
  },

  denied(message) {
    if (this.isClosed) return;
    this.isClosed = true;
    ask?.(token ? message : "");
  },

  signIn(given, isKept) {
    [token, this.isClosed] = [given, false];
    store(isKept ? given : "");
  },

  signOut() {
    [token, this.isClosed] = ["", false];
    store("");
  },
};

// A browser may forbid session storage.
function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function store(text) {
  try {
    if (text) sessionStorage.setItem(KEY, text);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Then the token lasts until the page is closed or reloaded.
  }
}
