"use strict";
(() => {
const body = document.body, data = body.dataset;
const $ = (selector, where = document) => where.querySelector(selector);
const all = (selector, where = document) => [...where.querySelectorAll(selector)];
const limit = Number(data.limit), interval = Number(data.interval);
// Of what is shown: server's time, and when that came here, by a clock that nobody sets.
let told = Number(data.now), came = performance.now(), skew = 0, stopped = "stopped" in data;
let lost = 0;
const serverNow = () => told + skew + (performance.now() - came) / 1000;

// -- ages, counted here ----------------------------------------------------------------------
const ago = (seconds) => {
  const s = Math.max(0, Math.round(seconds)), m = Math.floor(s / 60), h = Math.floor(m / 60);
  if (s < 60) return `${s} s`;
  if (m < 60) return `${m} min`;
  if (h < 24) return `${h} h ${String(m % 60).padStart(2, "0")} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
};
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const count = () => {
  const now = serverNow(), age = skew + (performance.now() - came) / 1000;
  for (const one of all("[data-ago]")) put(one, `(${ago(now - Number(one.dataset.ago))})`);
  for (const one of all("[data-age]")) put(one, `· ${ago(age)} old`);
  for (const one of all("progress[data-start]")) one.value = Math.max(0, now - Number(one.dataset.start));
  if (stopped) return;
  const gone = lost && performance.now() - lost > 3000, old = age > limit || gone, banner = $("#banner");
  body.classList.toggle("old", old);
  if (old && !document.title.startsWith("Old")) head(`Old · ${document.title}`, "unknown");
  if (old) put(banner, `${gone ? "The status website does not answer" : "This page is old"}: what it shows was so ${ago(age)} ago.`);
  banner.hidden = !old;
};

// -- what has changed ------------------------------------------------------------------------
const replace = (name, part) => {
  const old = $(`[data-part="${CSS.escape(name)}"]`);
  if (!old || old.innerHTML === part.innerHTML && old.className === part.className) return false;
  const active = document.activeElement, inside = old.contains(active);
  const focused = inside ? active.id : "", row = inside ? active.closest("tr")?.dataset.part : "";
  const top = old.scrollTop;
  if (old.tagName === "TR") {
    part.cells && [...part.cells].forEach((cell, index) => {
      const before = old.cells[index];
      if (before && before.dataset.state !== cell.dataset.state) cell.classList.add("changed");
    });
    old.replaceWith(part);
  } else {
    old.replaceChildren(...part.childNodes);
    old.scrollTop = top;
  }
  if (inside) {
    const next = document.getElementById(focused) ?? $(`[data-part="${CSS.escape(row ?? "")}"] a`);
    next?.focus({preventScroll: true});
  }
  return true;
};
const dress = () => {
  if (navigator.clipboard) for (const one of all(".copy[hidden]")) one.hidden = false;
  rove();
  count();
};
const take = (parts, now) => {
  let any = false;
  for (const [name, part] of parts) any = replace(name, part) || any;
  told = now; came = performance.now(); skew = 0;
  if (any) dress(); else count();
  if (any) refreshDetails();
};
const parse = (name, html) => {
  const holder = document.createElement("template");
  holder.innerHTML = html;  // escaped by who made it; nothing in a template runs
  if (name.startsWith("row-")) return holder.content.firstElementChild;
  const part = document.createElement("div");
  part.append(holder.content);
  part.className = $(`[data-part="${CSS.escape(name)}"]`)?.className ?? "";
  return part;
};
const head = (title, verdict) => {
  document.title = title;
  $("#icon").href = `${data.root}icon-${verdict}.svg`;
};

// -- told by the server, or asked for where there is only a file ------------------------------
const link = (text, isLost) => {
  const place = $("#link");
  if (place) { put(place, text ? `· ${text}` : ""); place.className = isLost ? "lost" : ""; }
  lost = isLost ? lost || performance.now() : 0;
};
const poll = async () => {
  try {
    const reply = await fetch(location.pathname, {cache: "no-store"});
    if (!reply.ok) throw new Error(reply.status);
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const fresh = page.body.dataset, epoch = (version) => version.split(".")[0];
    if ("stopped" in fresh !== stopped || epoch(data.version) !== epoch(fresh.version)) {
      location.reload();
      return;
    }
    if (stopped) return;
    take(all("[data-part]", page).map((one) => [one.dataset.part, one]), Number(fresh.now));
    data.version = fresh.version;
    const date = Date.parse(reply.headers.get("Date"));
    if (date) skew = Math.max(0, date / 1000 - told);
    head(page.title, /icon-(\w+)\.svg/.exec($("#icon", page).getAttribute("href"))[1]);
    link(events ? "live" : "", false);
    count();
  } catch {
    if (!stopped) link("connection lost", true);
  }
};
let poller = 0, events = null;
const pollOn = () => { poller ||= setInterval(poll, Math.max(1, interval) * 1000); };
const pollOff = () => { clearInterval(poller); poller = 0; };
const hush = () => { events?.close(); events = null; };
const listen = () => {
  if (events || document.hidden) return;
  events = new EventSource(`${data.root}events?after=${encodeURIComponent(data.version)}`);
  events.addEventListener("open", () => { pollOff(); link("live", false); });
  events.addEventListener("error", () => {
    if (events?.readyState === EventSource.CLOSED) {  // there is only a file, or no place
      hush();
      poll();
      pollOn();
      setTimeout(listen, 60000);
    } else if (!stopped) {
      link("connection lost", true);
    }
  });
  events.addEventListener("parts", (event) => {
    const news = JSON.parse(event.data);
    data.version = news.version;
    take(Object.entries(news.parts).map(([name, html]) => [name, parse(name, html)]), news.now);
    head(news.title, news.verdict);
  });
  events.addEventListener("tick", (event) => {
    if (body.classList.contains("old")) poll(); else take([], Number(event.data));
    refreshDetails();
  });
  events.addEventListener("stopped", (event) => {
    stopped = true;
    body.classList.add("stopped");
    head(`Stopped · ${document.title}`, "unknown");
    put($("#banner"), event.data);
    $("#banner").hidden = false;
    link("", false);
  });
  events.addEventListener("anew", () => location.reload());
};
// A browser has few connections to a place: only what is looked at keeps one.
document.addEventListener("visibilitychange", () => {
  if (!poller && !events) return;
  if (document.hidden) { hush(); pollOn(); } else { poll(); listen(); }
});

// -- details -----------------------------------------------------------------------------------
const dialog = $("#details");
let shown = null;
const fill = async () => {
  const [page, place] = shown.split("#");
  try {
    const reply = await fetch(page, {cache: "no-store"});
    if (!reply.ok) throw new Error(`${reply.status} ${reply.statusText}`);
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    const part = fresh.getElementById(place || "node") ?? fresh.getElementById("node");
    const inside = $(".inside", dialog);
    if (part && inside.firstElementChild?.outerHTML !== part.outerHTML) inside.replaceChildren(part);
  } catch (error) {
    put($(".inside", dialog), `These details are unavailable: ${error.message}`);
  }
  dress();
};
const refreshDetails = () => { if (dialog?.open && shown) fill(); };
const open = (address, from) => {
  shown = address;
  $(".inside", dialog).replaceChildren();
  dialog.dataset.from = from.id;
  dialog.showModal();
  fill().then(() => $(".inside", dialog).focus({preventScroll: true}));
};
dialog?.addEventListener("close", () => {
  shown = null;
  document.getElementById(dialog.dataset.from)?.focus({preventScroll: true});
});
dialog && $(".close", dialog).addEventListener("click", () => dialog.close());
document.addEventListener("click", (event) => {
  const copy = event.target.closest(".copy");
  if (copy) {
    navigator.clipboard.writeText($("code", copy.parentElement).textContent).then(() => {
      put(copy, "Copied");
      setTimeout(() => put(copy, "Copy"), 1500);
    });
    return;
  }
  if (event.target === dialog) dialog.close();
  const cell = event.target.closest(".nodes tbody a");
  if (cell && dialog && location.protocol !== "file:" && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    event.preventDefault();
    open(cell.getAttribute("href"), cell);
  }
});

// -- the keyboard: one stop for the grid, arrows inside it --------------------------------------
const lines = () => all(".nodes tbody tr").map((row) => all("a", row)).filter((row) => row.length);
let current = "";
const rove = () => {
  for (const table of all(".nodes table")) {
    table.setAttribute("role", "grid");
    all("td", table).forEach((one) => one.setAttribute("role", "gridcell"));
  }
  const cells = all(".nodes tbody a");
  const stop = document.getElementById(current) ?? cells[0];
  for (const cell of cells) cell.tabIndex = cell === stop ? 0 : -1;
};
$(".nodes")?.addEventListener("focusin", (event) => {
  if (event.target.matches("tbody a")) { current = event.target.id; rove(); }
});
$(".nodes")?.addEventListener("keydown", (event) => {
  const rows = lines(), y = rows.findIndex((row) => row.includes(event.target));
  if (y < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const x = rows[y].indexOf(event.target);
  const to = {
    ArrowRight: [y, x + 1], ArrowLeft: [y, x - 1], ArrowDown: [y + 1, x], ArrowUp: [y - 1, x],
    Home: [y, 0], End: [y, rows[y].length - 1], PageUp: [0, x], PageDown: [rows.length - 1, x],
  }[event.key];
  const row = to && rows[to[0]];
  const next = row && row[Math.min(Math.max(to[1], 0), row.length - 1)];
  if (to) event.preventDefault();
  next?.focus();
});

dress();
setInterval(count, 1000);
const again = () => setTimeout(() => location.reload(), Math.max(2, interval) * 1000);
if (location.protocol === "file:") {
  skew = Math.max(0, Date.now() / 1000 - told);
  again();
} else if (!$("[data-part]")) {
  fetch(location.pathname, {method: "HEAD", cache: "no-store"}).then((reply) => {
    skew = Math.max(0, Date.parse(reply.headers.get("Date")) / 1000 - told) || 0;
    came = performance.now();
    count();
  }).catch(() => {}).finally(again);
} else if (stopped) {
  pollOn();
} else {
  listen();
}
})();
