// Two scatter plots of the same images, one selection: hover shows the image, lasso selects, wheel zooms.
// Data: version, places, panels [{title, x, y, colour}], extent, palette, ground, grey, ink, legend, ids, texts,
// pictures, alt.
// The DOM is built once and survives reruns; only what changed is redrawn. Points are blended into the pixels by hand:
// paths and sprites take many times as long where there is no graphics card, and hovers and lassos need no new points.

const RADIUS = 2.6;
const OPACITY = 0.85;
const REACH = 10; // pixels within which a point answers the pointer
const FACTOR = 1.15; // zoom per wheel step or key
const STEP = 40; // pixels that an arrow key moves the map by

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
    this.tip = this.root.querySelector(".ri-tip");
    this.legend = this.root.querySelector(".ri-legend");
    this.panels = [...this.root.querySelectorAll(".ri-panel")].map((element) => new Panel(element, this));
    this.mode = "lasso";
    this.selected = new Set(); // places of the selected images
    this.chosen = new Set(); // and their ids
    this.version = null;
    this.revision = 0; // counts what changes the points of both panels
    for (const button of this.root.querySelectorAll("[data-mode]")) {
      button.onclick = () => this.setMode(button.dataset.mode);
    }
    this.root.querySelector("[data-act=home]").onclick = () => this.panels.forEach((panel) => panel.home());
    this.root.querySelector("[data-act=clear]").onclick = () => this.select([]);
    this.arrows = this.root.querySelector("[data-act=arrows]");
    this.arrows.onchange = () => this.redraw();
    new ResizeObserver(() => this.draw()).observe(this.root);
    this.setMode("lasso");
  }

  update(data) {
    this.data = data;
    if (data.version !== this.version) {
      const places = data.places !== this.places;
      this.version = data.version;
      this.places = data.places;
      this.panels.forEach((panel, place) => panel.take(data.panels[place], places));
      // A selection is of images: other points may stand in their places now.
      this.selected = new Set(data.ids.flatMap((id, place) => (this.chosen.has(id) ? [place] : [])));
      this.hovered = null;
      this.tip.hidden = true;
      this.drawLegend();
      this.redraw();
    }
  }

  setMode(mode) {
    this.mode = mode;
    for (const button of this.root.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    this.panels.forEach((panel) => (panel.canvas.style.cursor = mode === "lasso" ? "crosshair" : "grab"));
  }

  select(places) {
    this.selected = new Set(places);
    this.chosen = new Set(places.map((place) => this.data.ids[place]));
    this.redraw();
    this.send([...this.chosen]);
  }

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

  drawLegend() {
    const { legend } = this.data;
    this.legend.replaceChildren();
    for (const { label, colour } of legend.items ?? []) {
      const item = document.createElement("span");
      const dot = document.createElement("i");
      dot.style.background = colour;
      item.append(dot, label);
      this.legend.append(item);
    }
    if (legend.gradient) {
      const bar = document.createElement("b");
      bar.style.background = `linear-gradient(90deg, ${legend.gradient.join(",")})`;
      this.legend.append(legend.low, bar, legend.high);
    }
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
    const { texts, pictures } = this.data;
    this.tip.hidden = false;
    const picture = this.tip.querySelector("div");
    const shelf = globalThis.riPictures?.[pictures];
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
    lines.replaceChildren();
    texts[place].forEach((line, number) => {
      const row = document.createElement(number ? "span" : "strong");
      row.textContent = line;
      lines.append(row);
    });
  }
}

class Panel {
  constructor(element, owner) {
    this.owner = owner;
    this.title = element.querySelector("h4");
    this.canvas = element.querySelector("canvas");
    this.canvas.onpointermove = (event) => this.move(event);
    this.canvas.onpointerdown = (event) => this.down(event);
    this.canvas.onpointerup = (event) => this.up(event);
    this.canvas.onpointerleave = () => owner.hover({ nearest: () => null }, {});
    this.canvas.ondblclick = () => owner.select([]);
    this.canvas.onkeydown = (event) => this.key(event);
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  take(part, moved) {
    this.part = part;
    this.title.textContent = part.title;
    this.canvas.setAttribute("aria-label", `${part.title}: ${this.owner.data.alt}`);
    if (moved || !this.frame) this.home();
  }

  home() {
    const { extent } = this.owner.data;
    this.frame = { x: (extent[0] + extent[1]) / 2, y: (extent[2] + extent[3]) / 2, zoom: 1 };
    this.owner.draw();
  }

  // Pixels per map unit, the same both ways: distances on the map keep their proportion.
  scale() {
    const { extent } = this.owner.data;
    const width = Math.max(extent[1] - extent[0], 1e-9);
    const height = Math.max(extent[3] - extent[2], 1e-9);
    return 0.92 * Math.min(this.width / width, this.height / height) * this.frame.zoom;
  }

  // Where the points of a part lie on the canvas: (place) → [x, y].
  projection(part = this.part) {
    const scale = this.scale();
    const left = this.width / 2 - this.frame.x * scale, top = this.height / 2 + this.frame.y * scale;
    return (place) => [left + part.x[place] * scale, top - part.y[place] * scale];
  }

  position(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  nearest(event) {
    const [x, y] = this.position(event);
    const at = this.projection();
    let best = REACH * REACH, found = null;
    for (let place = 0; place < this.part.x.length; place++) {
      const [px, py] = at(place);
      const square = (px - x) ** 2 + (py - y) ** 2;
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

  up() {
    const path = this.path;
    this.path = null;
    if (this.owner.mode === "lasso" && path && path.length > 4) {
      this.owner.select(this.places((point) => within(point, path)));
    }
    this.owner.draw();
  }

  /** Return the images whose points, in pixels, are wanted. */
  places(wanted) {
    const at = this.projection();
    return [...this.part.x.keys()].filter((place) => wanted(at(place)));
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

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    if (!this.width || !this.part) return;
    const { x, y, zoom } = this.frame;
    const state = [this.owner.revision, x, y, zoom, this.width, this.height, ratio].join();
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
    const { selected, hovered } = this.owner;
    if (this.owner.arrows.checked) this.drawArrows(pen, selected.size ? [...selected] : null, ink);
    if (hovered !== null && hovered !== undefined) this.ring(pen, hovered, ink);
    if (this.path && this.owner.mode === "lasso") this.drawLasso(pen, ink);
  }

  // All points as pixels: what is not selected in grey, below the rest.
  paint(ratio) {
    const { palette, ground, grey } = this.owner.data;
    const { selected } = this.owner;
    const image = new ImageData(this.canvas.width, this.canvas.height);
    new Uint32Array(image.data.buffer).fill(new Uint32Array(new Uint8ClampedArray([...rgb(ground), 255]).buffer)[0]);
    const at = this.projection(), colours = palette.map(rgb), dot = disc(RADIUS * ratio), rest = rgb(grey);
    const isRest = (place) => selected.size > 0 && !selected.has(place);
    for (const grey of selected.size ? [true, false] : [false]) {
      for (let place = 0; place < this.part.x.length; place++) {
        if (isRest(place) !== grey) continue;
        const [x, y] = at(place);
        blend(image, dot, Math.round(x * ratio), Math.round(y * ratio), grey ? rest : colours[this.part.colour[place]]);
      }
    }
    return image;
  }

  // From where the other panel's model has each image to where this one has it.
  drawArrows(pen, places, ink) {
    const other = this.owner.panels.find((panel) => panel !== this);
    const chosen = places ?? [...this.part.x.keys()];
    const from = this.projection(other.part), to = this.projection();
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

  ring(pen, place, ink) {
    const [x, y] = this.projection()(place);
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, RADIUS + 4, 0, 2 * Math.PI);
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

// "#RRGGBB" or "rgb(r, g, b)" as three numbers.
function rgb(colour) {
  if (colour.startsWith("#")) return [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return colour.match(/[\d.]+/g).slice(0, 3).map(Number);
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
  for (let number = 0; number < pixels.length; number++) {
    const pixel = pixels[number], column = x + pixel[0], row = y + pixel[1], opacity = pixel[2];
    if (column < 0 || row < 0 || column >= width || row >= height) continue;
    const place = 4 * (row * width + column);
    for (let channel = 0; channel < 3; channel++) {
      data[place + channel] += (colour[channel] - data[place + channel]) * opacity;
    }
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
