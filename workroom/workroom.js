// Shows a purchase anew when something has happened to it. The page works without this.
"use strict";

const main = document.querySelector("main[data-live]");
const news = document.querySelector("#news");
let known = "";

async function show() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  if (fresh.textContent === main.textContent) return;
  const focused = document.activeElement?.getAttribute("href");
  const open = main.querySelector("details")?.open;
  main.replaceChildren(...fresh.childNodes);
  if (open) main.querySelector("details")?.setAttribute("open", "");
  if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  news.textContent = "This page was updated.";
}

new EventSource(main.dataset.live).onmessage = ({ lastEventId }) => {
  if (known && known !== lastEventId) show();
  known = lastEventId;
};
