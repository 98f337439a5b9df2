// The slices of a study: wheel, keys, slider, touch, windows and outlines; and model cards.
"use strict";

const viewer = document.getElementById("viewer");
if (viewer) {
  const picture = document.getElementById("slice");
  const slider = document.getElementById("place");
  const overlay = document.getElementById("overlay");
  const hud = document.getElementById("hud");
  const { base, drawn } = viewer.dataset;
  const count = Number(viewer.dataset.count);
  let place = Number(viewer.dataset.place);
  let preset = viewer.dataset.window;
  const kept = new Map();

  const address = (n) => `${base}${n}.jpg?window=${preset}&overlay=${overlay.checked ? 1 : 0}&v=${drawn}`;
  const fetched = (n) => {
    const url = address(n);
    if (!kept.has(url)) {
      const image = new Image();
      image.src = url;
      kept.set(url, image);
      if (kept.size > 200) kept.delete(kept.keys().next().value);
    }
    return kept.get(url);
  };

  // One picture is waited for at a time, so that fast scrolling shows the newest and asks for few.
  let busy = false;
  async function show() {
    slider.value = place;
    hud.textContent = picture.alt = hud.dataset.text.replace("%n", place + 1).replace("%all", count);
    if (busy) return;
    busy = true;
    for (let wanted = null; wanted !== address(place);) {
      wanted = address(place);
      try {
        await fetched(place).decode();
        picture.src = wanted;
        document.getElementById("unreadable").hidden = true;
      } catch {
        kept.delete(wanted);
        document.getElementById("unreadable").hidden = false;
      }
    }
    busy = false;
    for (const near of [1, -1, 2, -2]) if (place + near >= 0 && place + near < count) fetched(place + near);
  }
  const go = (n) => {
    place = Math.min(Math.max(n, 0), count - 1);
    show();
  };
  const choose = (name) => {
    preset = name;
    document.querySelectorAll("[data-preset]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.preset === name)));
    show();
  };

  let turned = 0;
  viewer.addEventListener("wheel", (event) => {
    event.preventDefault();
    turned += event.deltaMode ? event.deltaY * 40 : event.deltaY;
    const steps = Math.trunc(turned / 40);
    if (steps) go(place + steps);
    turned -= steps * 40;
  }, { passive: false });
  let from = null;
  viewer.addEventListener("pointerdown", (event) => {
    from = { y: event.clientY, place };
    viewer.setPointerCapture(event.pointerId);
  });
  viewer.addEventListener("pointermove", (event) => {
    if (from) go(from.place + Math.round((event.clientY - from.y) / Math.max(3, 240 / count)));
  });
  for (const end of ["pointerup", "pointercancel"]) viewer.addEventListener(end, () => { from = null; });
  slider.addEventListener("input", () => go(Number(slider.value)));
  overlay.addEventListener("change", show);
  document.getElementById("windows").addEventListener("click", (event) => {
    if (event.target.dataset.preset) choose(event.target.dataset.preset);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".goto");
    if (!button) return;
    if (base.endsWith(`/${button.dataset.series}/`)) go(Number(button.dataset.place));
    else location.search = `?series=${button.dataset.series}`;
  });

  const moves = { ArrowDown: 1, j: 1, ArrowRight: 1, ArrowUp: -1, k: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10 };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select") || document.querySelector("dialog[open]")) return;
    const findings = [...document.querySelectorAll(".findingcard header .goto")].map((b) => Number(b.dataset.place)).sort((a, b) => a - b);
    if (event.key in moves) go(place + moves[event.key]);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(count - 1);
    else if (event.key === "o") { overlay.checked = !overlay.checked; show(); }
    else if (event.key === "w") {
      const names = [...document.querySelectorAll("[data-preset]")].map((b) => b.dataset.preset);
      choose(names[(names.indexOf(preset) + 1) % names.length]);
    } else if (event.key === "n" && findings.length) go(findings.find((n) => n > place) ?? findings[0]);
    else if (event.key === "u") document.getElementById("back").click();
    else return;
    event.preventDefault();
  });
  show();
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-card]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const answer = await fetch(link.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const dialog = document.getElementById("card-dialog");
  const card = page.getElementById("card");
  if (!card) { location.href = link.href; return; }
  dialog.firstElementChild.replaceChildren(card);
  dialog.showModal();
});

// Assessment: buttons and small forms of each finding; what the server refuses is said beside them.
const uid = document.getElementById("study").dataset.studyUid;
async function post(path, body, place) {
  const problem = place?.querySelector(".problem");
  try {
    await send(`/api/studies/${uid}/assessments${path}`, body);
    place?.querySelectorAll("form").forEach((form) => form.classList.remove("open"));
    document.activeElement.blur();
    await refresh();
  } catch (error) {
    if (!problem) throw error;
    problem.textContent = error.message;
    problem.hidden = false;
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const place = button.closest(".assess");
  if (button.dataset.assess) await post("", JSON.parse(button.dataset.assess), document.querySelector(".assess"));
  if (button.dataset.verdict) await post("", { verdict: button.dataset.verdict, tracking_uids: [place.dataset.tracking] }, place);
  if (button.dataset.undo) await post(`/${button.dataset.undo}/undo`, undefined, place);
  if (button.dataset.unfolds) {
    for (const form of place.querySelectorAll("form")) {
      const opens = form.id === button.dataset.unfolds && form.hidden;
      form.hidden = !opens;
      form.classList.toggle("open", opens);
      place.querySelector(`[data-unfolds="${form.id}"]`)?.setAttribute("aria-expanded", String(opens));
      if (opens) form.querySelector("select, input").focus();
    }
  }
});
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-form]");
  if (!form) return;
  event.preventDefault();
  const place = form.closest(".assess");
  const said = new FormData(form);
  const body = { verdict: form.dataset.form, tracking_uids: [place.dataset.tracking], comment: said.get("comment") };
  if (said.get("reason")) body.reason = said.get("reason");
  if (said.get("instead")) body.instead = said.get("instead");
  const measured = [...form.querySelectorAll("[data-name]")].filter((input) => input.value !== "");
  if (measured.length) body.measured = measured.map((input) => ({ name: input.dataset.name, value: Number(input.value) }));
  await post("", body, place);
});
