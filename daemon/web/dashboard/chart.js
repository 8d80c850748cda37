// Events per second, in and out, over the last five minutes. The rates are computed from the daemon's totals, so that
// no event is missed between two requests. For a time without requests the average is drawn. In and out have separate
// scales, because one incoming event may be delivered a thousand times.

import { $, count, rate, setText } from "/page/dom.js";

const SPAN = 300; // seconds
const [WIDTH, HEIGHT] = [600, 48];

export function chart() {
  const samples = []; // { at, in, out }: seconds, and events per second since the previous sample
  const draw = { in: line("in"), out: line("out") };
  let before, toldAt = 0;

  function status({ published, delivered, pid }, at = performance.now() / 1000) {
    const then = before;
    before = { published, delivered, pid, at };
    if (!then || at <= then.at) return;
    // A restarted daemon counts from zero.
    const restarted = pid !== then.pid || published < then.published || delivered < then.delivered;
    const seconds = at - then.at;
    samples.push({ at, from: then.at,
      in: restarted ? undefined : (published - then.published) / seconds,
      out: restarted ? undefined : (delivered - then.delivered) / seconds });
    while (samples[0].at < at - SPAN) samples.shift();
    const tell = at - toldAt > 10;
    if (tell) toldAt = at;
    for (const way of ["in", "out"]) draw[way](samples, at, tell);
  }

  return { status };
}

function line(way) {
  const svg = $(`chart-${way}`), [number, peak] = [$(`rate-${way}`), $(`peak-${way}`)];
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const shape = (name, className) => {
    const made = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
    made.setAttribute("class", className);
    return made;
  };
  // A grid line for each minute.
  const grid = shape("path", "grid");
  grid.setAttribute("d", [1, 2, 3, 4].map((minute) => `M${(minute * WIDTH) / 5} 0V${HEIGHT}`).join(""));
  const [area, stroke] = [shape("path", "area"), shape("path", "stroke")];

  return (samples, now, tell) => {
    const known = samples.filter((sample) => sample[way] !== undefined);
    const most = Math.max(...known.map((sample) => sample[way]), 0);
    const scale = (HEIGHT - 3) / nice(most);
    const x = (at) => (Math.max(0, 1 - (now - at) / SPAN) * WIDTH).toFixed(1);
    const y = (value) => (HEIGHT - 1 - value * scale).toFixed(1);
    let top = "", filled = "", part = "", begin;
    const close = () => {
      if (part) filled += `M${begin} ${HEIGHT}L${part.slice(1)}V${HEIGHT}Z`;
      top += part;
      part = "";
    };
    for (const sample of samples) {
      if (sample[way] === undefined) {
        close();
        continue;
      }
      if (!part) {
        begin = x(sample.from);
        part = `M${begin} ${y(sample[way])}`;
      }
      part += `L${x(sample.from)} ${y(sample[way])}L${x(sample.at)} ${y(sample[way])}`;
    }
    close();
    stroke.setAttribute("d", top);
    area.setAttribute("d", filled);
    const last = samples.at(-1)?.[way] ?? 0;
    setText(number, rate(last));
    setText(peak, `peak ${rate(most)}`);
    if (tell) {
      const what = way === "in" ? "arrive" : "are delivered";
      svg.setAttribute("aria-label", `Events per second that ${what}: ${rate(last)} now, ${count(most)} at most in five minutes`);
    }
  };
}

// An axis bound that does not change with every sample: 1, 2 or 5 times a power of ten.
function nice(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((bound) => bound >= most) ?? 10 * power;
}
