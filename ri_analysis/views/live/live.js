// Sliders, a pad of two coefficients, and bars that follow them.
//
// In, as `data`: ack (the latest message carried out), controls, tasks, weighted, method, models, rows, kind, says,
// change (what RI changed, with a colour where that is clear), pad ({low, high, colours}: its ends, and its shades from
// the least accuracy to the most; null where there is none), pins, undoable, query and copies (once the reader lets go),
// poll (exact values are on their way), path (points along the slider at hand, see slide.js), on (the path on which the recipe lies), refining (more points follow).
// Out, as the state `message`: {seq, kind, held, holding, values, act, near, linked, have}. near is the slider, or the pad,
// that the hand is at, have the path that is known here and how many of its points. kind is move (a slider is being moved), release,
// act (a button), poll (is there more by now?) or settle (exact values are there and no slider moves: update the page);
// held is the slider that was moved last, holding whether it is still being moved.
//
// One message is in flight at a time: the newest values go out when the last message was answered, so that what lies
// between is dropped. The DOM is built once, survives reruns with its focus, and is rebuilt only when sliders or tasks
// come or go. Where a path's points are here, the page slides by itself: it asks the server for nothing but more points,
// and sends the values when the hand lets go. The server's values move a thumb only while nothing is held, unsent or in flight.

const SVG = "http://www.w3.org/2000/svg";
const POLL = 120; // ms between two questions for the exact values
const SETTLE = 900; // ms of rest after which the rest of the page follows
const LATE = 600; // ms without an answer after which the values shown are no longer passed off as the recipe's
const OVERDUE = 2500; // ms after which a message is taken for lost
const KEYS = 350; // ms after the last key that count as letting go
const MEASURES = ["accuracy", "interference"];
const DRAWN = ["exact", "estimate", "surrogate"]; // kinds with values; others leave those that stand
const PAD_STEP = 0.05; // of an arrow key, five with Shift
const PAD_CELLS = 13; // along each side, of which the pad's shades are made
const IDLE = 8; // ms of work between two pauses for the hand
const BAR = 9; // pixels of a bar's height
const GAP = 2;

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let panel = parentElement.riLive;
  if (!panel || !parentElement.contains(panel.root)) {
    panel = parentElement.riLive = new Panel(parentElement.querySelector(".ri-live"), data);
  }
  panel.send = (message) => setStateValue("message", message);
  panel.update(data);
  return () => {};
}

class Panel {
  constructor(root, data) {
    this.root = root;
    this.seq = data.ack;
    this.flight = 0; // the message that is not answered yet
    this.dirty = null; // what is to be sent next: move or release
    this.held = null; // the slider being moved, or the pad
    this.last = ""; // the one that was under it last
    this.values = {};
    this.near = this.told = ""; // the slider under the pointer, or with the focus; that which the server knows of
    this.path = null; // what is known along that slider's path
    this.slid = null; // where on it the values are that are painted, null where they are the server's
    this.linked = false;
    this.unsettled = false;
    this.pad = null;
    this.padOpen = false;
    this.shape = "";
    this.scale = 0.1; // nats that the interference axis spans
    this.build();
  }

  // --- messages -------------------------------------------------------------------------------------------

  post(kind, more = {}) {
    clearTimeout(this.timer);
    if (!this.root.isConnected) {
      return; // the page has put another in its place
    }
    this.seq += 1;
    this.flight = this.seq;
    this.polling = kind === "poll";
    this.root.dataset.sent = this.seq;
    if (kind === "move" || kind === "release" || kind === "act") {
      this.unsettled = true;
      clearTimeout(this.late);
      if (!more.act?.includes("pin:") && this.slid === null) { // a pin leaves the recipe as it is
        this.late = setTimeout(() => this.fallBehind(), LATE);
      }
    }
    this.last = this.held ?? this.last;
    if (kind === "act" && !more.act.includes("pin:")) {
      this.path = null; // it may lead through other recipes now
      this.pad?.shade(null);
    }
    this.told = this.near;
    this.deliver({
      seq: this.seq, kind, held: this.last, holding: this.held !== null, values: this.values, near: this.near,
      linked: this.linked, have: this.path === null ? null : this.path.have(), ...more,
    });
  }

  /** Send a message, and again while it is not answered: one that meets a run of the whole page can be lost. */
  deliver(message, again = 0) {
    clearTimeout(this.overdue);
    this.send({ ...message, again });
    // Once out of the page it must be silent: the server would lose the successor's messages with those to nobody.
    const waiting = () => this.root.isConnected && this.flight === message.seq;
    this.overdue = setTimeout(() => waiting() && this.deliver(message, again + 1), OVERDUE);
  }

  /** Say that the values shown are those of an earlier recipe; the next answer draws over it. */
  fallBehind() {
    this.root.dataset.kind = "late";
    this.status.textContent = "Updating… (showing the previous recipe)";
  }

  /** Send the newest values, now or as soon as the message in flight is answered. */
  flush() {
    if (this.dirty && !this.flight) {
      const kind = this.dirty;
      this.dirty = null;
      this.post(kind);
    }
  }

  /** A hand has taken a slider or the pad. */
  hold(entry) {
    this.held = this.near = entry;
    clearTimeout(this.timer);
    if (this.data.refining && !this.flight) {
      this.ask();
    }
  }

  release(entry) {
    if (this.held === entry) {
      this.moved("release");
      this.held = null;
    }
  }

  /** Give a control another value, and show it wherever it stands. */
  put(entry, value) {
    this.values = { ...this.values, [entry]: value };
    this.rows.get(entry)?.slider.show(value);
    this.pad?.show();
  }

  moved(kind) {
    this.slid = this.place();
    if (kind === "move" && this.slid !== null) {
      this.unsettled = true;
      this.frame ??= requestAnimationFrame(() => this.slide());
      return;
    }
    if (kind === "release" && this.flight && this.polling) {
      this.flight = 0;
    }
    this.dirty = kind === "move" && this.dirty === "release" ? "release" : kind;
    this.flush();
  }

  /** Have points measured along a slider's path before the hand moves. */
  approach(entry) {
    this.near = entry;
    this.notePath();
    if (this.held === null && entry !== this.told && !this.flight) {
      this.ask(); // else the answer lets it go
    }
  }

  /** Note how many points there are where the hand is. */
  notePath() {
    const here = this.path?.smooth && this.path.held === (this.held ?? this.near);
    this.root.dataset.path = here ? this.path.nodes.length : 0;
  }

  /** Return where on the known path the hand is, null where that is not known. */
  place() {
    return this.path !== null && this.path.held === this.held ? this.path.position(this.values) : null;
  }

  /** Paint the estimates of where the hand is. */
  slide() {
    this.frame = null;
    const place = this.place();
    if (place === null) {
      return;
    }
    this.slid = place;
    const rows = this.path.rows(place);
    for (const [name, row] of Object.entries(rows)) {
      row.marks = this.data.rows[name]?.marks;
    }
    this.root.dataset.kind = this.root.dataset.drawn = "surrogate";
    if (this.status.textContent !== this.path.says) {
      this.status.textContent = this.path.says;
    }
    this.drawBars(rows, "surrogate");
    this.root.dataset.slid = Number(this.root.dataset.slid ?? 0) + 1;
  }

  /** Take what the server says of the path. */
  takePath({ path, on }) {
    if (path?.constants && path.id !== this.path?.id) {
      this.path = new SlidePath(path);
    } else if (path && path.id === this.path?.id) {
      this.path.take(path);
    }
    if (this.path?.id !== on) {
      this.path = null;
      if (this.held !== null && this.slid !== null && !this.flight) {
        this.dirty ??= "move"; // the page slid by itself: the server does not know where the hand is
      }
    }
    this.notePath();
    this.pad?.shade(this.path);
  }

  act(name) {
    if (this.flight && this.polling) {
      this.flight = 0;
    }
    if (this.flight) {
      this.next = name; // the answer to what is in flight lets it go
      return;
    }
    this.post("act", { act: name });
  }

  update(data) {
    if (data.ack >= this.flight) {
      this.flight = 0;
      this.polling = false;
      clearTimeout(this.late);
    }
    this.data = data;
    this.takePath(data);
    const shape = JSON.stringify([data.controls.map((each) => each.entry), data.tasks.map((each) => each.name),
      data.models.length, data.weighted, data.pad]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.buildRows();
    }
    this.draw();
    if (this.next && !this.flight) {
      const name = this.next;
      this.next = null;
      this.post("act", { act: name });
    }
    this.flush();
    if (!this.flight && this.held === null) {
      this.rest();
    } else if (!this.flight && (data.poll || data.refining)) {
      this.ask(); // a surrogate becomes better while the slider holds still
    }
  }

  ask() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.post("poll");
    }, POLL);
  }

  /** Nothing is held or under way: take the server's values, ask for the exact ones, let the page follow. */
  rest() {
    clearTimeout(this.timer);
    const { data } = this;
    for (const each of data.controls) {
      this.values[each.entry] = each.value;
      this.rows.get(each.entry)?.slider.put(each);
    }
    this.pad?.show();
    if (data.query !== undefined && location.search.slice(1) !== data.query) {
      history.replaceState(history.state, "", `${location.pathname}?${data.query}${location.hash}`);
    }
    if (data.poll) {
      this.unsettled ||= data.kind !== "exact"; // exact values may be there before the preview is ready
      this.ask();
    } else if (this.unsettled && data.kind === "exact") {
      this.timer = setTimeout(() => {
        this.unsettled = false;
        this.post("settle");
      }, SETTLE);
    } else if (data.refining || this.near !== this.told) {
      this.ask();
    }
  }

  // --- building -------------------------------------------------------------------------------------------

  build() {
    const bar = element("div", { class: "ri-live-bar", role: "toolbar", "aria-label": "Recipe" });
    this.buttons = {};
    const add = (name, label, title, click) => {
      const button = element("button", { type: "button", title }, label);
      button.onclick = click;
      this.buttons[name] = button;
      bar.append(button);
      return button;
    };
    add("undo", "Undo", "Back to the previous recipe (Ctrl+Z)", () => this.act("undo"));
    add("redo", "Redo", "Forward again (Ctrl+Y)", () => this.act("redo"));
    add("reset", "Reset", "All experts in, all coefficients 1, hyperparameters at their defaults", () => this.act("reset"));
    add("link", "Link all", "Move all coefficients together", () => {
      this.linked = !this.linked;
      this.buttons.link.setAttribute("aria-pressed", String(this.linked));
    }).setAttribute("aria-pressed", "false");
    add("pad", "Pad", "Move two coefficients at once", () => {
      this.padOpen = !this.padOpen;
      this.showPad();
    });
    this.pins = element("span", { class: "ri-live-pins" }, "Pin:");
    bar.append(this.pins);
    add("url", "Copy link", "The address that restores this page", () => this.copy("url", location.href));
    this.copies = element("span", { class: "ri-live-copies" });
    bar.append(this.copies);
    this.status = element("p", { class: "ri-live-status", role: "status" });
    this.limit = element("p", { class: "ri-live-limit", role: "status" });
    this.legend = element("p", { class: "ri-live-legend" });
    this.table = element("div", { class: "ri-live-table" });
    this.padPlace = element("div");
    this.root.replaceChildren(bar, this.status, this.limit, this.padPlace, this.legend, this.table);
    this.root.addEventListener("keydown", (event) => this.shortcut(event));
  }

  shortcut(event) {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.target.type !== "number") {
      const key = event.key.toLowerCase();
      const name = key === "y" || (key === "z" && event.shiftKey) ? "redo" : key === "z" ? "undo" : null;
      if (name) {
        event.preventDefault();
        this.act(name);
      }
    }
  }

  buildRows() {
    const { data } = this;
    this.rows = new Map();
    this.plots = new Map();
    this.switches = new Map();
    this.table.replaceChildren(this.header());
    const own = data.controls.filter((each) => !each.task);
    const first = own.length ? own : [null];
    first.forEach((control, place) => this.row(control, null, place === 0 ? "mean" : null));
    const byTask = new Map(data.controls.filter((each) => each.task).map((each) => [each.task, each]));
    for (const task of data.tasks) {
      this.row(byTask.get(task.name) ?? null, task, task.name);
    }
    this.pad = data.pad ? new Pad(this, [...byTask.values()], data.pad, this.pad?.entries) : null;
    this.padPlace.replaceChildren(...(this.pad ? [this.pad.root] : []));
    this.showPad();
  }

  showPad() {
    this.buttons.pad.hidden = this.pad === null;
    this.buttons.pad.setAttribute("aria-expanded", String(this.padOpen));
    this.padPlace.hidden = !this.padOpen;
  }

  header() {
    const row = element("div", { class: "ri-live-row ri-live-header" });
    row.append(element("span"), element("span"), element("span"), element("span"));
    this.ticks = {};
    for (const measure of MEASURES) {
      const title = measure === "accuracy" ? "Accuracy" : "Interference ξ, nats";
      const cell = element("div", { class: "ri-live-plot" });
      const axis = element("div", { class: "ri-live-axis" });
      this.ticks[measure] = [0, 0.5, 1].map(() => element("span"));
      axis.append(element("b", {}, title), ...this.ticks[measure]);
      cell.append(axis, element("span", { class: "ri-live-values" }));
      row.append(cell);
    }
    return row;
  }

  row(control, task, plot) {
    const row = element("div", { class: "ri-live-row" });
    const label = element("div", { class: "ri-live-name" });
    const text = task ? task.name : (control?.label ?? "All tasks");
    if (task) {
      const box = element("input", { type: "checkbox", "aria-label": `merge ${task.name}`,
        title: "Off: leave this expert and its task out of the merge and of the means" });
      box.onchange = () => this.act(`off:${task.name}`);
      const dot = element("i");
      dot.style.background = task.colour;
      label.append(box, dot);
      this.switches.set(task.name, { box, row });
    }
    label.append(element("span", control ? { title: control.help } : {}, text));
    row.append(label);
    if (control) {
      const slider = new Slider(control, this, task ? `coefficient of ${task.name}` : control.label);
      row.append(slider.range, slider.number);
      this.rows.set(control.entry, { slider });
    } else {
      row.append(element("span"), element("span"));
    }
    const pair = element("span", { class: "ri-live-mix" });
    if (task && this.data.weighted) {
      const mute = this.toggle("M", `mute ${task.name}`, "Mute: as if its coefficient were 0", `mute:${task.name}`);
      const solo = this.toggle("S", `solo ${task.name}`, "Solo: as if the coefficients of all other experts were 0",
        `solo:${task.name}`);
      pair.append(mute, solo);
      Object.assign(this.switches.get(task.name), { mute, solo });
    }
    row.append(pair);
    if (plot) {
      const plots = MEASURES.map((measure) => new Plot(measure, this.data, plot === "mean" ? "mean of the tasks" : plot));
      row.append(...plots.map((each) => each.cell));
      this.plots.set(plot, plots);
      if (plot === "mean") {
        this.changes = plots.map(({ cell }) => cell.appendChild(element("small", { class: "ri-live-change" })));
      }
      row.classList.toggle("ri-live-mean", plot === "mean");
    } else {
      row.append(element("span"), element("span"));
    }
    this.table.append(row);
  }

  toggle(label, name, title, act) {
    const button = element("button", { type: "button", "aria-label": name, "aria-pressed": "false", title }, label);
    button.onclick = () => this.act(act);
    return button;
  }

  // --- drawing --------------------------------------------------------------------------------------------

  /** Whether the server's values are of a recipe from before what was sent, or from before what the page slid to. */
  unaware() {
    return (this.flight && !this.polling) || (this.slid !== null && (this.dirty || this.flight));
  }

  draw() {
    const { data } = this;
    if (this.place() !== null && this.unsettled) {
      this.slide();
    } else if (!this.unaware()) {
      this.slid = null;
      this.root.dataset.kind = data.kind;
      if (DRAWN.includes(data.kind)) {
        this.root.dataset.drawn = data.kind;
      }
      this.status.textContent = data.says;
      this.drawBars(data.rows, data.kind);
    }
    for (const task of data.tasks) {
      const { box, mute, solo, row } = this.switches.get(task.name);
      box.checked = task.on;
      mute?.setAttribute("aria-pressed", String(task.muted));
      solo?.setAttribute("aria-pressed", String(task.solo));
      row.classList.toggle("ri-live-off", !task.on || !task.active);
    }
    this.buttons.undo.disabled = !data.undoable[0];
    this.buttons.redo.disabled = !data.undoable[1];
    this.buttons.link.hidden = !data.weighted;
    if (data.copies) {
      this.drawOnce("copies", data.copies, () => {
        this.copies.replaceChildren(...data.copies.map(({ label, text }) => {
          const button = element("button", { type: "button", title: text }, label);
          button.onclick = () => this.copy(button, text);
          return button;
        }));
      });
    }
    this.drawOnce("pins", data.pins, () => this.pins.replaceChildren("Pin:", ...data.pins.flatMap((pin) => this.pin(pin))));
    this.drawOnce("legend", [data.models, data.zero, data.expert], () => this.drawLegend());
    this.root.dataset.ack = data.ack;
  }

  drawBars(rows, kind) {
    const { models } = this.data;
    const all = Object.values(rows).flatMap((row) => row.interference.map(([value, , high]) => Math.max(value, high)));
    const top = nice(Math.max(0.05, ...all));
    this.scale = this.held !== null ? Math.max(this.scale, top) : top; // does not jump about while a slider moves
    if (Object.keys(rows).length) {
      const shown = { accuracy: ["0%", "50%", "100%"], interference: [0, 0.5, 1].map((part) => trim(part * this.scale)) };
      for (const measure of MEASURES) {
        this.ticks[measure].forEach((tick, place) => (tick.textContent = shown[measure][place]));
      }
    }
    const change = kind === "exact" ? (this.data.change ?? []) : [];
    this.changes?.forEach((cell, place) => {
      cell.textContent = change[place]?.text ?? "";
      cell.style.setProperty("--side", change[place]?.colour ?? "");
      cell.classList.toggle("unclear", !change[place]?.colour);
    });
    for (const [name, plots] of this.plots) {
      plots.forEach((plot, place) => {
        const top = plot.measure === "accuracy" ? 1 : this.scale;
        plot.draw(rows[name], top, models, name === "mean" ? change[place]?.text : undefined, kind);
      });
    }
  }

  drawLegend() {
    const { models, zero, expert } = this.data;
    const swatch = (colour, kind, label) => {
      const item = element("span");
      const mark = element("i", { class: kind });
      mark.style.background = colour;
      item.append(mark, label);
      return item;
    };
    this.legend.replaceChildren(
      ...models.map(({ name, colour }) => swatch(colour, "bar", name)),
      swatch(zero, "tick", "zero-shot"), swatch(expert, "tick", "the task's own expert"),
      element("span", { class: "hint" }, "Bar = exact, tick with whisker = estimate with its error; lines are 95% intervals."),
    );
  }

  drawOnce(name, value, work) {
    const text = JSON.stringify(value);
    this.drawn ??= {};
    if (this.drawn[name] !== text) {
      this.drawn[name] = text;
      work();
    }
  }

  pin({ slot, taken }) {
    const button = element("button", { type: "button", "aria-pressed": String(taken),
      title: taken ? `Back to recipe ${slot}` : `Keep this recipe as ${slot}` }, slot);
    button.onclick = () => this.act(`${taken ? "recall" : "pin"}:${slot}`);
    if (!taken) {
      return [button];
    }
    const drop = element("button", { type: "button", class: "drop", title: `Forget recipe ${slot}`,
      "aria-label": `forget recipe ${slot}` }, "×");
    drop.onclick = () => this.act(`unpin:${slot}`);
    return [button, drop];
  }

  async copy(place, text) {
    const button = typeof place === "string" ? this.buttons[place] : place;
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const area = element("textarea"); // where the page is not served securely
      area.value = text;
      this.root.append(area);
      area.select();
      button.textContent = document.execCommand("copy") ? "Copied" : "Could not copy";
      area.remove();
    }
    setTimeout(() => (button.textContent = before), 1200);
  }
}

/** A slider and the field to type its number into. */
class Slider {
  constructor(control, panel, name) {
    this.panel = panel;
    this.control = control;
    this.range = element("input", { type: "range", "aria-label": name, title: control.help });
    this.number = element("input", { type: "number", "aria-label": `${name}, typed`, step: "any" });
    this.range.addEventListener("pointerenter", () => panel.approach(control.entry));
    this.range.addEventListener("pointerleave", () => this.held() || panel.approach(""));
    this.range.addEventListener("focus", () => panel.approach(control.entry));
    this.range.addEventListener("blur", () => panel.approach(""));
    this.range.addEventListener("pointerdown", () => this.hold());
    this.range.addEventListener("keydown", () => (this.keyed = true));
    this.range.addEventListener("pointercancel", () => panel.release(control.entry));
    this.range.oninput = () => {
      this.hold();
      this.move(this.ofRange());
      panel.moved("move");
    };
    this.range.onchange = () => {
      clearTimeout(this.later);
      if (this.keyed) {
        this.keyed = false;
        this.later = setTimeout(() => panel.release(control.entry), KEYS);
      } else {
        panel.release(control.entry);
      }
    };
    this.range.addEventListener("pointerup", () => setTimeout(() => panel.release(control.entry)));
    this.number.oninput = () => (this.typing = true); // what is being typed is not written over
    this.number.onblur = () => {
      this.typing = false;
      this.show(this.panel.values[control.entry]);
    };
    this.number.onchange = () => {
      this.typing = false;
      const value = Number(this.number.value);
      if (this.number.value === "" || !Number.isFinite(value)) {
        this.show(this.panel.values[control.entry]);
        return;
      }
      const whole = Number.isInteger(this.control.step) && !this.control.stops.length && !control.task;
      const fitting = Math.min(control.most, Math.max(control.least, whole ? Math.round(value) : value));
      const said = fitting === value ? "" : `${name}: you typed ${this.number.value}. Allowed: `
        + `${whole ? "whole numbers from " : ""}${signed(control.least)} to ${signed(control.most)}; ${signed(fitting)} is used. `;
      this.start = { ...panel.values };
      this.move(fitting, said);
      panel.moved("release");
    };
  }

  held() {
    return this.panel.held === this.control.entry;
  }

  hold() {
    if (!this.held()) {
      this.start = { ...this.panel.values };
      this.panel.hold(this.control.entry);
    }
  }

  /** Take a value, and move the other coefficients by as much where they are linked; say what was limited after `said`. */
  move(value, said = "") {
    const { panel, control } = this;
    const limited = [];
    panel.put(control.entry, value);
    if (panel.linked && control.task) {
      const by = value - this.start[control.entry];
      for (const other of panel.data.controls.filter((each) => each.task && each.entry !== control.entry)) {
        const wanted = this.start[other.entry] + by;
        const moved = Math.min(other.most, Math.max(other.least, wanted));
        if (moved !== wanted) {
          limited.push(`${other.label} would be ${signed(Number(wanted.toFixed(6)))}; ${signed(moved)} is used.`);
        }
        panel.put(other.entry, Number(moved.toFixed(6)));
      }
    }
    panel.limit.textContent = said + (limited.length ? `Linked: ${limited.join(" ")}` : "");
  }

  ofRange() {
    const { stops } = this.control;
    return stops.length ? stops[Number(this.range.value)] : Number(this.range.value);
  }

  /** Take the server's value and range. */
  put(control) {
    this.control = control;
    const { stops } = control;
    this.range.min = stops.length ? 0 : control.low;
    this.range.max = stops.length ? stops.length - 1 : control.high;
    this.range.step = stops.length ? 1 : control.step;
    this.show(control.value);
  }

  show(value) {
    const { stops } = this.control;
    if (stops.length) {
      const place = stops.reduce((best, stop, index) =>
        Math.abs(stop - value) < Math.abs(stops[best] - value) ? index : best, 0);
      this.range.value = place;
    } else {
      this.range.min = Math.min(this.range.min, value);
      this.range.max = Math.max(this.range.max, value);
      if (Number(this.range.value) !== value) {
        this.range.value = value;
      }
    }
    this.range.setAttribute("aria-valuetext", trim(value));
    const focused = this.number.getRootNode().activeElement === this.number;
    if (!this.typing && (!focused || Number(this.number.value) !== value)) {
      this.number.value = trim(value);
    }
  }
}

/**
 * Squares, one for each model, in which a handle moves two coefficients at once: the first across, the second up. They
 * are shaded by the estimated mean accuracy as soon as the plane's points are here.
 */
class Pad {
  constructor(panel, controls, { low, high, colours }, entries = []) {
    Object.assign(this, { panel, controls, low, high, colours });
    const there = controls.map((each) => each.entry);
    this.entries = entries.every((entry) => there.includes(entry)) && entries.length === 2 ? entries : there.slice(0, 2);
    this.root = element("div", { class: "ri-live-pad" });
    this.squares = panel.data.models.map((model) => this.square(model));
    this.choices = this.entries.map((_, axis) => this.chooser(axis));
    this.numbers = this.entries.map(() => element("output"));
    const side = element("div", { class: "side" });
    ["Across", "Up"].forEach((word, axis) => {
      const label = element("label", {}, `${word}: `);
      label.append(this.choices[axis], this.numbers[axis]);
      side.append(label);
    });
    this.scale = element("p", { class: "scale" });
    side.append(this.scale, element("p", {}, `Drag a dot, or use the arrow keys (with Shift: larger steps). Both `
      + `coefficients go from ${signed(low)} to ${signed(high)}; the lines are at 0 and 1.`));
    this.root.append(...this.squares.map(({ root }) => root), side);
    this.show();
    this.shade(null);
  }

  square({ name, colour }) {
    const [root, square] = [element("figure"), element("div", { class: "square" })];
    const canvas = element("canvas", { width: 200, height: 200 });
    const handle = element("div", { class: "handle", role: "slider", tabindex: 0, "aria-label": `two coefficients, ${name}`,
      "aria-valuemin": this.low, "aria-valuemax": this.high, "aria-roledescription": "pad of two coefficients" });
    handle.style.background = colour;
    const lines = [0, 1].flatMap((value) => ["left", "bottom"].map((edge) => {
      const line = element("i", { class: edge, "data-value": value });
      line.style[edge] = this.share(value);
      return line;
    }));
    square.append(canvas, ...lines, handle);
    root.append(element("figcaption", {}, name), square);
    this.listen(square, handle);
    return { root, canvas, handle };
  }

  get name() {
    return `pad:${this.entries.join("|")}`;
  }

  chooser(axis) {
    const choice = element("select", { "aria-label": axis ? "coefficient moved up and down" : "coefficient moved across" });
    choice.append(...this.controls.map(({ entry, label }) => element("option", { value: entry }, label)));
    choice.onchange = () => {
      const other = this.entries[1 - axis];
      const entries = [...this.entries];
      entries[1 - axis] = choice.value === other ? this.entries[axis] : other; // the two change places
      entries[axis] = choice.value;
      this.entries = entries;
      this.show();
      this.shade(this.panel.path); // what is shaded is another plane
    };
    return choice;
  }

  listen(square, handle) {
    const { panel } = this;
    square.addEventListener("pointerenter", () => panel.approach(this.name));
    square.addEventListener("pointerleave", () => panel.held === this.name || panel.approach(""));
    handle.addEventListener("focus", () => panel.approach(this.name));
    handle.addEventListener("blur", () => panel.approach(""));
    square.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      square.setPointerCapture(event.pointerId);
      handle.focus({ preventScroll: true });
      this.follow(event, square);
    });
    square.addEventListener("pointermove", (event) =>
      square.hasPointerCapture(event.pointerId) && this.follow(event, square));
    for (const end of ["pointerup", "pointercancel"]) {
      square.addEventListener(end, () => panel.release(this.name));
    }
    handle.addEventListener("keydown", (event) => {
      const [across, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
      if ((across || up) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        const step = PAD_STEP * (event.shiftKey ? 5 : 1), [x, y] = this.position();
        this.move([x + across * step, y + up * step]);
        clearTimeout(this.later);
        this.later = setTimeout(() => panel.release(this.name), KEYS);
      }
    });
  }

  /** Move to where the pointer is. */
  follow(event, square) {
    const box = square.getBoundingClientRect(), span = this.high - this.low;
    const x = this.low + (span * (event.clientX - box.left)) / box.width;
    const y = this.high - (span * (event.clientY - box.top)) / box.height;
    this.move([x, y].map((value) => Math.round(value / PAD_STEP) * PAD_STEP));
  }

  move(position) {
    const { panel } = this;
    if (panel.held !== this.name) {
      panel.hold(this.name);
    }
    position.forEach((value, axis) => {
      const within = Math.min(this.high, Math.max(this.low, value));
      panel.put(this.entries[axis], Number(within.toFixed(6)));
    });
    panel.limit.textContent = "";
    panel.moved("move");
  }

  position() {
    return this.entries.map((entry) => this.panel.values[entry] ?? 1);
  }

  share(value) {
    return `${(100 * Math.min(1, Math.max(0, (value - this.low) / (this.high - this.low)))).toFixed(2)}%`;
  }

  show() {
    const [x, y] = this.position();
    this.choices.forEach((choice, axis) => (choice.value = this.entries[axis]));
    this.numbers.forEach((number, axis) => (number.textContent = signed(this.position()[axis])));
    const said = this.entries.map((entry, axis) =>
      `${this.controls.find((each) => each.entry === entry).label} ${signed(this.position()[axis])}`).join(", ");
    for (const { handle } of this.squares) {
      handle.style.left = this.share(x);
      handle.style.bottom = this.share(y);
      handle.setAttribute("aria-valuenow", x);
      handle.setAttribute("aria-valuetext", said);
    }
  }

  /** Shade the squares by a plane's estimates, a few at a time between the hand's moves; none where it is not ours. */
  shade(path) {
    const ours = path?.held === this.name && path.smooth ? path : null;
    const version = ours && ours.have().join();
    if (version === this.shaded) {
      return;
    }
    clearTimeout(this.shading);
    if (ours?.id !== this.plane) {
      this.plane = ours?.id;
      this.squares.forEach(({ canvas }) => canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height));
      this.scale.replaceChildren("Pause on a square to shade it by the estimated mean accuracy.");
    }
    this.shaded = version;
    if (ours !== null) {
      const steps = Array.from({ length: PAD_CELLS }, (_, at) =>
        this.low + ((this.high - this.low) * at) / (PAD_CELLS - 1));
      this.evaluate(ours, steps.flatMap((y) => steps.map((x) => [x, y])).reverse(), []);
    }
  }

  evaluate(path, left, found) {
    for (const started = performance.now(); left.length && performance.now() - started < IDLE;) {
      found.push(path.rows(left.pop()).mean.accuracy.map(([value]) => value));
    }
    if (left.length) {
      this.shading = setTimeout(() => this.evaluate(path, left, found), this.panel.held === null ? 0 : KEYS);
    } else {
      this.paint(found);
    }
  }

  paint(found) {
    const all = found.flat(), least = Math.min(...all), most = Math.max(...all);
    const cells = element("canvas", { width: PAD_CELLS, height: PAD_CELLS }), small = cells.getContext("2d");
    this.squares.forEach(({ canvas }, model) => {
      found.forEach((values, at) => {
        const share = (values[model] - least) / (most - least || 1);
        small.fillStyle = this.colours[Math.round(share * (this.colours.length - 1))];
        small.fillRect(at % PAD_CELLS, PAD_CELLS - 1 - Math.floor(at / PAD_CELLS), 1, 1);
      });
      // The outermost cells are centred on the square's edges.
      const each = canvas.width / (PAD_CELLS - 1);
      canvas.getContext("2d").drawImage(cells, -each / 2, -each / 2, canvas.width + each, canvas.height + each);
    });
    const ramp = element("i");
    ramp.style.background = `linear-gradient(to right, ${this.colours.join(", ")})`;
    const percent = (value) => `${(100 * value).toFixed(1)}%`;
    this.scale.replaceChildren("Mean accuracy, estimated: ", percent(least), ramp, percent(most));
  }
}

/** One row's values of one measure: for each model a bar or, for estimates, a tick; its interval, and its figures. */
class Plot {
  constructor(measure, data, title) {
    this.measure = measure;
    this.title = title;
    this.cell = element("div", { class: "ri-live-plot" });
    const height = data.models.length * (BAR + GAP) + GAP + 4;
    this.svg = svg("svg", { height, role: "img" });
    this.svg.append(...[0, 25, 50, 75, 100].map((at) =>
      svg("line", { class: "grid", x1: `${at}%`, x2: `${at}%`, y1: 0, y2: height })));
    this.bars = data.models.map(({ colour }, place) => {
      const y = GAP + 2 + place * (BAR + GAP);
      const parts = {
        bar: svg("rect", { class: "bar", y, height: BAR, fill: colour, rx: 1.5 }),
        line: svg("line", { class: "whisker", y1: y + BAR / 2, y2: y + BAR / 2, color: colour }),
        tick: svg("line", { class: "tick", y1: y, y2: y + BAR, stroke: colour }),
      };
      this.svg.append(parts.bar, parts.line, parts.tick);
      return parts;
    });
    this.marks = [data.zero, data.expert].map((colour) =>
      svg("line", { class: "mark", stroke: colour, y1: 0, y2: height, visibility: "hidden" }));
    this.svg.append(...this.marks);
    this.values = element("span", { class: "ri-live-values" });
    this.figures = data.models.map(({ colour }) => {
      const line = element("span");
      line.style.borderColor = colour;
      return line;
    });
    this.values.append(...this.figures);
    this.cell.append(this.svg, this.values);
  }

  draw(row, top, models, change, kind) {
    const known = row !== undefined;
    this.cell.classList.toggle("unknown", !known);
    if (!known) {
      return;
    }
    const at = (value) => `${Math.min(100, Math.max(0, (100 * value) / top)).toFixed(2)}%`;
    const said = [];
    row[this.measure].forEach(([value, low, high], place) => {
      const { bar, line, tick } = this.bars[place];
      bar.setAttribute("width", at(value));
      for (const [each, from, to] of [[line, low, high], [tick, value, value]]) {
        each.setAttribute("x1", at(from));
        each.setAttribute("x2", at(to));
      }
      const figure = this.write(value);
      this.figures[place].textContent = figure;
      said.push(`${models[place].name}: ${figure} (${kind === "exact" ? "" : "estimate, "}95% interval ` +
        `${this.write(low)} to ${this.write(high)})`);
    });
    if (this.measure === "accuracy" && row.marks) {
      const names = ["zero-shot", "expert"];
      row.marks.forEach((value, place) => {
        this.marks[place].setAttribute("x1", at(value));
        this.marks[place].setAttribute("x2", at(value));
        this.marks[place].setAttribute("visibility", "visible");
        said.push(`${names[place]}: ${this.write(value)}`);
      });
    }
    if (change) {
      said.push(change);
    }
    const text = `${this.title}, ${this.measure}\n${said.join("\n")}`;
    this.cell.title = text;
    this.svg.setAttribute("aria-label", text);
  }

  write(value) {
    return this.measure === "accuracy" ? `${(100 * value).toFixed(1)}%` : value.toFixed(3);
  }
}

function element(name, attributes = {}, text = null) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  if (text !== null) {
    made.textContent = text;
  }
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  return made;
}

/** Return the next round number that is round when halved, too. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((digit) => digit * power).find((stop) => stop >= value * 0.999);
}

function signed(value) {
  return trim(value).replace("-", "−");
}

function trim(value) {
  return String(Number(Number(value).toPrecision(6)));
}
