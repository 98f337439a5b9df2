// Steers versions of a model: each form asks the REST interface, and shows why it is refused.
"use strict";

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.steer");
  if (!form) return;
  event.preventDefault();
  const address = new URL(form.dataset.address, location.origin);
  const why = new FormData(form).get("why");
  if (why) address.searchParams.set("why", why);
  const button = form.querySelector("button");
  button.disabled = true;
  const refusal = document.getElementById("refusal");
  try {
    await send(address);
    location.reload();
  } catch (error) {
    refusal.textContent = error.message;
    refusal.hidden = false;
    button.disabled = false;
  }
});
