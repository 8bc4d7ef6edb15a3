"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const store = "dspt-review-" + data.id;
let verdicts = new Map();
try { verdicts = new Map(JSON.parse(localStorage.getItem(store) ?? "[]")); } catch { /* no storage */ }
const past = [];
const cards = [];
const status = document.getElementById("status");

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function button(text, title, act) {
  const made = element("button", text);
  made.type = "button";
  made.title = title;
  made.addEventListener("click", act);
  return made;
}

function save() {
  try { localStorage.setItem(store, JSON.stringify([...verdicts])); } catch { /* no storage */ }
  status.textContent = `${verdicts.size} of ${data.entries.length} decided.`;
}

function show(index) {
  const entry = data.entries[index], card = cards[index], verdict = verdicts.get(entry.file);
  card.article.classList.toggle("decided", verdict !== undefined);
  card.verdict.textContent = verdict === undefined ? "" : "Verdict: " + verdict;
  card.select.value = data.classes.includes(verdict) ? verdict : "";
}

function put(index, verdict) {
  const file = data.entries[index].file;
  if (verdict === undefined) verdicts.delete(file); else verdicts.set(file, verdict);
  show(index);
  save();
}

function decide(index, verdict) {
  past.push([index, verdicts.get(data.entries[index].file)]);
  put(index, verdict);
}

// The file's own class confirms its label, also where a class is called "keep".
const keep = (entry) => data.classes.includes("keep") ? entry.given : "keep";
const canDrop = !data.classes.includes("drop");

function undo() {
  const last = past.pop();
  if (last === undefined) return;
  put(last[0], last[1]);
  cards[last[0]].article.focus();
}

data.entries.forEach((entry, index) => {
  const article = element("article");
  article.tabIndex = 0;
  article.setAttribute("aria-label", entry.file);
  const figure = element("figure", undefined, "photo");
  if (entry.photo) {
    const image = element("img");
    image.src = entry.photo;
    image.alt = entry.file;
    figure.append(image);
  } else figure.append("no preview");
  const labels = element("p", undefined, "labels");
  labels.append("Given: ", element("b", entry.given), ", suggested: ", element("b", entry.suggested),
    ` (${Math.round(entry.score * 100)} % likely wrong)`);
  const select = element("select");
  select.setAttribute("aria-label", "Correct class");
  select.append(new Option("class ...", ""), ...data.classes.map((name) => new Option(name, name)));
  select.addEventListener("change", () => decide(index, select.value || undefined));
  const verdict = element("p", undefined, "verdict");
  verdict.setAttribute("aria-live", "polite");
  article.append(figure, element("p", entry.file, "file"), labels, verdict,
    button("Keep", "The given label is right (K)", () => decide(index, keep(entry))), " ",
    button("Accept", "The suggested label is right (A)", () => decide(index, entry.suggested)), " ");
  if (canDrop) article.append(button("Drop", "Leave the photo out (D)", () => decide(index, "drop")), " ");
  article.append(select);
  cards.push({ article, verdict, select });
  document.querySelector("main").append(article);
  show(index);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
  const index = cards.findIndex((card) => card.article.contains(document.activeElement));
  const go = (to) => cards[Math.min(Math.max(to, 0), cards.length - 1)]?.article.focus();
  const key = event.key.toLowerCase();
  if (key === "u") undo();
  else if (key === "arrowright") go(index + 1);
  else if (key === "arrowleft") go(index - 1);
  else if (index < 0) return;
  else if (key === "c") cards[index].select.focus();
  else if (key === "k") { decide(index, keep(data.entries[index])); go(index + 1); }
  else if (key === "a") { decide(index, data.entries[index].suggested); go(index + 1); }
  else if (key === "d" && canDrop) { decide(index, "drop"); go(index + 1); }
  else return;
  event.preventDefault();
});

// A spreadsheet runs a cell that begins like this as a formula; the reader removes the apostrophe.
const FORMULA = /^'*\s*[=+\-@\t\r\n＝＋－＠]/;
const cell = (text) => `"${(FORMULA.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;

document.getElementById("download").addEventListener("click", () => {
  const rows = data.entries.filter((entry) => verdicts.has(entry.file)).map((entry) =>
    [entry.file, entry.given, entry.suggested, verdicts.get(entry.file)].map(cell).join(","));
  const table = ["file,given,suggested,correct_label", ...rows, ""].join("\r\n");
  const link = element("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", table], { type: "text/csv" }));
  link.download = "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
document.getElementById("undo").addEventListener("click", undo);
save();
