// Shapes: areas over time, the strip of an hour, and the map of a powerline network.
const STEPS = 60;
const round = (value) => Math.round(value * 10) / 10;

// An area that grows from `base` by `height` for `top`, negative heights downwards. The latest value is at the right.
function area(values, width, base, height, top) {
  if (!values.some((value) => value > 0)) return "";
  const step = width / (STEPS - 1);
  const first = round(width - step * (values.length - 1));
  const points = values.map((value, at) => round(first + at * step) + "," + round(base - (value / top) * height));
  return "M" + first + "," + base + "L" + points.join(" ") + "L" + width + "," + base + "Z";
}

// Down above the axis and up below it, to one scale; returns the top of the scale.
function drawRates(down, up, trace, width, height, least) {
  const base = round(height * 0.7);
  const top = Math.max(least, ...trace.map((one) => one[0]), ...trace.map((one) => (one[1] * base) / (height - base)));
  mark(down, "d", area(trace.map((one) => one[0]), width, base, base - 1, top));
  mark(up, "d", area(trace.map((one) => one[1]), width, base, 1 - base, top));
  return top;
}

// An hour by the minute, 10 units each: latency from the bottom, loss from the top.
function drawHour({ late, pale, lost }, minutes, now) {
  const end = Math.floor(now / 60000) + 1;
  const mean = (one) => (one[2] > 0 ? one[3] / one[2] : 0);
  const top = Math.max(...minutes.map(mean), 0.0005) * 1.15;
  const bar = (one, from, to) => {
    const [right, length] = [(HOUR - (end - one[0] - 1)) * 10, Math.min(one[4], HOUR) * 10];
    return from === to ? "" : `M${Math.max(0, right - length)} ${round(from)}H${right - 1}V${round(to)}H${Math.max(0, right - length)}Z`;
  };
  const shape = (list, from, to) => list.map((one) => bar(one, from(one), to(one))).join("");
  const height = (one) => 40 - (40 * mean(one)) / top;
  mark(late, "d", shape(minutes.filter((one) => one[4] < 3), () => 40, height));
  mark(pale, "d", shape(minutes.filter((one) => one[4] >= 3), () => 40, height));
  const loss = (one) => (one[1] > one[2] ? Math.max(4, (40 * (one[1] - one[2])) / one[1]) : 0);
  mark(lost, "d", shape(minutes, () => 0, loss));
}

// Adapters on a ring, a line for each link, and beside each adapter what it sends on it. `rates` is by "from to".
function drawPowerline(svg, stations, rates) {
  const [width, height] = [400, 260];
  const place = new Map(stations.map((station, at) => {
    const angle = (2 * Math.PI * at) / stations.length - Math.PI / 2;
    const ring = stations.length === 1 ? 0 : 1;
    return [station.key, [width / 2 + ring * 135 * Math.cos(angle), height / 2 - 4 + ring * 88 * Math.sin(angle)]];
  }));
  const wires = [];
  const tags = [];
  stations.forEach((a, at) => stations.slice(at + 1).forEach((b) => {
    const ways = [[a, b], [b, a]].map(([from, to]) => [from, to, rates.get(from.key + " " + to.key)]);
    const known = ways.filter((way) => way[2] !== undefined);
    if (!known.length) return;
    const least = Math.min(...known.map((way) => way[2]));
    const [[x1, y1], [x2, y2]] = [place.get(a.key), place.get(b.key)];
    const kind = least >= 100 ? "good" : least >= 30 ? "fair" : "poor";
    wires.push(make("line.wire " + kind, { x1, y1, x2, y2, "stroke-width": round(1.5 + Math.min(4, least / 80)) }));
    // With many adapters numbers would hide each other; the table has them all.
    if (stations.length <= 6) for (const [from, to, value] of known) {
      const [[xf, yf], [xt, yt]] = [place.get(from.key), place.get(to.key)];
      tags.push(make("text.tag", { x: round(xf + (xt - xf) * 0.3), y: round(yf + (yt - yf) * 0.3 + 4) }, value.toFixed(0)));
    }
  }));
  const nodes = stations.map((station) => {
    const [x, y] = place.get(station.key);
    const below = y > height / 2 - 5;
    const kind = "station" + (station.chief ? " chief" : "") + (station.up ? "" : " gone");
    return make("g." + kind, {}, make("circle", { cx: round(x), cy: round(y), r: 9 }),
      make("text", { x: round(x), y: round(y + (below ? 25 : -26)) }, station.name),
      make("text.small", { x: round(x), y: round(y + (below ? 38 : -14)) }, station.note));
  });
  const low = Math.max(...[...place.values()].map((at) => at[1]));
  mark(svg, "viewBox", `0 0 400 ${round(low + 44)}`);
  svg.replaceChildren(...wires, ...nodes, ...tags);
}
