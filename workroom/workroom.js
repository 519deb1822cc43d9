// Shows a purchase anew when something has happened to it, and each minute how much time is left. The
// page works without this.
"use strict";

const main = document.querySelector("main[data-live]");
const news = document.querySelector("#news");
const MINUTE = 60_000;
let known = "";

/** What a node of the page and its newer version have in common. */
function key(node) {
  const link = node.nodeName === "LI" ? node.querySelector("a") : node;
  const name = ["id", "aria-labelledby", "href"].map((each) => link?.getAttribute?.(each)).find(Boolean);
  return `${node.nodeName} ${name ?? ""}`;
}

/** Make `old` like `fresh`, and touch only what differs: the focus stays, and so does what is open. */
function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  for (const { name } of [...old.attributes])
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    let found = at;
    while (found && key(found) !== key(wanted)) found = found.nextSibling;
    if (!found) {
      old.insertBefore(wanted, at);
      continue;
    }
    while (at !== found) at = removed(at);
    at = found.nextSibling;
    update(found, wanted);
  }
  while (at) at = removed(at);
}

/** Remove a node; return the one after it. */
function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

async function show() {
  const answer = await fetch(location.href);
  if (!answer.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  if (fresh.textContent === main.textContent) return false;
  const hadFocus = main.contains(document.activeElement);
  update(main, fresh);
  if (hadFocus && !main.contains(document.activeElement)) main.focus();
  return true;
}

new EventSource(main.dataset.live).onmessage = async ({ lastEventId }) => {
  const changed = known && known !== lastEventId;
  known = lastEventId;
  if (changed && (await show())) news.textContent = main.dataset.updated;
};
setInterval(() => document.hidden || show(), MINUTE);
