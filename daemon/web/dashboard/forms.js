// The forms to subscribe, publish and send.

import { publish } from "/page/api.js";
import { $, counted } from "/page/dom.js";

// The names of fields in refusals: by error code, and by query parameter.
const CODES = { topic_invalid: "topic", type_invalid: "type", data_invalid: "data", filter_invalid: "topics", since_invalid: "since" };
const PARAMETERS = { ttl: "ttl", type: "type", to: "to", retain: "retain", topic: "topics", since: "since" };

// The filters are part of the address, so that it can be bookmarked. `want` receives them as a query, and as a text.
export function subscribeForm(want) {
  const form = $("subscribe"), { topics, since } = form.elements;
  const address = new URLSearchParams(location.search);
  if (address.has("topic")) topics.value = address.getAll("topic").join(" ");
  if (address.has("since")) {
    const given = address.get("since");
    if (![...since.options].some((option) => option.value === given)) since.add(new Option(given, given));
    since.value = given;
  }

  function submit() {
    const query = new URLSearchParams();
    for (const filter of topics.value.split(/\s+/).filter(Boolean)) query.append("topic", filter);
    if (since.value) query.set("since", since.value);
    point(form);
    want(query, query.getAll("topic").join(" ") || "**");
    return query;
  }

  form.onsubmit = (event) => {
    event.preventDefault();
    const query = submit();
    // Kept even if empty: without it a bookmark would use the default position of the page.
    if (!since.value) query.set("since", "");
    history.replaceState(null, "", "?" + query);
  };

  return {
    submit,
    // Subscribes to other filters, or to all topics again.
    watch(filters) {
      const text = filters.join(" ");
      topics.value = topics.value === text ? "**" : text;
      form.requestSubmit();
    },
    // Marks the field that a refusal is about, and returns the message with its label.
    refused: (error) => point(form, error),
  };
}

export function speakForms() {
  wire($("publish"), $("result"), ({ topic, type, data, retain, ttl }) => {
    const fields = { type: type.value, retain: retain.checked && "true", ttl: ttl.value.trim() };
    return publish(topic.value, fields, data.value).then(({ id, subscribers }) => {
      return `${id} sent to ${counted(subscribers, "subscriber")}`;
    });
  });
  wire($("send"), $("sent"), ({ to, topic, type, data }) => {
    return publish(topic.value, { type: type.value, to: to.value.trim() }, data.value).then(({ subscribers }) => {
      const absent = `no client with the name or id ${to.value} is connected`;
      if (!subscribers) throw Object.assign(new Error(absent), { field: "to" });
      return `sent to ${counted(subscribers, "connection")} of ${to.value}`;
    });
  });
}

function wire(form, output, act) {
  const { data } = form.elements;
  const say = (text, bad) => {
    output.textContent = text;
    output.classList.toggle("bad", bad);
  };
  data.onkeydown = (key) => {
    if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) form.requestSubmit();
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      say(await act(form.elements), false);
      point(form);
      data.value = "";
      data.focus();
    } catch (error) {
      say(`Not sent. ${point(form, error)}`, true);
    }
  };
}

// Marks the field that an error is about, moves the focus to it, and returns the message, which begins with the field's
// label. Without an error no field is marked.
function point(form, error) {
  for (const marked of form.querySelectorAll("[aria-invalid]")) marked.removeAttribute("aria-invalid");
  if (!error) return "";
  const [, parameter, why] = /^the parameter (\w+) cannot be used: (.*)/s.exec(error.message) ?? [];
  const name = error.field ?? (parameter ? PARAMETERS[parameter] : CODES[error.code]);
  const field = Object.hasOwn(form.elements, name) && form.elements[name];
  if (!field) return error.message.charAt(0).toUpperCase() + error.message.slice(1);
  field.setAttribute("aria-invalid", "true");
  field.focus();
  return `${field.closest("label").querySelector("span").textContent}: ${why ?? error.message}`;
}
