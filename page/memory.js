// What the browser remembers, since the daemon keeps no history: each host's bytes of today, and each path's last hour
// by the minute. Both are differences of counters, so they are right over the times that nobody looked, too.
const KEY = "gatemeter.1";
const HOUR = 60;
const MOST = 4096;
let memory = recall();
let saved = 0;

function blank() {
  return { at: 0, since: 0, last: new Map(), hosts: new Map(), paths: new Map() };
}

// Storage may be refused, empty, or hold what another version or person has written.
function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    const found = { at: +kept.at, since: +kept.since };
    for (const name of ["last", "hosts", "paths"]) found[name] = new Map(kept[name]);
    const whole = [...found.paths.values()].every((path) => Array.isArray(path.last) && Array.isArray(path.minutes));
    if (whole && found.at > 0 && found.since > 0 && found.at <= Date.now()) return found;
  } catch {
    // Then it begins anew.
  }
  return blank();
}

function save(now, force) {
  if (!memory.at || (!force && now - saved < 15000)) return;
  saved = now;
  try {
    const { at, since, last, hosts, paths } = memory;
    localStorage.setItem(KEY, JSON.stringify({ at, since, last: [...last], hosts: [...hosts], paths: [...paths] }));
  } catch {
    // Without storage it remembers until the page is closed.
  }
}

// How far a counter has come; one that has fallen has begun again from 0.
const grown = (now, before) => (now >= before ? now - before : now);

// The newest are last, so that the oldest make room.
function keep(map, key, value) {
  map.delete(key);
  map.set(key, value);
  if (map.size > MOST) map.delete(map.keys().next().value);
}

// `counts` is [{ key, id, down, up }]: the counters of an address `id` that belongs to the device `key`.
function rememberHosts(now, counts) {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (memory.since < midnight) {
    // What was counted since yesterday's last look is today's only if that was just before midnight.
    const near = memory.at && midnight - memory.at < 600000;
    memory.since = near ? midnight : now;
    if (!near) memory.last.clear();
    memory.hosts.clear();
  }
  const watching = now - memory.at < 300000 && memory.last.size > 0;
  for (const { key, id, down, up } of counts) {
    const before = memory.last.get(id) || (watching ? [0, 0] : [down, up]);
    keep(memory.last, id, [down, up]);
    const [d, u] = memory.hosts.get(key) || [0, 0];
    keep(memory.hosts, key, [d + grown(down, before[0]), u + grown(up, before[1])]);
  }
}

// `paths` is [{ key, sent, answered, seconds }], all counters. A minute is [minute, sent, answered, seconds, length].
function rememberPaths(now, paths) {
  const minute = Math.floor(now / 60000);
  const away = Math.floor((now - memory.at) / 60000);
  for (const { key, sent, answered, seconds } of paths) {
    const path = memory.paths.get(key) || { last: null, minutes: [] };
    if (path.last && away < HOUR) {
      const [s, a, t] = sent >= path.last[0] ? path.last : [0, 0, 0];
      const add = [sent - s, answered - a, seconds - t];
      const latest = path.minutes.at(-1);
      if (latest && latest[0] === minute) add.forEach((value, at) => (latest[at + 1] += value));
      else path.minutes.push([minute, ...add, Math.max(1, away)]);
    }
    path.minutes = path.minutes.filter((one) => one[0] > minute - HOUR && one[0] <= minute);
    path.last = [sent, answered, seconds];
    keep(memory.paths, key, path);
  }
  for (const [key, path] of memory.paths) if (!path.minutes.length && !paths.some((one) => one.key === key)) memory.paths.delete(key);
}

function remember(now, counts, paths) {
  try {
    rememberHosts(now, counts);
    rememberPaths(now, paths);
  } catch {
    memory = blank();
  }
  memory.at = now;
  save(now, false);
}
