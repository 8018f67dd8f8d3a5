// The parts of the page. Each is given the model and changes what differs from what stands there.
const FEW = 12;
const rowsOf = { clients: new Map(), today: new Map(), paths: new Map(), health: new Map() };
let ranks = new Map();
let ranked = 0;
let mapped = "";

// Has `parent` hold one node for each item, in order. A node stays with its key, so focus and selection do.
function sync(parent, nodes, items, begin, update) {
  const wanted = new Set(items.map((item) => item.key));
  for (const [key, node] of nodes) if (!wanted.has(key)) {
    node.root.remove();
    nodes.delete(key);
  }
  let next = parent.firstElementChild;
  for (const item of items) {
    if (!nodes.has(item.key)) nodes.set(item.key, begin(item));
    const node = nodes.get(item.key);
    if (node.root === next) next = next.nextElementSibling;
    else parent.insertBefore(node.root, next);
    update(node, item);
  }
}

// A list of terms; those without a value are left out.
function facts(list, pairs) {
  const known = pairs.filter((pair) => pair[1] !== undefined && pair[1] !== "");
  const text = JSON.stringify(known);
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...known.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))));
}

function big(node, bits) {
  const [value, unit] = scaled(bits, BITS);
  mark(node, "value", bits);
  if (!node.firstChild) node.append("", make("span.unit"));
  if (node.firstChild.nodeValue !== value) node.firstChild.nodeValue = value;
  say(node.lastChild, unit);
}

const toward = (rows, way) => rows.filter((row) => row.direction === way);
const total = [];
function showNow({ list, flows }, get) {
  const online = list.filter((one) => one.online);
  const way = (name) => 8 * sum(toward(get("freebox_connection_rate_bytes_per_second"), name));
  const [down, up] = list.length ? [sum(list, (one) => one.rx), sum(list, (one) => one.tx)] : [way("down"), way("up")];
  total.push([down, up]);
  if (total.length > STEPS) total.shift();
  big($("now-down"), down);
  big($("now-up"), up);
  const chart = $("now-chart");
  const top = drawRates(chart.children[1], chart.children[2], total, 600, 120, 100000);
  const length = span((total.length * wait) / 1000);
  const most = (at) => rate(Math.max(...total.map((one) => one[at])));
  mark(chart, "aria-label", `Rates of the last ${length}: down at most ${most(0)}, up at most ${most(1)}`);
  say($("now-since"), length + " ago");
  say($("now-top"), "full height " + rate(top));
  const able = get("freebox_connection_bandwidth_bytes_per_second").map((row) => [row.direction, rate(8 * row.v)]);
  facts($("now-facts"), [
    ["Online", list.length ? online.length + " of " + list.length : undefined],
    ["Connections", flows ? String(sum(list, (one) => one.flows)) : undefined],
    ["Line", able.map(([name, text]) => (name === "up" ? "↑ " : "↓ ") + text).join("  ")],
  ]);
}

const ORDERS = {
  use: (a, b) => b.weight - a.weight || b.online - a.online || (a.name < b.name ? -1 : 1),
  name: (a, b) => a.name.localeCompare(b.name),
};

// In order of use, devices change places at most every ten seconds, and not under somebody's hands.
function inOrder(list, now, anew) {
  const busy = $("clients").contains(document.activeElement) || $("clients").matches(":hover");
  if (anew || (now - ranked > 10000 && !busy)) {
    for (const one of list) one.weight = sum(traces.get(one.key) || [], ([rx, tx]) => rx + tx);
    ranks = new Map(list.sort(ORDERS[$("order").value]).map((one, at) => [one.key, at]));
    ranked = now;
  }
  const rank = (one) => ranks.get(one.key) ?? 1e9;
  return list.sort((a, b) => rank(a) - rank(b));
}

function beginClient() {
  const node = { dot: make("span.dot"), name: make("bdi.name"), more: make("span.more") };
  node.state = make("span.hide");
  [node.down, node.up] = ["down", "up"].map((way) => make("path.area " + way));
  [node.rx, node.tx, node.flows] = [make("data"), make("data"), make("data")];
  const way = (name, word, arrow, data) => make("span." + name, {}, make("span", { "aria-hidden": "true" }, arrow + " "), make("span.hide", {}, word), data);
  node.root = make("tr", {},
    make("th", { scope: "row" }, make("div.who", {}, node.dot, make("span", {}, node.name, node.state, node.more))),
    make("td", {}, make("svg.spark", { viewBox: "0 0 200 34", preserveAspectRatio: "none", "aria-hidden": "true" }, make("path.grid", { d: "M0 23.8H200" }), node.down, node.up)),
    make("td.num rate", {}, way("down", "down ", "↓", node.rx), way("up", "up ", "↑", node.tx)),
    make("td.num", {}, node.flows));
  return node;
}

function showClients(model, now, time, anew) {
  $("clients").hidden = !model.list.length;
  const words = $("find").value.trim().toLowerCase();
  const is = (one) => !words || [one.name, one.key, ...one.ips].some((text) => text.toLowerCase().includes(words));
  const matching = inOrder(model.list, now, anew).filter(is);
  const away = matching.filter((one) => !one.online).length;
  $("offline-label").hidden = away === 0;
  say($("offline-text"), `${away} offline`);
  const shown = matching.filter((one) => one.online || $("offline").checked);
  const all = $("more").getAttribute("aria-expanded") === "true";
  $("more").hidden = shown.length <= FEW;
  say($("more"), all ? "Show fewer" : `Show all ${shown.length}`);
  sync($("clients-rows"), rowsOf.clients, all ? shown : shown.slice(0, FEW), beginClient, (node, one) => {
    say(node.name, one.name);
    mark(node.name, "title", [one.key, ...one.ips].join("\n"));
    const ips = [...one.ips].filter((ip) => ip !== one.name);
    const others = ips.length > 1 ? ` +${ips.length - 1}` : "";
    const seen = one.seen > 0 ? ", seen " + span(time - one.seen) + " ago" : "";
    say(node.more, one.online ? (ips[0] || "") + others : "offline" + seen);
    say(node.state, one.online ? " online " : " ");
    mark(node.dot, "class", one.online ? "dot on" : "dot off");
    mark(node.root, "class", one.online ? "" : "away-row");
    figure(node.rx, one.rx, rate(one.rx));
    figure(node.tx, one.tx, rate(one.tx));
    figure(node.flows, model.flows ? one.flows : "", model.flows ? String(one.flows) : "");
    drawRates(node.down, node.up, traces.get(one.key) || [], 200, 34, 20000);
  });
}

function beginToday() {
  const node = { name: make("bdi.name"), down: make("data"), up: make("data"), a: make("i"), b: make("i") };
  node.root = make("tr", {}, make("th", { scope: "row" }, node.name, make("span.bar", { "aria-hidden": "true" }, node.a, node.b)),
    make("td.num", {}, node.down), make("td.num", {}, node.up));
  return node;
}

function showToday({ list, counts }, get) {
  $("today").hidden = !counts.length;
  const names = new Map(list.map((one) => [one.key, one.name]));
  const hosts = [...memory.hosts].map(([key, [down, up]]) => ({ key, name: names.get(key) || key, down, up, both: down + up }));
  hosts.sort((a, b) => b.both - a.both || (a.name < b.name ? -1 : 1));
  const top = Math.max(1, ...hosts.map((one) => one.both));
  sync($("today-rows"), rowsOf.today, hosts.filter((one) => one.both > 0).slice(0, FEW), beginToday, (node, one) => {
    say(node.name, one.name);
    figure(node.down, one.down, bytes(one.down));
    figure(node.up, one.up, bytes(one.up));
    node.a.style.width = round((100 * one.down) / top) + "%";
    node.b.style.width = round((100 * one.up) / top) + "%";
  });
  for (const way of ["down", "up"]) figure($("today-" + way), sum(hosts, (one) => one[way]), bytes(sum(hosts, (one) => one[way])));
  const from = memory.since === new Date(memory.since).setHours(0, 0, 0, 0) ? "since midnight" : `since ${clock(memory.since)}, when this browser first looked`;
  const lost = sum(get("gatemeter_traffic_uncounted_packets_total"));
  say($("today-since"), `Bytes ${get("node_nat_traffic_download").length ? "to and from the internet" : "through the router"} ${from}` + (lost ? `; ${lost} packets could be charged to nobody` : ""));
}

function beginPath() {
  const node = { name: make("bdi.name"), more: make("span.more"), mean: make("data"), loss: make("data.loss") };
  for (const kind of ["late", "pale", "lost"]) node[kind] = make("path", { class: kind });
  node.strip = make("svg.strip", { viewBox: "0 0 600 40", preserveAspectRatio: "none", role: "img" }, node.late, node.pale, node.lost);
  node.jitter = make("span");
  node.root = make("li.path", {}, node.name, make("span.value", {}, node.mean, " ", node.jitter), node.more, node.loss, node.strip);
  return node;
}

function showPaths(list, now) {
  $("paths").hidden = !list.length;
  sync($("paths-rows"), rowsOf.paths, list, beginPath, (node, one) => {
    const minutes = (memory.paths.get(one.key) || { minutes: [] }).minutes;
    const [sent, answered, seconds] = [1, 2, 3].map((at) => sum(minutes, (minute) => minute[at]));
    // A path of which nothing is remembered yet shows the daemon's own figures of its latest probes.
    const loss = sent > 0 ? (sent - answered) / sent : one.loss;
    say(node.name, one.name);
    say(node.more, one.name === one.key ? "" : one.key);
    figure(node.mean, one.mean ?? "", one.mean == null ? "no answer" : latency(one.mean));
    say(node.jitter, one.jitter ? "± " + latency(one.jitter) : "");
    figure(node.loss, loss ?? "", loss == null ? "" : share(loss) + " lost");
    mark(node.loss, "class", loss > 0.01 ? "loss bad" : "loss");
    drawHour(node, minutes, now);
    const known = minutes.length ? `${answered ? latency(seconds / answered) : "no"} latency on average, ${share(loss || 0)} lost` : "nothing known yet";
    mark(node.strip, "aria-label", `${one.name}, last hour: ${known}`);
  });
}

function showPowerline({ stations, links }) {
  $("powerline").hidden = !stations.length;
  // It is drawn anew when it has changed, which is not often.
  const text = JSON.stringify([stations, [...links]]);
  if (text === mapped || !stations.length) return;
  mapped = text;
  drawPowerline($("powerline-map"), stations, links);
  const name = new Map(stations.map((one) => [one.key, one.name + " (" + one.key.slice(-5) + ")"]));
  const ends = [...links].map(([way, value]) => [...way.split(" ").map((key) => name.get(key)), value.toFixed(0)]);
  mark($("powerline-map"), "aria-label", `Powerline network of ${stations.length} adapters; the table below has its rates`);
  $("powerline-rows").replaceChildren(...ends.map(([from, to, value]) => make("tr", {}, make("td", {}, from), make("td", {}, to), make("td.num", {}, value))));
}

function showLine(get) {
  const [info] = get("freebox_connection_info");
  $("line").hidden = !info;
  if (!info) return;
  const up = get("freebox_connection_up").some((row) => row.v === 1);
  say($("line-state"), up ? "connected" : info.state || "down");
  mark($("line-state"), "class", up ? "pill on" : "pill bad");
  const line = (name) => get("freebox_connection_" + name);
  const both = (name, text) => ["down", "up"].map((way) => toward(line(name), way).map((row) => text(row.v)).join()).filter(Boolean).join(" / ");
  const one = (name, text) => get("freebox_" + name).slice(0, 1).map((row) => text(row.v)).join();
  const bits = (value) => rate(8 * value);
  const light = (way) => toward(line("ftth_sfp_power_dbm"), way).map((row) => row.v.toFixed(1) + " dBm").join();
  const errors = (kind) => sum(line("xdsl_errors_total").filter((row) => row.name === kind));
  const [dsl] = line("xdsl_info");
  const [box] = get("freebox_system_info");
  const warmest = Math.max(...get("freebox_system_temp_celsius").map(number));
  facts($("line-facts"), [
    ["Medium", [info.media, info.type].filter(Boolean).join(", ")],
    ["Now, down / up", both("rate_bytes_per_second", bits)],
    ["Light in / out", [light("rx"), light("tx")].filter(Boolean).join(" / ")],
    ["Fibre", one("connection_ftth_link", (value) => (value ? "link" : "no link"))],
    ["DSL", dsl && [dsl.status, dsl.modulation].filter(Boolean).join(", ")],
    ["Synchronised for", one("connection_xdsl_uptime_seconds", span)],
    ["Synchronised at, down / up", both("xdsl_rate_bytes_per_second", bits)],
    ["Could be", both("xdsl_max_rate_bytes_per_second", bits)],
    ["Signal to noise", both("xdsl_snr_db", (value) => value + " dB")],
    ["Attenuation", both("xdsl_attenuation_db", (value) => value + " dB")],
    ["Errors", dsl && `${errors("crc")} checksums, ${errors("fec")} corrected`],
    ["Address", [info.ipv4, info.ipv6].filter(Boolean).join(" ")],
    ["Box", box && [box.model_name || box.model, box.firmware].filter(Boolean).join(", firmware ")],
    ["Box up for", one("system_uptime_seconds", span)],
    ["Warmest", warmest > 0 ? warmest + " °C" : ""],
  ]);
}

// What is well but less than it could be, with what to do.
function hints(get) {
  const zero = (name) => get(name).filter((row) => row.v === 0);
  return {
    traffic: [
      ...zero("gatemeter_traffic_interface_attached").map((row) => `Nothing is counted on ${row.interface}: the log says why.`),
      ...zero("gatemeter_traffic_pinned").map(() => "Counts end with the daemon: mount a BPF file system."),
    ],
    clients: get("gatemeter_clients_accounting_info").filter((row) => row.source === "off").map(() => "Bytes are not counted: clients.accounting is off."),
    probe: get("gatemeter_probe_unresolved_targets").filter((row) => row.v > 0).map((row) => `${row.v} target(s) have no address: check the names and the name server.`),
    homeplug: zero("homeplug_up").map((row) => `No adapter answers on ${row.interface}: are they behind another interface?`),
    freebox: zero("freebox_up").map((row) => `The box does not tell of ${row.section}: gatemeter freebox status shows the rights.`),
  };
}

function beginHealth() {
  const node = { name: make("span.name"), more: make("span.more"), pill: make("span.pill"), trouble: make("p.trouble"), hint: make("p.hint") };
  node.root = make("li", {}, make("div.head", {}, node.name, node.more, node.pill), node.trouble, node.hint);
  return node;
}

function showHealth(state, get) {
  const advice = hints(get);
  const items = state.collectors.map((one) => ({ ...one, key: one.name }));
  sync($("health-rows"), rowsOf.health, items, beginHealth, (node, one) => {
    const age = one.last_success > 0 ? "read " + span(state.time - one.last_success) + " ago" : "";
    const errors = one.errors > 0 ? one.errors + (one.errors > 1 ? " errors" : " error") : "";
    say(node.name, one.name);
    say(node.more, one.state === "off" ? `${one.name}.enabled=1 turns it on` : [age, errors].filter(Boolean).join(", "));
    say(node.pill, one.state);
    mark(node.pill, "class", "pill " + ({ up: "on", down: "bad", starting: "wait" }[one.state] || ""));
    say(node.trouble, one.state === "down" && one.trouble ? one.trouble : "");
    node.trouble.hidden = !node.trouble.textContent;
    const hint = one.state === "down" ? "gatemeter check, on the router, tells more." : one.state === "up" ? (advice[one.name] || []).join(" ") : "";
    say(node.hint, hint);
    node.hint.hidden = !hint;
  });
  say($("version"), "gatemeter " + state.gatemeter);
}
