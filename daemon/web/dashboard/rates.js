// Events per second, in and out, over the last hour. The rates are computed from the totals that status.js requests from `GET /status`, so that no event is
// missed between two requests. For a time without requests the average is kept.

const KEPT = 3600; // seconds
const BARS = 400; // samples of a picture; more are joined

export function rates() {
  const samples = []; // { from, to, in, out }: seconds since 1970, and events per second between them
  let before;

  // Takes the totals of the daemon. Returns false until there are two of the same daemon.
  function add({ published, delivered, pid }, at = Date.now() / 1000) {
    const then = before;
    before = { published, delivered, pid, at };
    if (!then || at <= then.at) return false;
    // A restarted daemon counts from zero.
    if (pid !== then.pid || published < then.published || delivered < then.delivered) return false;
    const seconds = at - then.at;
    samples.push({ from: then.at, to: at, in: (published - then.published) / seconds, out: (delivered - then.delivered) / seconds });
    while (samples[0].to < at - KEPT) samples.shift();
    return true;
  }

  // Returns the samples of the last seconds, joined so that there are not too many.
  function last(seconds, now) {
    const least = seconds / BARS, shown = [];
    for (const sample of samples) {
      if (sample.to < now - seconds) continue;
      const open = shown.at(-1);
      const joins = open && sample.from === open.to && open.to - open.from < least;
      if (joins) shown[shown.length - 1] = joined(open, sample);
      else shown.push(sample);
    }
    return shown;
  }

  return { add, last };
}

function joined(a, b) {
  const [left, right] = [a.to - a.from, b.to - b.from];
  const mean = (way) => (a[way] * left + b[way] * right) / (left + right);
  return { from: a.from, to: b.to, in: mean("in"), out: mean("out") };
}
