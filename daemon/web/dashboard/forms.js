// The forms to subscribe, publish and send.

import { publish } from "/page/api.js";
import { $, counted } from "/page/dom.js";

// The filters are part of the address, so that it can be bookmarked. `want` receives them as a query.
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
    want(query);
    return query;
  }

  form.onsubmit = (event) => {
    event.preventDefault();
    const query = submit();
    // Kept even if empty: without it a bookmark would use the default position of the page.
    if (!since.value) query.set("since", "");
    history.replaceState(null, "", "?" + query);
  };
  submit();

  return {
    // Subscribes to one topic, or to all topics again.
    watch(topic) {
      topics.value = topics.value === topic ? "**" : topic;
      form.requestSubmit();
    },
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
      if (!subscribers) throw new Error(`no client named ${to.value} is connected`);
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
      data.value = "";
      data.focus();
    } catch (error) {
      say("not sent: " + error.message, true);
    }
  };
}
