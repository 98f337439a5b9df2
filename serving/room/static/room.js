// What every page does: follow events, open dialogs, and drive the worklist with the keyboard.
"use strict";

const typing = (target) => target.matches?.("input:not([type=range]):not([type=checkbox]), textarea, select");

// Replaces the parts of the page that are marked as live by what the server says now.
async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || part.contains(document.activeElement) && typing(document.activeElement)) continue;
    if (part.querySelector("form.open, [data-asking]")) continue;
    if (other.innerHTML !== part.innerHTML) part.innerHTML = other.innerHTML;
    if (other.dataset.refresh) part.dataset.refresh = other.dataset.refresh;
  }
  document.dispatchEvent(new Event("refreshed"));
}

let due = 0;
const soon = (ms) => {
  clearTimeout(due);
  due = setTimeout(again, ms);
};
const pause = () => 1000 * (document.querySelector("[data-refresh]")?.dataset.refresh ?? 30);
async function again() {
  try {
    await refresh();
  } catch {
    // the stream of events says when the server is back
  }
  soon(pause());
}

if (document.querySelector("[data-live]")) {
  const study = document.querySelector("[data-study-uid]")?.dataset.studyUid;
  const stream = new EventSource(`/api/events?named=false&after=${document.getElementById("main").dataset.event}`);
  stream.onmessage = (event) => {
    if (!study || JSON.parse(event.data).study_uid === study) soon(300);
  };
  stream.onerror = () => { document.getElementById("offline").hidden = false; };
  stream.onopen = () => {
    if (!document.getElementById("offline").hidden) soon(0);
    document.getElementById("offline").hidden = true;
  };
  soon(pause());
}

async function send(address, body) {
  const answer = await fetch(address, {
    method: "POST",
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
    throw new Error(problem.detail);
  }
}

// What cannot be undone is asked for by the first click and done by the second, until one looks elsewhere.
function ask(button) {
  const text = button.textContent;
  button.dataset.asking = "";
  button.textContent = button.dataset.sure;
  button.addEventListener("blur", () => {
    delete button.dataset.asking;
    button.textContent = text;
  }, { once: true });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.opens) document.getElementById(button.dataset.opens).showModal();
  if (button?.dataset.sure && !("asking" in button.dataset)) return ask(button);
  if (button?.dataset.post) {
    delete button.dataset.asking;
    button.disabled = true;
    try {
      await send(button.dataset.post);
    } catch (problem) {
      button.after(Object.assign(document.createElement("span"), { className: "sub", role: "alert", textContent: problem.message }));
    }
    await refresh();
  }
  const row = event.target.closest("tr[data-study]");
  if (row && !event.target.closest("a")) row.querySelector("a.open").click();
});

// The worklist by keyboard; the choice outlives a refresh.
let selected = "";
const rows = () => [...document.querySelectorAll("tr[data-study]")];
function select(row) {
  rows().forEach((other) => other.classList.toggle("selected", other === row));
  if (!row) return;
  selected = row.id;
  row.querySelector("a.open").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}
function step(by) {
  const all = rows();
  const at = all.findIndex((row) => row.id === selected);
  select(all[Math.min(Math.max(at + by, 0), all.length - 1)]);
}
document.addEventListener("refreshed", () => {
  const row = selected && document.getElementById(selected);
  if (!row) return;
  row.classList.add("selected");
  if (document.activeElement === document.body) row.querySelector("a.open").focus({ preventScroll: true });
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key === "/" && document.getElementById("search")) document.getElementById("search").focus();
  else if (rows().length && ["j", "ArrowDown"].includes(event.key)) step(1);
  else if (rows().length && ["k", "ArrowUp"].includes(event.key)) step(-1);
  else return;
  event.preventDefault();
});
