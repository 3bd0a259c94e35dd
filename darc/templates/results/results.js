// Sorting and filtering of a table of candidates; without it, the most probable come first.
"use strict";
(() => {
const table = document.querySelector("table.candidates");
const form = document.querySelector("form.filters");
if (!table || !form) return;
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells].filter((head) => head.dataset.key);
const keys = heads.map((head) => head.dataset.key);
const label = (head) => (head.firstElementChild?.matches("abbr") ? head.firstElementChild : head).firstChild.textContent.trim();

// Numbers are read once: a page has a thousand rows.
const rows = [...body.rows].map((row, order) => {
  const entry = {row, order};
  for (const cell of row.cells) {
    const index = keys.findIndex((key) => key in cell.dataset);
    if (index < 0) continue;
    const text = cell.dataset[keys[index]];
    entry[keys[index]] = text === "" ? NaN : Number(text);
    cell.dataset.label = label(heads[index]);
  }
  return entry;
});

// -- sorting: a button in each head; the largest first, then the smallest -------------------------
const compare = (key, sign) => (one, other) => {
  const a = one[key], b = other[key];
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || one.order - other.order;
  return sign * (a - b) || one.order - other.order;
};
const sort = (head, direction) => {
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  rows.sort(compare(head.dataset.key, direction === "ascending" ? 1 : -1));
  body.append(...rows.map((entry) => entry.row));
};
for (const head of heads) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const first = ["cb", "sb", "t"].includes(head.dataset.key) ? "ascending" : "descending";
    const second = first === "ascending" ? "descending" : "ascending";
    sort(head, head.getAttribute("aria-sort") === first ? second : first);
  });
}
table.classList.add("live");

// -- filtering ------------------------------------------------------------------------------------
const count = form.querySelector("output");
const limit = (name) => {
  const field = form.elements[name], text = field.value.trim().replace(",", ".");
  const value = text === "" ? null : Number(text);
  const wrong = Number.isNaN(value);
  if (wrong) field.setAttribute("aria-invalid", "true"); else field.removeAttribute("aria-invalid");
  return wrong ? null : value;
};
const filter = () => {
  const [cb, snr, p, from, to] = ["cb", "snr", "p", "dm_from", "dm_to"].map(limit);
  let kept = 0;
  for (const entry of rows) {
    const keep = (cb === null || entry.cb === cb) && (snr === null || entry.snr >= snr)
      && (p === null || entry.p >= p) && (from === null || entry.dm >= from)
      && (to === null || entry.dm <= to);
    entry.row.hidden = !keep;
    kept += keep;
  }
  count.textContent = `${kept} of ${rows.length}`;
};
form.addEventListener("input", filter);
form.addEventListener("reset", () => setTimeout(filter));
form.addEventListener("submit", (event) => event.preventDefault());

// -- large pictures -------------------------------------------------------------------------------
const view = form.querySelector(".view");
const show = (large) => {
  table.classList.toggle("gallery", large);
  view.setAttribute("aria-pressed", String(large));
};
view.addEventListener("click", () => show(!table.classList.contains("gallery")));
if (matchMedia("(max-width: 699px)").matches) show(true);

form.hidden = false;
filter();  // what a browser has kept in the fields
})();
