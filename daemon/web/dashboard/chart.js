// The chart of rates: events in above the axis, events out below it. Each half has its own scale, because one incoming
// event may be delivered a thousand times. The pointer or the arrow keys show the values of a time.

import { $, clock, rate, setText, shape } from "/page/dom.js";
import { rates } from "/page/rates.js";

const HEIGHT = 152;
const [LEFT, RIGHT, BOTTOM] = [36, 4, 18]; // for the labels
const HALF = (HEIGHT - BOTTOM) / 2;
const LABEL = 62; // least distance of two labels of the time axis
const STEPS = [5, 10, 15, 30, 60, 300, 600, 1200, 1800]; // seconds

export function chart() {
  const svg = $("chart"), values = rates();
  const axis = shape("g", "axis", svg);
  const parts = { in: drawing("in"), out: drawing("out") };
  const cursor = shape("path", "cursor", svg);
  let range = 300, width = 0, now = 0, samples = [], chosen; // the chosen time, in seconds before now

  function drawing(way) {
    return { area: shape("path", `area ${way}`, svg), line: shape("path", `line ${way}`, svg) };
  }

  function status(status) {
    values.add(status);
    draw();
  }

  function draw() {
    now = Date.now() / 1000;
    samples = values.last(range, now);
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const bounds = { in: nice(most("in")), out: nice(most("out")) };
    for (const way of ["in", "out"]) {
      const { area, line } = outline(way, bounds[way]);
      parts[way].area.setAttribute("d", area);
      parts[way].line.setAttribute("d", line);
      setText($(`peak-${way}`), rate(most(way)));
    }
    drawAxis(bounds);
    point();
  }

  const most = (way) => Math.max(0, ...samples.map((sample) => sample[way]));
  const x = (at) => LEFT + Math.max(0, 1 - (now - at) / range) * (width - LEFT - RIGHT);

  // The steps of one half, up or down from the axis.
  function outline(way, bound) {
    const y = (value) => HALF + ((way === "in" ? -1 : 1) * value * (HALF - 6)) / bound;
    let area = "", line = "", end;
    for (const sample of samples) {
      const [from, to, top] = [x(sample.from).toFixed(1), x(sample.to).toFixed(1), y(sample[way]).toFixed(1)];
      if (sample.from !== end) {
        if (area) area += `V${HALF}Z`;
        area += `M${from} ${HALF}`;
        line += `M${from} ${top}`;
      }
      area += `V${top}H${to}`;
      line += `V${top}H${to}`;
      end = sample.to;
    }
    return { area: area && `${area}V${HALF}Z`, line };
  }

  function drawAxis(bounds) {
    const marks = [];
    const text = (x, y, said, className) => {
      const made = shape("text", className);
      made.setAttribute("x", x.toFixed(1));
      made.setAttribute("y", y);
      made.textContent = said;
      marks.push(made);
    };
    const line = (d, className) => {
      const made = shape("path", className);
      made.setAttribute("d", d);
      marks.push(made);
    };
    const fit = Math.max(1, Math.floor((width - LEFT) / LABEL));
    const step = STEPS.find((step) => range / step <= fit) ?? range;
    // Round times of the local clock.
    const shift = new Date().getTimezoneOffset() * 60;
    for (let at = Math.ceil((now - range - shift) / step) * step + shift; at <= now; at += step) {
      line(`M${x(at).toFixed(1)} 0V${HEIGHT - BOTTOM}`, "grid");
      const said = step < 60 ? clock(at * 1000) : clock(at * 1000).slice(0, 5);
      if (x(at) > LEFT + 14 && x(at) < width - RIGHT - 14) text(x(at), HEIGHT - 5, said, "time");
    }
    line(`M${LEFT} ${HALF}H${width - RIGHT}`, "zero");
    text(LEFT - 6, 13, short(bounds.in), "bound");
    text(LEFT - 6, HALF + 4, "0", "bound");
    text(LEFT - 6, HEIGHT - BOTTOM - 2, short(bounds.out), "bound");
    axis.replaceChildren(...marks);
  }

  // Shows the values of the chosen time, or else the current ones.
  function point() {
    const at = chosen === undefined ? undefined : now - chosen;
    const sample = at === undefined ? samples.at(-1) : samples.find(({ from, to }) => from <= at && at <= to);
    for (const way of ["in", "out"]) setText($(`rate-${way}`), sample ? rate(sample[way]) : "–");
    setText($("rate-at"), at === undefined ? "now" : `at ${clock(at * 1000)}`);
    cursor.setAttribute("d", at === undefined ? "" : `M${x(at).toFixed(1)} 0V${HEIGHT - BOTTOM}`);
    svg.setAttribute("aria-valuenow", String(-Math.round(chosen ?? 0)));
    const said = sample ? `${rate(sample.in)} in, ${rate(sample.out)} out per second` : "no values";
    // A screen reader reads a change of the focused chart: not each second.
    if (at !== undefined || document.activeElement !== svg) svg.setAttribute("aria-valuetext", `${at ? clock(at * 1000) : "now"}: ${said}`);
  }

  function choose(seconds) {
    chosen = seconds === undefined ? undefined : Math.min(Math.max(seconds, 0), range);
    point();
  }

  svg.onpointermove = ({ clientX }) => {
    const share = (clientX - svg.getBoundingClientRect().left - LEFT) / (width - LEFT - RIGHT);
    choose(share < 0 ? undefined : (1 - share) * range);
  };
  svg.onpointerleave = () => choose();
  svg.onblur = () => choose();
  svg.onkeydown = (key) => {
    const step = range / 60, at = chosen ?? 0;
    const to = { ArrowLeft: at + step, ArrowRight: at - step, ArrowDown: at + step, ArrowUp: at - step,
      PageDown: at + 10 * step, PageUp: at - 10 * step, Home: range, End: 0 }[key.key];
    if (key.key === "Escape") choose();
    else if (to === undefined) return;
    else choose(to);
    key.preventDefault();
  };
  $("range").onchange = ({ target }) => {
    range = Number(target.value);
    svg.setAttribute("aria-valuemin", String(-range));
    chosen = undefined;
    draw();
  };
  new ResizeObserver(() => {
    width = svg.clientWidth;
    draw();
  }).observe(svg);

  return { status };
}

// An axis bound that does not change with every sample: 1, 2 or 5 times a power of ten.
function nice(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((bound) => bound >= most) ?? 10 * power;
}

const compact = new Intl.NumberFormat("en", { notation: "compact" });
const short = (n) => compact.format(n);
