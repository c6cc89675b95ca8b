// Keys that no control has: ? opens the sheet of keys, g and a letter another page.

(() => {
  const label = LABEL;
  const pages = PAGES;
  const TOGETHER = 1500; // ms within which a letter follows g
  if (window.riKeys) {
    return; // the page runs it once
  }
  window.riKeys = true;
  let began = -Infinity;

  const typing = ({ tagName, type, isContentEditable }) => isContentEditable || tagName === "TEXTAREA" ||
    tagName === "SELECT" || (tagName === "INPUT" && !["range", "checkbox", "radio", "button"].includes(type));
  const says = (control, name) =>
    [...control.querySelectorAll("p")].some((each) => each.textContent.replace(/ \(\d+\)$/, "") === name);
  const named = (selector, name) => [...document.querySelectorAll(selector)].find((each) => says(each, name));

  function act(key) {
    const goes = performance.now() - began < TOGETHER;
    began = !goes && key === "g" ? performance.now() : -Infinity;
    if (key === "?") {
      return named("[data-testid=stSidebar] [data-testid=stPopover] button", label);
    }
    return goes && pages[key] ? named("[data-testid=stSidebar] [data-testid=stPageLink] a", pages[key]) : null;
  }

  // Before the front end's own keys, some of which are the same letters.
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.composedPath()[0])) {
      return;
    }
    const target = act(event.key);
    if (target) {
      event.preventDefault();
      event.stopImmediatePropagation();
      target.click();
    }
  }, true);
})();
