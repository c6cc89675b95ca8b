// Says how to start this app again, once its server has stopped: Streamlit's own words name a command that is not ours.

(() => {
  const EVERY = 1000; // ms between two looks
  const command = COMMAND;
  if (window.riStopped) {
    return; // the page runs it once
  }
  const style = document.createElement("style");
  style.textContent = `
    #ri-stopped { position: fixed; inset: 0; z-index: 2000000; display: grid; place-items: center; padding: 1rem;
      background: rgb(0 0 0 / 0.5); font-family: "Source Sans", sans-serif; line-height: 1.5; }
    #ri-stopped div { max-width: 36rem; padding: 1.25rem 1.5rem; border-radius: 0.5rem; overflow-wrap: anywhere; }
    #ri-stopped h2 { font-size: 1.3rem; margin: 0 0 0.5rem; padding: 0; }
    #ri-stopped p { margin: 0.5rem 0; }
    #ri-stopped code { display: block; padding: 0.6rem 0.8rem; border-radius: 0.4rem; white-space: pre-wrap;
      background: color-mix(in srgb, currentColor 10%, transparent); user-select: all; }
    body.ri-stopped [data-testid="stDialog"] { display: none; }`;
  document.head.append(style);

  const app = () => document.querySelector("[data-testid=stApp]");

  async function answers() {
    // Streamlit answers below the app's base path, which is a page's address without the page.
    const base = location.pathname.replace(/[^/]*$/, "");
    for (const place of new Set([base, base.replace(/[^/]+\/$/, ""), "/"])) {
      try {
        if ((await fetch(`${place}_stcore/health`, { cache: "no-store" })).ok) {
          return true;
        }
      } catch {
        return false; // nobody listens, at whatever path
      }
    }
    return false;
  }

  function show() {
    if (document.getElementById("ri-stopped")) {
      return;
    }
    const { backgroundColor, color } = getComputedStyle(app() ?? document.body);
    const box = document.createElement("div");
    Object.assign(box.style, { backgroundColor, color });
    const add = (tag, text) => {
      const made = document.createElement(tag);
      made.textContent = text;
      box.append(made);
    };
    add("h2", "The app has stopped");
    add("p", `${location.host} no longer responds. To restart the app, run this where it was started:`);
    add("code", command);
    add("p", "This page then reconnects by itself. Measurements so far are saved.");
    const veil = document.createElement("div");
    veil.id = "ri-stopped";
    veil.setAttribute("role", "alert");
    veil.append(box);
    document.body.append(veil);
    document.body.classList.add("ri-stopped");
  }

  function hide() {
    document.getElementById("ri-stopped")?.remove();
    document.body.classList.remove("ri-stopped");
  }

  let failed = 0;
  async function look() {
    const connected = app()?.dataset.testConnectionState === "CONNECTED" || (await answers());
    failed = connected ? 0 : failed + 1;
    if (connected) {
      hide();
    } else if (failed > 1) {
      show(); // not for a moment's interruption
    }
    window.riStopped = setTimeout(look, EVERY);
  }
  window.riStopped = setTimeout(look, EVERY);
})();
