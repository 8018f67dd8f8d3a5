// Numbers and times as people read them, and elements that hold text as text.
"use strict";
const $ = (id) => document.getElementById(id);
const SHAPES = new Set(["svg", "path", "line", "circle", "g", "text", "title"]);

// Makes an element, as "tag" or "tag.class other". What comes from the network gets into the page as text or by this,
// never as markup.
function make(what, attributes, ...children) {
  const [name, kind] = what.split(".");
  const node = SHAPES.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  if (kind) node.setAttribute("class", kind);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
}

// These two touch the page only where something changes.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function mark(node, key, value) {
  value = String(value);
  if (node.getAttribute(key) !== value) node.setAttribute(key, value);
}

// A <data> element: the figure for programs and the text for people.
function figure(node, value, text) {
  mark(node, "value", value);
  say(node, text);
}

function scaled(value, units) {
  let place = 0;
  for (; value >= 999.5 && place < units.length - 1; place++) value /= 1000;
  return [value.toFixed(place === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2), units[place]];
}
const BITS = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
const rate = (bits) => scaled(bits, BITS).join(" ");
const bytes = (count) => scaled(count, ["B", "kB", "MB", "GB", "TB"]).join(" ");

function latency(seconds) {
  const ms = seconds * 1000;
  if (ms < 0.0995) return (ms * 1000).toFixed(0) + " µs";
  return ms.toFixed(ms >= 99.95 ? 0 : ms >= 9.995 ? 1 : 2) + " ms";
}
const share = (ratio) => (ratio * 100).toFixed(ratio > 0 && ratio < 0.0995 ? 1 : 0) + " %";

function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}
const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const number = (row) => row.v;
const sum = (list, value = number) => list.reduce((all, one) => all + value(one), 0);
