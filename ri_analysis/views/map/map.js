// Scatter plots of the same images as several models see them, one selection: hover shows the image, lasso selects, wheel
// zooms. Data: version, places, ids, panels [{title, x, y, colour}], extent, palette, distinct, ground, grey, ink, legend,
// classes, tasks, task and truth (codes), models [{title, says, right, drift}], prototypes {x, y, code, labels}, pictures,
// alt, marked (the id of the image looked at). Long columns come packed (see `unpack`).
// The DOM survives reruns; only what changed is redrawn. Points are blended into the pixels by hand: paths and sprites take
// many times as long where there is no graphics card, and hovers and lassos need no new points.

const RADIUS = 2.6; // pixels of a dot
const MANY = 8_000; // points, above which dots are small and opaque: blending them would take too long
const SMALL = 1.3;
const OPACITY = 0.85;
const REACH = 10; // pixels within which a point answers the pointer
const FACTOR = 1.15; // zoom per wheel step or key
const STEP = 40; // pixels that an arrow key moves the map by
const LABELLED = 40; // colours at most whose points are labelled
const CELLS = 72; // a side of the grid on which density is counted
const LEVELS = [0.08, 0.2, 0.4, 0.7]; // of the highest density, where contours run

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let view = parentElement.riMap;
  if (!view || !parentElement.contains(view.root)) {
    view = parentElement.riMap = new MapView(parentElement);
  }
  view.send = (ids) => setStateValue("selected", ids);
  view.update(data);
  return () => {};
}

class MapView {
  constructor(parent) {
    this.root = parent.querySelector(".ri-map");
    const find = (name) => this.root.querySelector(name);
    this.tip = find(".ri-tip");
    this.legend = find(".ri-legend");
    this.holder = find(".ri-panels");
    this.panels = [];
    this.mode = "lasso";
    this.selected = new Set(); // places of the selected images
    this.chosen = new Set(); // and their ids
    this.focus = []; // the colours, as places in the palette, that the legend singles out
    this.matches = null; // for each image whether the search finds it, null without a search
    this.version = null;
    this.revision = 0; // counts what changes the points of the panels
    for (const button of this.root.querySelectorAll("[data-mode]")) {
      button.onclick = () => this.setMode(button.dataset.mode);
    }
    find("[data-act=home]").onclick = () => this.home();
    find("[data-act=clear]").onclick = () => this.select([]);
    this.searched = find("[data-act=search]");
    this.found = find("[data-act=found]");
    this.searched.oninput = () => this.search();
    this.searched.onkeydown = (event) => this.takeFound(event);
    this.shown = Object.fromEntries([...this.root.querySelectorAll("[data-show]")].map((box) => [box.dataset.show, box]));
    Object.values(this.shown).forEach((box) => (box.onchange = () => this.draw()));
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  update(data) {
    this.marked = data.marked;
    this.draw();
    if (data.version === this.version) return;
    const moved = data.places !== this.data?.places;
    this.version = data.version;
    this.data = unpacked(data);
    this.makePanels();
    if (moved) this.home();
    this.panels.forEach((panel, place) => panel.take(this.data.panels[place]));
    // A selection is of images: other points may stand in their places now.
    this.selected = new Set(data.ids.flatMap((id, place) => (this.chosen.has(id) ? [place] : [])));
    this.hovered = null;
    this.tip.hidden = true;
    this.focus = [];
    this.words = null;
    this.drawLegend();
    this.search();
    this.setMode(this.mode);
  }

  makePanels() {
    const wanted = this.data.panels.length;
    while (this.panels.length > wanted) this.panels.pop().element.remove();
    while (this.panels.length < wanted) this.panels.push(new Panel(this));
    this.holder.style.setProperty("--panels", wanted);
    this.shown.arrows.parentElement.hidden = wanted < 2;
    this.shown.labels.parentElement.hidden = !this.data.legend.items;
  }

  setMode(mode) {
    this.mode = mode;
    for (const button of this.root.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    this.panels.forEach((panel) => (panel.canvas.style.cursor = mode === "lasso" ? "crosshair" : "grab"));
  }

  /** Show all of the map; every panel shows the same part of it. */
  home() {
    const { extent } = this.data;
    this.frame = { x: (extent[0] + extent[1]) / 2, y: (extent[2] + extent[3]) / 2, zoom: 1 };
    this.draw();
  }

  select(places) {
    this.selected = new Set(places);
    this.chosen = new Set(places.map((place) => this.data.ids[place]));
    this.redraw();
    this.send([...this.chosen]);
  }

  // --- search ---------------------------------------------------------------------------------------------------

  /** Have only those images in colour of which every word typed is part of a class, task, prediction or id. */
  search() {
    const words = this.searched.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.matches = words.length ? this.haystack().map((text) => words.every((word) => text.includes(word))) : null;
    const count = this.matches?.filter(Boolean).length;
    this.found.textContent = this.matches ? `${count} found${count ? ", Enter selects" : ""}` : "";
    this.redraw();
  }

  takeFound(event) {
    if (event.key === "Enter" && this.matches) {
      const found = this.matches.flatMap((match, place) => (match ? [place] : []));
      this.searched.value = "";
      this.matches = null;
      this.found.textContent = "";
      this.select(found);
    }
    event.stopPropagation(); // letters are shortcuts elsewhere
  }

  haystack() {
    const { ids, classes, tasks, task, truth, models } = this.data;
    this.words ??= ids.map((id, place) => [classes[truth[place]], tasks[task[place]], id,
      ...models.map(({ says }) => classes[says[place]])].join("\n").toLowerCase());
    return this.words;
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  redraw() {
    this.revision += 1;
    this.draw();
  }

  draw() {
    if (!this.pending && this.data) {
      this.pending = requestAnimationFrame(() => {
        this.pending = null;
        this.panels.forEach((panel) => panel.draw());
      });
    }
  }

  /** Return the colour of a place in the palette: those that the legend singles out are told apart. */
  colour(code) {
    const { palette, distinct, legend } = this.data, order = this.focus.indexOf(code);
    return order >= 0 && legend.repeats ? distinct[order % distinct.length] : palette[code];
  }

  drawLegend() {
    const { legend } = this.data;
    this.legend.replaceChildren();
    (legend.items ?? []).forEach(({ label, colour }, code) => {
      const item = document.createElement("button");
      item.type = "button";
      item.title = "Show only these in colour; click again for all";
      const dot = document.createElement("i");
      dot.style.background = colour;
      item.append(dot, label);
      item.setAttribute("aria-pressed", "false");
      item.onclick = () => this.single(code);
      this.legend.append(item);
    });
    if (legend.gradient) {
      const bar = document.createElement("b");
      bar.style.background = `linear-gradient(90deg, ${legend.gradient.join(",")})`;
      this.legend.append(legend.low, bar, legend.high);
    }
  }

  single(code) {
    this.focus = this.focus.includes(code) ? this.focus.filter((each) => each !== code) : [...this.focus, code];
    [...this.legend.children].forEach((item, each) => {
      item.setAttribute("aria-pressed", String(this.focus.includes(each)));
      item.firstChild.style.background = this.colour(each);
    });
    this.redraw();
  }

  hover(panel, event) {
    const place = panel.nearest(event);
    if (place !== this.hovered) {
      this.hovered = place;
      this.draw();
      if (place === null) {
        this.tip.hidden = true;
        return;
      }
      this.fillTip(place);
    }
    if (place !== null) {
      const box = this.root.getBoundingClientRect();
      const width = this.tip.offsetWidth;
      const left = Math.min(event.clientX - box.left + 16, box.width - width - 4);
      this.tip.style.left = `${Math.max(0, left)}px`;
      this.tip.style.top = `${event.clientY - box.top + 16}px`;
    }
  }

  fillTip(place) {
    this.tip.hidden = false;
    const picture = this.tip.querySelector("div");
    const shelf = globalThis.riPictures?.[this.data.pictures];
    picture.hidden = !shelf;
    if (shelf) {
      const side = 84;
      const column = shelf.index[this.data.ids[place]];
      const across = shelf.columns;
      picture.style.backgroundImage = `url(${shelf.url})`;
      picture.style.backgroundSize = `${across * side}px auto`;
      picture.style.backgroundPosition = `-${(column % across) * side}px -${Math.floor(column / across) * side}px`;
    }
    const lines = this.tip.querySelector("p");
    lines.replaceChildren(...this.texts(place).map((line, number) => {
      const row = document.createElement(number ? "span" : "strong");
      row.textContent = line;
      return row;
    }));
  }

  /** Say what an image is, and what each model says of it. */
  texts(place) {
    const { classes, tasks, task, truth, models } = this.data;
    return [`${classes[truth[place]]} (${tasks[task[place]]})`, ...models.map(({ title, says, right, drift }) =>
      `${title}: ${classes[says[place]]}${right[place] ? " ✓" : ""}${drift ? `, drift ${drift[place].toFixed(3)}` : ""}`)];
  }
}

class Panel {
  constructor(owner) {
    this.owner = owner;
    this.element = document.createElement("div");
    this.element.className = "ri-panel";
    this.title = document.createElement("h4");
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.element.append(this.title, this.canvas);
    owner.holder.append(this.element);
    this.canvas.onpointermove = (event) => this.move(event);
    this.canvas.onpointerdown = (event) => this.down(event);
    this.canvas.onpointerup = (event) => this.up(event);
    this.canvas.onpointerleave = () => owner.hover({ nearest: () => null }, {});
    this.canvas.ondblclick = () => owner.select([]);
    this.canvas.onkeydown = (event) => this.key(event);
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  take(part) {
    this.part = part;
    this.title.textContent = part.title;
    this.canvas.setAttribute("aria-label", `${part.title}: ${this.owner.data.alt}`);
  }

  get frame() {
    return this.owner.frame;
  }

  // Pixels per map unit, the same both ways: distances on the map keep their proportion.
  scale() {
    const { extent } = this.owner.data;
    const width = Math.max(extent[1] - extent[0], 1e-9);
    const height = Math.max(extent[3] - extent[2], 1e-9);
    return 0.92 * Math.min(this.width / width, this.height / height) * this.frame.zoom;
  }

  // Where the origin of the map lies on the canvas, and the scale.
  origin() {
    const scale = this.scale();
    return [this.width / 2 - this.frame.x * scale, this.height / 2 + this.frame.y * scale, scale];
  }

  // Where a point of the map lies on the canvas: (x, y) → [x, y].
  placing() {
    const [left, top, scale] = this.origin();
    return (x, y) => [left + x * scale, top - y * scale];
  }

  // Where the points of a part lie on the canvas: (place) → [x, y].
  projection(part = this.part) {
    const at = this.placing();
    return (place) => at(part.x[place], part.y[place]);
  }

  position(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  nearest(event) {
    const [left, top, scale] = this.origin(), [across, down] = this.position(event);
    const x = (across - left) / scale, y = (top - down) / scale;
    let best = (REACH / scale) ** 2, found = null;
    for (let place = 0; place < this.part.x.length; place++) {
      const square = (this.part.x[place] - x) ** 2 + (this.part.y[place] - y) ** 2;
      if (square < best) [best, found] = [square, place];
    }
    return found;
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.path = [this.position(event)];
    this.start = { ...this.frame };
    this.owner.hovered = null;
    this.owner.tip.hidden = true;
  }

  move(event) {
    if (!this.path) return this.owner.hover(this, event);
    const here = this.position(event);
    if (this.owner.mode === "lasso") {
      this.path.push(here);
    } else {
      const scale = this.scale();
      this.frame.x = this.start.x - (here[0] - this.path[0][0]) / scale;
      this.frame.y = this.start.y + (here[1] - this.path[0][1]) / scale;
    }
    this.owner.draw();
  }

  up(event) {
    const path = this.path;
    this.path = null;
    if (this.owner.mode === "lasso" && path && path.length > 4) {
      this.owner.select(this.places((point) => within(point, path)));
    } else if (path && path.every(([x, y]) => Math.hypot(x - path[0][0], y - path[0][1]) < 3)) {
      const place = this.nearest(event);
      if (place !== null) this.owner.select([place]);
    }
    this.owner.draw();
  }

  /** Return the images whose points, in pixels, are wanted: of those in colour, where the legend or a search greys some. */
  places(wanted) {
    const at = this.projection(), { matches, focus } = this.owner;
    return [...this.part.x.keys()].filter((place) => (!matches || matches[place])
      && (!focus.length || focus.includes(this.part.colour[place])) && wanted(at(place)));
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? FACTOR : 1 / FACTOR, this.position(event));
  }

  // The point at [x, y] stays there.
  zoom(factor, [x, y]) {
    const before = this.scale();
    this.frame.zoom = Math.min(200, Math.max(0.3, this.frame.zoom * factor));
    const after = this.scale();
    this.frame.x += (x - this.width / 2) * (1 / before - 1 / after);
    this.frame.y -= (y - this.height / 2) * (1 / before - 1 / after);
    this.owner.draw();
  }

  key(event) {
    const step = STEP / this.scale(), middle = [this.width / 2, this.height / 2];
    const acts = {
      ArrowLeft: () => (this.frame.x -= step),
      ArrowRight: () => (this.frame.x += step),
      ArrowUp: () => (this.frame.y += step),
      ArrowDown: () => (this.frame.y -= step),
      "+": () => this.zoom(FACTOR, middle),
      "-": () => this.zoom(1 / FACTOR, middle),
      Enter: () => this.owner.select(this.places(([x, y]) => x >= 0 && y >= 0 && x <= this.width && y <= this.height)),
      Escape: () => this.owner.select([]),
    };
    if (acts[event.key] && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      acts[event.key]();
      this.owner.draw();
    }
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    if (!this.width || !this.part) return;
    const { x, y, zoom } = this.frame, { revision, selected, hovered, shown } = this.owner;
    const state = [revision, x, y, zoom, this.width, this.height, ratio].join();
    if (revision !== this.revision) {
      this.revision = revision;
      this.bright = this.inColour();
      this.contours = this.centres = null;
    }
    const pen = this.canvas.getContext("2d");
    if (state !== this.state) {
      this.state = state;
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(this.height * ratio);
      this.points = this.paint(ratio);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.putImageData(this.points, 0, 0);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { ink } = this.owner.data;
    if (shown.density.checked) this.drawDensity(pen, ink);
    if (shown.arrows.checked) this.drawArrows(pen, selected.size ? [...selected] : null, ink);
    if (shown.prototypes.checked) this.drawPrototypes(pen);
    else if (shown.labels.checked) this.drawLabels(pen);
    const marked = this.owner.marked === null ? -1 : this.owner.data.ids.indexOf(this.owner.marked);
    for (const place of new Set([marked, hovered ?? -1])) {
      if (place >= 0) this.ring(pen, place, ink);
    }
    if (this.path && this.owner.mode === "lasso") this.drawLasso(pen, ink);
  }

  /** Return for each image whether it is in colour: selected, where some are, singled out and found likewise. */
  inColour() {
    const { selected, matches, focus } = this.owner, { colour } = this.part;
    return Uint8Array.from(colour, (code, place) => (!selected.size || selected.has(place))
      && (!matches || matches[place]) && (!focus.length || focus.includes(code)));
  }

  // All points as pixels: what is not in colour in grey, below the rest.
  paint(ratio) {
    const { owner, bright, part: { x, y, colour } } = this, { ground, grey } = owner.data;
    const image = new ImageData(this.canvas.width, this.canvas.height);
    const many = x.length > MANY, ink = (colour) => (many ? word(colour) : rgb(colour)), put = many ? stamp : blend;
    const target = many ? { data: new Uint32Array(image.data.buffer), width: image.width, height: image.height } : image;
    new Uint32Array(image.data.buffer).fill(word(ground));
    const colours = owner.data.palette.map((_, code) => ink(owner.colour(code))), rest = ink(grey);
    const dot = disc((many ? SMALL : RADIUS) * ratio).filter(([, , opacity]) => !many || opacity > 0.4);
    const [left, top, scale] = this.origin().map((each) => each * ratio);
    for (const shown of bright.includes(0) ? [0, 1] : [1]) {
      for (let place = 0; place < x.length; place++) {
        if (bright[place] !== shown) continue;
        put(target, dot, Math.round(left + x[place] * scale), Math.round(top - y[place] * scale),
          shown ? colours[colour[place]] : rest);
      }
    }
    return image;
  }

  // From where the first panel's model has each image to where this one has it.
  drawArrows(pen, places, ink) {
    const [first] = this.owner.panels;
    if (first === this) return;
    const chosen = places ?? [...this.part.x.keys()];
    const from = this.projection(first.part), to = this.projection();
    pen.strokeStyle = ink;
    pen.globalAlpha = places ? 0.5 : 0.12;
    pen.lineWidth = 1;
    pen.beginPath();
    for (const place of chosen) {
      pen.moveTo(...from(place));
      pen.lineTo(...to(place));
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  drawDensity(pen, ink) {
    this.contours ??= contours(this.part, this.bright);
    const at = this.placing();
    pen.strokeStyle = ink;
    pen.lineWidth = 1;
    this.contours.forEach((lines, level) => {
      pen.globalAlpha = 0.3 + 0.15 * level;
      pen.beginPath();
      for (const [from, to] of lines) {
        pen.moveTo(...at(...from));
        pen.lineTo(...at(...to));
      }
      pen.stroke();
    });
    pen.globalAlpha = 1;
  }

  // The heads' prototypes, with the names of as many as there is room for.
  drawPrototypes(pen) {
    const { prototypes, ink, ground } = this.owner.data, { focus } = this.owner, at = this.placing();
    const names = new Names(pen, this.owner.data);
    const places = [...prototypes.x.keys()].filter((place) => !focus.length || focus.includes(prototypes.code[place]));
    for (const place of places) {
      const [across, down] = at(prototypes.x[place], prototypes.y[place]);
      pen.fillStyle = this.owner.colour(prototypes.code[place]) ?? ink;
      pen.strokeStyle = ground;
      pen.lineWidth = 1.5;
      pen.beginPath();
      [[0, -6], [6, 0], [0, 6], [-6, 0]].forEach(([dx, dy]) => pen.lineTo(across + dx, down + dy));
      pen.closePath();
      pen.stroke();
      pen.fill();
    }
    for (const place of places) { // over all diamonds
      const [across, down] = at(prototypes.x[place], prototypes.y[place]);
      names.write(prototypes.labels[place], across, down - 13);
    }
  }

  // Each colour's name where its points are densest, the largest first.
  drawLabels(pen) {
    this.centres ??= centres(this.part, this.bright);
    const { items } = this.owner.data.legend, at = this.placing(), names = new Names(pen, this.owner.data);
    for (const [code, x, y] of this.centres.slice(0, LABELLED)) {
      if (items?.[code]) names.write(items[code].label, ...at(x, y));
    }
  }

  ring(pen, place, ink) {
    const [x, y] = this.projection()(place);
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, 6.6, 0, 2 * Math.PI);
    pen.stroke();
  }

  drawLasso(pen, ink) {
    pen.strokeStyle = ink;
    pen.setLineDash([4, 3]);
    pen.lineWidth = 1.2;
    pen.beginPath();
    this.path.forEach(([x, y]) => pen.lineTo(x, y));
    pen.closePath();
    pen.stroke();
    pen.setLineDash([]);
  }
}

/** Names written on a canvas, none over another. */
class Names {
  constructor(pen, { ink, ground }) {
    Object.assign(this, { pen, ink, ground, taken: [] });
    pen.font = "600 12px sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
  }

  write(name, x, y) {
    const half = this.pen.measureText(name).width / 2 + 2;
    if (this.taken.some(([left, right, middle]) => x + half > left && x - half < right && Math.abs(y - middle) < 14)) return;
    this.taken.push([x - half, x + half, y]);
    this.pen.lineWidth = 3;
    this.pen.lineJoin = "round";
    this.pen.strokeStyle = this.ground;
    this.pen.strokeText(name, x, y);
    this.pen.fillStyle = this.ink;
    this.pen.fillText(name, x, y);
  }
}

// --- where points are dense -----------------------------------------------------------------------------------------

/** Return a counting of points on a grid: `counts`, and where a cell's middle lies on the map. */
function grid({ x, y }, chosen, cells) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let place = 0; place < x.length; place++) {
    [left, right] = [Math.min(left, x[place]), Math.max(right, x[place])];
    [low, high] = [Math.min(low, y[place]), Math.max(high, y[place])];
  }
  const margin = 0.06 * Math.max(right - left, high - low, 1e-9);
  [left, low] = [left - margin, low - margin];
  const wide = (right + margin - left) / cells, tall = (high + margin - low) / cells;
  const counts = new Float64Array(cells * cells);
  for (let place = 0; place < x.length; place++) {
    if (chosen[place]) counts[Math.floor((y[place] - low) / tall) * cells + Math.floor((x[place] - left) / wide)] += 1;
  }
  return { counts, cells, middle: (column, row) => [left + (column + 0.5) * wide, low + (row + 0.5) * tall] };
}

/** Return counts blurred along both axes, `passes` times by five cells: nearly as by a Gaussian. */
function blurred({ counts, cells }, passes) {
  let now = counts;
  for (let pass = 0; pass < passes; pass++) {
    for (const [along, across] of [[1, cells], [cells, 1]]) {
      const next = new Float64Array(now.length);
      for (let line = 0; line < cells; line++) {
        for (let at = 0; at < cells; at++) {
          for (let by = Math.max(-2, -at); by <= Math.min(2, cells - 1 - at); by++) {
            next[line * across + at * along] += now[line * across + (at + by) * along] / 5;
          }
        }
      }
      now = next;
    }
  }
  return now;
}

/** Return each level's lines, [[x, y], [x, y]] in map units, by marching squares on the blurred density. */
function contours(part, chosen) {
  const field = grid(part, chosen, CELLS), { cells, middle } = field;
  const density = blurred(field, 3), top = density.reduce((most, each) => Math.max(most, each), 0);
  return LEVELS.map((share) => {
    const level = share * top, lines = [];
    for (let row = 0; row + 1 < cells; row++) {
      for (let column = 0; column + 1 < cells; column++) {
        const corners = [[column, row], [column + 1, row], [column + 1, row + 1], [column, row + 1]];
        const values = corners.map(([c, r]) => density[r * cells + c] - level);
        const crossed = [];
        for (let side = 0; side < 4; side++) { // where the level crosses a side of the square
          const [from, to] = [values[side], values[(side + 1) % 4]];
          if (from > 0 !== to > 0) {
            const [[c0, r0], [c1, r1]] = [corners[side], corners[(side + 1) % 4]], part = from / (from - to);
            crossed.push(middle(c0 + part * (c1 - c0), r0 + part * (r1 - r0)));
          }
        }
        for (let pair = 0; pair + 1 < crossed.length; pair += 2) lines.push([crossed[pair], crossed[pair + 1]]);
      }
    }
    return lines;
  });
}

/** Return [colour, x, y] of where each colour's points are densest, those with most points first. */
function centres(part, bright) {
  const sizes = new Map();
  part.colour.forEach((code, place) => bright[place] && sizes.set(code, (sizes.get(code) ?? 0) + 1));
  return [...sizes].sort((one, other) => other[1] - one[1]).slice(0, LABELLED).map(([code]) => {
    const own = part.colour.map((each, place) => Number(each === code && bright[place]));
    const field = grid(part, own, 32), density = blurred(field, 1);
    const best = density.indexOf(density.reduce((most, each) => Math.max(most, each), 0));
    return [code, ...field.middle(best % 32, Math.floor(best / 32))];
  });
}

// --- data and pixels --------------------------------------------------------------------------------------------------

const KINDS = { f4: Float32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array };

/** Return data with every packed column, {kind, bytes}, as an array. */
function unpacked(value) {
  if (Array.isArray(value)) return typeof value[0] === "object" ? value.map(unpacked) : value;
  if (value === null || typeof value !== "object") return value;
  if (value.kind in KINDS && typeof value.bytes === "string") {
    const text = atob(value.bytes), bytes = new Uint8Array(text.length);
    for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
    return new KINDS[value.kind](bytes.buffer);
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, unpacked(each)]));
}

// "#RRGGBB" or "rgb(r, g, b)" as three numbers.
function rgb(colour) {
  if (colour.startsWith("#")) return [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return colour.match(/[\d.]+/g).slice(0, 3).map(Number);
}

// A colour as a pixel of a canvas is in memory.
function word(colour) {
  return new Uint32Array(new Uint8ClampedArray([...rgb(colour), 255]).buffer)[0];
}

// The pixels of a dot, [dx, dy, opacity] each, soft at the rim.
function disc(radius) {
  const reach = Math.ceil(radius), pixels = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
      if (cover > 0) pixels.push([dx, dy, cover * OPACITY]);
    }
  }
  return pixels;
}

function blend({ data, width, height }, pixels, x, y, colour) {
  const [red, green, blue] = colour;
  for (let number = 0; number < pixels.length; number++) {
    const pixel = pixels[number], column = x + pixel[0], row = y + pixel[1], opacity = pixel[2];
    if (column < 0 || row < 0 || column >= width || row >= height) continue;
    const place = 4 * (row * width + column);
    data[place] += (red - data[place]) * opacity;
    data[place + 1] += (green - data[place + 1]) * opacity;
    data[place + 2] += (blue - data[place + 2]) * opacity;
  }
}

function stamp({ data, width, height }, pixels, x, y, colour) {
  if (x < -9 || y < -9 || x > width + 8 || y > height + 8) return; // not in view
  for (let number = 0; number < pixels.length; number++) {
    const pixel = pixels[number], column = x + pixel[0], row = y + pixel[1];
    if (column >= 0 && row >= 0 && column < width && row < height) data[row * width + column] = colour;
  }
}

// Even-odd rule.
function within([x, y], path) {
  let inside = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
    const [xi, yi] = path[i], [xj, yj] = path[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}
