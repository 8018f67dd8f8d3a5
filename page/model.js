// The daemon's state (docs/api.md) as things that people know: devices, paths, powerline stations.
const traces = new Map();
let counters = new Map();
let counted = 0;

// Families by name, each a list of { label: text, ..., v: number }.
function families(state) {
  const all = new Map();
  for (const collector of state.collectors) for (const { labels, columns, rows } of collector.tables) {
    for (const row of rows) {
      const set = {};
      labels.forEach((label, at) => (set[label] = row[at]));
      columns.forEach((name, at) => {
        if (!all.has(name)) all.set(name, []);
        all.get(name).push({ ...set, v: row[labels.length + at] });
      });
    }
  }
  return (name) => all.get(name) || [];
}

// One device for each hardware address, or for each address whose hardware is not known.
function devices(get, now) {
  const found = new Map();
  const owner = new Map();
  const named = (name) => name && name !== "unknown";
  const device = (key) => {
    if (!found.has(key)) found.set(key, { key, name: "", ips: new Set(), rx: 0, tx: 0, flows: 0, online: false, seen: 0, down: 0, up: 0 });
    return found.get(key);
  };
  for (const row of get("client_info")) if (row.mac) owner.set(row.ip, row.mac.toUpperCase());
  const of = (row) => {
    const one = device(owner.get(row.ip) || row.ip);
    one.ips.add(row.ip);
    if (!one.name && named(row.client)) one.name = row.client;
    return one;
  };
  for (const row of get("client_status")) {
    const one = of(row);
    one.online = one.online || row.v === 1;
  }
  for (const row of get("client_last_seen_timestamp_seconds")) {
    const one = of(row);
    one.seen = Math.max(one.seen, row.v);
  }
  for (const row of get("client_active_connections")) of(row).flows += row.v;
  for (const row of get("client_traffic_rate_bps")) of(row)[row.direction] += row.v;
  const counts = internet(get, owner, device);
  if (!get("client_status").length) rates(counts, device, now);
  for (const one of found.values()) if (!one.name) one.name = [...one.ips][0] || one.key;
  return { list: [...found.values()], counts, flows: get("client_active_connections").length > 0 };
}

// Counters of bytes to and from the internet; without the collector `traffic`, of all that passes the router.
function internet(get, owner, device) {
  const counts = new Map();
  const add = (row, key, name, way) => {
    const id = key + " " + row.ip;
    if (!counts.has(id)) counts.set(id, { key, id, down: 0, up: 0 });
    counts.get(id)[way] += row.v;
    const one = device(key);
    one.ips.add(row.ip);
    // mezoura, whose names these are, tells IPv6 by an ending.
    if (!one.name && name !== "unknown") one.name = row.ip.includes(":") && name.endsWith("-v6") ? name.slice(0, -3) : name;
  };
  const down = get("node_nat_traffic_download");
  if (!down.length) {
    for (const row of get("client_traffic_bytes")) add(row, owner.get(row.ip) || row.ip, row.client, row.direction === "rx" ? "down" : "up");
  }
  for (const row of down) add(row, row.mac.toUpperCase(), row.hostname, "down");
  for (const row of get("node_nat_traffic_upload")) add(row, row.mac.toUpperCase(), row.hostname, "up");
  return [...counts.values()];
}

// Where nobody tells rates, they are the differences of counters between two looks.
function rates(counts, device, now) {
  const seconds = (now - counted) / 1000;
  for (const { key, id, down, up } of counts) {
    const before = counters.get(id);
    const one = device(key);
    one.online = true;
    if (!before || seconds <= 0) continue;
    one.rx += (8 * grown(down, before.down)) / seconds;
    one.tx += (8 * grown(up, before.up)) / seconds;
  }
  counters = new Map(counts.map((count) => [count.id, count]));
  counted = now;
}

// The latest rates of whoever is there, for the small charts.
function follow(list) {
  const there = new Set();
  for (const { key, rx, tx } of list) {
    there.add(key);
    if (!traces.has(key)) traces.set(key, []);
    const trace = traces.get(key);
    trace.push([rx, tx]);
    if (trace.length > STEPS) trace.shift();
  }
  for (const key of traces.keys()) if (!there.has(key)) traces.delete(key);
}

function paths(get) {
  const found = [];
  for (const kind of ["icmp_probe_", "tcp_probe_"]) {
    const id = (row) => (row.tcp_port ? row.ip + " port " + row.tcp_port : row.ip);
    const by = (name) => new Map(get(kind + name).map((row) => [id(row), row.v]));
    const [sent, answered, seconds] = ["packets_sent_total", "packets_recv_total", "latency_seconds_total"].map(by);
    const [mean, loss, jitter] = ["latency_seconds", "loss_ratio", "jitter_seconds"].map(by);
    const names = new Map(get(kind + "target_info").map((row) => [id(row), row.name || row.target]));
    for (const [key, count] of sent) {
      const counts = { sent: count, answered: answered.get(key) || 0, seconds: seconds.get(key) || 0 };
      found.push({ key, name: names.get(key) || key, ...counts, mean: mean.get(key), loss: loss.get(key), jitter: jitter.get(key) });
    }
  }
  return found;
}

// Stations and, by "from to", the rate from one to another in Mbit/s: as its sender tells, else as its receiver does.
function powerline(get, list) {
  const stations = new Map();
  const station = (key) => {
    if (!stations.has(key)) stations.set(key, { key, name: "", note: key.slice(-8), up: true, chief: false });
    return stations.get(key);
  };
  for (const row of get("homeplug_network_info")) {
    station(row.device_addr);
    if (row.cco_addr) station(row.cco_addr).chief = true;
  }
  for (const row of get("homeplug_device_up")) station(row.device_addr).up = row.v === 1;
  for (const row of get("homeplug_device_info")) if (row.chip) station(row.device_addr).note = row.chip + " " + row.device_addr.slice(-5);
  const owners = new Map(list.map((one) => [one.key.toLowerCase(), one.name]));
  for (const row of get("homeplug_station_info")) {
    const one = station(row.peer_addr);
    if (row.bridged_addr) one.name = owners.get(row.bridged_addr) || "via " + row.bridged_addr.slice(-8);
  }
  const links = new Map();
  for (const way of ["rx", "tx"]) for (const row of get("homeplug_link_phy_rate_bytes_per_second")) {
    station(row.device_addr);
    station(row.peer_addr);
    const ends = way === "tx" ? [row.device_addr, row.peer_addr] : [row.peer_addr, row.device_addr];
    if (row.direction === way && row.v > 0) links.set(ends.join(" "), row.v / 125000);
  }
  for (const one of stations.values()) one.name = one.name || (one.chief ? "coordinator" : "adapter");
  return { stations: [...stations.values()].sort((a, b) => (a.key < b.key ? -1 : 1)), links };
}
