"use strict";
// Puts the newest page in place of this one; where none is to be had, says so and goes on asking.
const EVERY = 5000;

async function renew() {
  try {
    const answer = await fetch("/", { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const each of document.querySelectorAll("details")) {
      const same = fresh.getElementById(each.id);
      if (same) same.open = each.open; // as whoever looks has left it
    }
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
    document.title = fresh.title;
  } catch {
    document.getElementById("silence").hidden = false;
  }
  setTimeout(renew, EVERY);
}

setTimeout(renew, EVERY);
