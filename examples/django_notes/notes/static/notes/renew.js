// While something is under way, ask again every second, and leave alone what somebody may be typing.
const parts = ["#own ul", "#own .state", "#copies", "#latest"];

async function renew() {
  let again = true; // also where the server is away for a moment
  try {
    const page = new DOMParser().parseFromString(await (await fetch(location)).text(), "text/html");
    for (const part of parts) document.querySelector(part).replaceWith(page.querySelector(part));
    again = "again" in page.body.dataset;
  } catch {}
  if (again) setTimeout(renew, 1000);
}

if ("again" in document.body.dataset) setTimeout(renew, 1000);
