// A small line of recent rates, without text: the numbers stand beside it.

import { RECENT } from "/page/lists.js";
import { shape } from "/page/dom.js";

const [WIDTH, HEIGHT] = [60, 16];

// Creates a line in a parent. Returns a function that draws rates, the newest last.
export function sparkline(parent) {
  const svg = shape("svg", "spark", parent);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const path = shape("path", "", svg);
  let drawn;
  return (rates) => {
    const most = Math.max(...rates, 0);
    const step = WIDTH / (RECENT - 1);
    const x = (n) => (WIDTH - (rates.length - 1 - n) * step).toFixed(1);
    const y = (rate) => (HEIGHT - 1 - (most ? (rate / most) * (HEIGHT - 3) : 0)).toFixed(1);
    const line = rates.length > 1 ? "M" + rates.map((rate, n) => `${x(n)} ${y(rate)}`).join("L") : "";
    if (line !== drawn) path.setAttribute("d", (drawn = line));
    svg.classList.toggle("idle", most === 0);
  };
}
