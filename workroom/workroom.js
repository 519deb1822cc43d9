// Shows a purchase anew when something has happened to it, and each minute how much time is left. The
// page works without this.
"use strict";

const main = document.querySelector("main[data-live]");
const news = document.querySelector("#news");
const MINUTE = 60_000;
let known = "";

async function show() {
  const answer = await fetch(location.href);
  if (!answer.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  if (fresh.textContent === main.textContent) return false;
  const focused = document.activeElement?.getAttribute("href");
  const open = main.querySelector("details")?.open;
  main.replaceChildren(...fresh.childNodes);
  if (open) main.querySelector("details")?.setAttribute("open", "");
  if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  return true;
}

new EventSource(main.dataset.live).onmessage = async ({ lastEventId }) => {
  const changed = known && known !== lastEventId;
  known = lastEventId;
  if (changed && (await show())) news.textContent = main.dataset.updated;
};
setInterval(() => document.hidden || show(), MINUTE);
