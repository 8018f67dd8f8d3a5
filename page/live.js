// Asks the daemon while somebody looks, and shows what it says. Nothing is asked while the page is hidden; a daemon that
// does not answer is asked less and less often, and a slow one is left time.
const EVERY = 2000;
const LONGEST = 30000;
const PATIENCE = 10000;
let wait = EVERY;
let timer = 0;
let asking = null;
let failures = 0;
let lastGood = 0;
let latest = null;
let version = "";

async function ask() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  const begun = performance.now();
  asking = new AbortController();
  const limit = setTimeout(() => asking && asking.abort(), PATIENCE);
  try {
    const answer = await fetch("api/v1/state", { signal: asking.signal });
    if (!answer.ok) throw new Error("it answers " + answer.status);
    take(await answer.json());
    failures = 0;
    wait = Math.max(EVERY, 4 * Math.round(performance.now() - begun));
  } catch (error) {
    if (!document.hidden) failed(error);
  } finally {
    clearTimeout(limit);
    asking = null;
  }
  if (!document.hidden) timer = setTimeout(ask, failures ? pause() : wait);
}

const pause = () => Math.min(LONGEST, EVERY * 2 ** Math.min(failures - 1, 5));

function failed(error) {
  failures++;
  document.body.className = "away";
  const since = lastGood ? " since " + clock(lastGood) : "";
  const why = error instanceof TypeError || error.name === "AbortError" ? "" : ": " + error.message;
  say($("state"), `No answer from gatemeter${since}${why}`);
  say($("retry"), `next try in ${span(pause() / 1000)}`);
}

function take(state) {
  if (state.version !== 1) throw new Error("this page is older than it, reload");
  // Another release may have another page.
  if (version && version !== state.gatemeter) location.reload();
  version = state.gatemeter;
  const now = Date.now();
  // After a gap the charts begin anew: what lies between is not known.
  if (now - lastGood > 5 * wait) {
    traces.clear();
    total.length = 0;
  }
  lastGood = now;
  const get = families(state);
  const model = devices(get, now);
  const routes = paths(get);
  follow(model.list);
  remember(now, model.counts, routes);
  latest = { state, get, model, routes, now };
  requestAnimationFrame(() => show(latest, false));
}

// All changes of the page are made in one frame.
function show({ state, get, model, routes, now }, anew) {
  document.body.className = "live";
  say($("state"), "Live");
  say($("retry"), "");
  showNow(model, get);
  showClients(model, now, state.time, anew);
  showToday(model, get);
  showPaths(routes, now);
  showLine(get);
  showPowerline(powerline(get, model.list));
  showHealth(state, get);
}

const again = () => latest && showClients(latest.model, latest.now, latest.state.time, true);
for (const [id, event] of [["find", "input"], ["order", "change"], ["offline", "change"]]) $(id).addEventListener(event, again);
$("more").addEventListener("click", () => {
  const button = $("more");
  button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
  again();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    if (asking) asking.abort();
    save(Date.now(), true);
  } else ask();
});
addEventListener("pagehide", () => save(Date.now(), true));
addEventListener("online", ask);
say($("host"), location.hostname);
ask();
