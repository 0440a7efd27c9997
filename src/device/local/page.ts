import { createHash } from "node:crypto";
import { states, type Topic } from "../mqtt/mqtt.ts";

// The status page: it asks for a token, keeps it in memory alone, and shows words and numbers. What comes
// is written as text, never as markup.

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td { padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
td + td { text-align: right; font-variant-numeric: tabular-nums; }
input { width: 26rem; max-width: 100%; box-sizing: border-box; font: inherit; }
button { font: inherit; }
ol { padding-left: 1.5rem; }
`;

const units = Object.fromEntries(
  Object.entries(states as Record<string, Topic<never>>).flatMap(([name, { shown }]) =>
    shown?.unit === undefined ? [] : [[name, shown.unit]],
  ),
);

/** In the reader's browser; `test/device/local/page.test.ts` runs it. */
export const script = `
"use strict";
const at = (id) => document.getElementById(id);
const mostVisits = 30;
const mostDeeds = 30;
const doubles = ["last_event", "last_alarm"];
const units = ${JSON.stringify(units)};
let isRunning = false;
const deeds = new Map();
let token = "";
let last = "";
const visits = new Map();
const rows = new Map();

function show(name, value, zone) {
  const key = zone === undefined ? name : zone + ": " + name;
  let row = rows.get(key);
  if (value === null) {
    if (row) row.remove();
    rows.delete(key);
    return;
  }
  if (!row) {
    row = document.createElement("tr");
    row.append(document.createElement("td"), document.createElement("td"));
    row.firstChild.textContent = (zone === undefined ? "" : zone + ": ") + name.replaceAll("_", " ");
    rows.set(key, row);
    at("states").append(row);
  }
  const unit = zone === undefined && units[name] ? " " + units[name] : "";
  row.lastChild.textContent = value === true ? "yes" : value === false ? "no" : String(value) + unit;
}

function showAll(all) {
  at("name").textContent = all.name;
  for (const row of rows.values()) row.remove();
  rows.clear();
  for (const [name, value] of Object.entries(all.states)) if (!doubles.includes(name)) show(name, value);
  for (const [zone, values] of Object.entries(all.zones))
    for (const [name, value] of Object.entries(values)) show(name, value, zone);
}

function tell(visit) {
  const line = visits.get(visit.id) || document.createElement("li");
  const zones = visit.entered.length > 0 ? ", in " + visit.entered.join(", ") : "";
  const film = visit.clip === null ? "" : visit.delivered ? ", film at the relay" : visit.sealed ? ", film sealed" : ", filmed";
  const state = visit.event_type === "end" || visit.event_type === "clip" ? "" : ", still there";
  line.textContent = new Date(visit.since).toLocaleString() + ": " + visit.most + (visit.most === 1 ? " person, " : " persons, ") +
    Math.round(visit.seconds) + " s" + zones + film + state;
  visits.delete(visit.id);
  visits.set(visit.id, line);
  at("visits").prepend(line);
  for (const [id, old] of visits) {
    if (visits.size <= mostVisits) break;
    old.remove();
    visits.delete(id);
  }
}

function tellDeed(deed) {
  const id = deed.run + "." + deed.number;
  if (deeds.has(id)) return;
  const line = document.createElement("li");
  line.textContent = new Date(deed.at).toLocaleString() + ": " + deed.event_type + ", " + deed.why;
  deeds.set(id, line);
  at("deeds").prepend(line);
  at("alarm").hidden = false;
  for (const [old, one] of deeds) {
    if (deeds.size <= mostDeeds) break;
    one.remove();
    deeds.delete(old);
  }
}

function take(block) {
  let event = "";
  let data = "";
  for (const line of block.split("\\n")) {
    if (line.startsWith("event: ")) event = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
    else if (line.startsWith("id: ")) last = line.slice(4);
  }
  if (event === "states") showAll(JSON.parse(data));
  else if (event === "state") {
    const change = JSON.parse(data);
    show(change.name, change.value, change.zone);
  } else if (event === "visit") tell(JSON.parse(data));
  else if (event === "alarm") tellDeed(JSON.parse(data));
}

async function ask(path, more) {
  const headers = { authorization: "Bearer " + token, ...more };
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
  if (answer.ok) return answer;
  const error = new Error(answer.status === 401 ? "This token is not good." : "The camera says " + answer.status + ".");
  error.isFinal = answer.status === 401;
  throw error;
}

async function follow() {
  if (last === "") for (const event of (await (await ask("/v1/events")).json()).events) {
    tell(event);
    last = event.run + "." + event.number;
  }
  for (const deed of (await (await ask("/v1/alarms")).json()).events) tellDeed(deed);
  const answer = await ask("/v1/stream", last === "" ? {} : { "last-event-id": last });
  at("said").textContent = "";
  at("ask").hidden = true;
  at("shown").hidden = false;
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const blocks = rest.split("\\n\\n");
    rest = blocks.pop();
    for (const block of blocks) take(block);
  }
}

async function run() {
  if (isRunning) return;
  isRunning = true;
  for (;;) {
    try {
      await follow();
    } catch (error) {
      at("said").textContent = error.message;
      if (error.isFinal) {
        token = "";
        isRunning = false;
        at("ask").hidden = false;
        at("shown").hidden = true;
        return;
      }
    }
    at("said").textContent ||= "The connection is gone; trying again.";
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
}

async function look() {
  try {
    const answer = await fetch("/health", { cache: "no-store", credentials: "omit" });
    const { status } = await answer.json();
    at("health").textContent = status === "ok" ? "Pictures come and are looked at." : "No picture is looked at.";
  } catch {
    at("health").textContent = "The camera does not answer.";
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  at("token").value = "";
  at("said").textContent = "";
  if (token !== "") run();
});
look();
setInterval(look, 10000);
`;

const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

export const pagePolicy = [
  ...["default-src 'none'", `script-src ${hash(script)}`, `style-src ${hash(style)}`],
  ...["connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join("; ");

export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Obscura camera</title>
<style>${style}</style>
</head>
<body>
<h1 id="name">Obscura camera</h1>
<p id="health"></p>
<form id="ask">
<p><label for="token">Token, as <code>obscura-camera local token NAME</code> printed it:</label></p>
<p><input id="token" type="password" autocomplete="off" spellcheck="false" autofocus> <button>Show</button></p>
</form>
<p id="said" role="status"></p>
<section id="shown" hidden>
<table><tbody id="states"></tbody></table>
<h2>Visits</h2>
<ol id="visits"></ol>
<div id="alarm" hidden>
<h2>Alarm</h2>
<ol id="deeds"></ol>
</div>
<p>No picture is shown here: those open on the owner's phone alone.</p>
</section>
<script>${script}</script>
</body>
</html>
`;
