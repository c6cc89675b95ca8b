// Estimates along a slider's path or in a pad's plane, computed in the page from a few measured points
// (ri_analysis/live/sliding.py packs them and says why this is enough). No DOM here: numbers in, numbers out.
//
// A path, as it is sent: {id, held, axes, log, base, offsets, reference, checked, first, nodes: [[{position, values}…]…] by model
// from number `first` on, constants (with the first node only), corrections and errors by model, smooth, says}. axes are
// the entries whose values are free, one on a slider's path and two in a plane; a position has a number for each.

const ROUNDED = 1e-8; // places are rounded: a hand at the very end is still on the path

/** What is known along one slider's path, or in one plane. */
class SlidePath {
  constructor(sent) {
    Object.assign(this, { ...sent.constants, id: sent.id, nodes: [] });
    this.labels = perTask(floats(sent.constants.labels), this.tasks);
    this.certainty = perTask(floats(sent.constants.certainty), this.tasks);
    this.take(sent);
  }

  /** Add what is new. */
  take(sent) {
    const { held, axes, log, base, offsets, reference, checked, errors, smooth, says } = sent;
    Object.assign(this, { held, axes, log, base, offsets, reference, checked, errors, smooth, says });
    if (sent.first > this.nodes.length) {
      return; // something between is missing; it is asked for again
    }
    this.nodes.length = sent.first;
    const models = sent.nodes;
    models[0].forEach((node, place) => this.nodes.push({
      position: node.position,
      models: models.map((each) => unpackPoint(floats(each[place].values), this.tasks, sent.first + place + 1)),
    }));
    this.corrections = sent.corrections.map((each) => unpackCorrection(each, this.tasks, this.variables));
  }

  /** Return what need not be sent again. */
  have() {
    return [this.id, this.nodes.length, this.checked, this.reference];
  }

  /** Return where on the path the sliders' values lie, null where they do not or too little is known there. */
  position(values) {
    for (const [entry, usual] of Object.entries(this.base)) {
      const by = this.offsets[entry];
      const expected = by === undefined ? usual : Math.min(10, Math.max(-10, values[this.axes[0]] + by));
      if (!this.axes.includes(entry) && Math.abs(values[entry] - expected) > 1e-6) {
        return null;
      }
    }
    const position = this.axes.map((entry) => (this.log ? Math.log(values[entry]) : values[entry]));
    const within = position.every((value, axis) => {
      const places = this.nodes.map((node) => node.position[axis]);
      return Math.min(...places) - ROUNDED <= value && value <= Math.max(...places) + ROUNDED;
    });
    return this.smooth && within ? position : null;
  }

  /** Return which nodes make up the model at a position, and how much of each, as [number, weight]. */
  mix(position) {
    const places = this.nodes.map((node) => node.position);
    const weights = position.map((value, axis) => lagrange([...new Set(places.map((place) => place[axis]))], value));
    return places.map((place, at) => [at, place.reduce((product, value, axis) => product * weights[axis].get(value), 1)]);
  }

  /** Return the rows of bars at a position: for each task and "mean", one [value, low, high] a model and measure. */
  rows(position) {
    const rows = {};
    const put = (name, measure, bar) => ((rows[name] ??= { accuracy: [], interference: [] })[measure].push(bar));
    const mix = this.mix(position);
    this.corrections.forEach((correction, model) => {
      const seen = this.tasks.map((task, place) => outcomes(
        task, mix.map(([at, weight]) => ({ at, weight, point: this.nodes[at].models[model][place] })),
        this.labels[place], this.certainty[place]));
      for (const measure of ["accuracy", "interference"]) {
        const { means, variances } = regress(seen.map((each) => each[measure]), correction, this);
        const error = this.errors[model][measure];
        this.tasks.forEach(({ name }, place) =>
          put(name, measure, bar(means[place], this.z * Math.sqrt(variances[place]) + error.tasks[name])));
        const spread = (this.z * Math.sqrt(sum(variances))) / means.length;
        put("mean", measure, bar(sum(means) / means.length, spread + error.mean));
      }
    });
    return rows;
  }
}

/** Return the weight of each of some places in the polynomial through them, at a position. */
function lagrange(places, position) {
  return new Map(places.map((place) => [place, places.filter((other) => other !== place).reduce(
    (product, other) => (product * (position - other)) / (place - other), 1)]));
}

/** Return which images of a task are right, and their KL(expert ‖ model) in nats, in a mix of points. */
function outcomes({ n, classes }, mix, labels, certainty) {
  const accuracy = new Float64Array(n), interference = new Float64Array(n), logits = new Float64Array(classes);
  for (let image = 0; image < n; image++) {
    const length = Math.sqrt(squaredNorm(mix, image));
    let mean = 0;
    logits.fill(0);
    for (const { weight, point } of mix) {
      const share = weight / length, from = image * classes;
      mean += share * point.mean[image];
      for (let each = 0; each < classes; each++) {
        logits[each] += share * point.logits[from + each];
      }
    }
    let best = 0;
    for (let each = 1; each < classes; each++) {
      best = logits[each] > logits[best] ? each : best;
    }
    let total = 0;
    for (let each = 0; each < classes; each++) {
      total += Math.exp(logits[each] - logits[best]);
    }
    accuracy[image] = best === labels[image] ? 1 : 0;
    interference[image] = Math.max(0, certainty[image] - mean + logits[best] + Math.log(total));
  }
  return { accuracy, interference };
}

function squaredNorm(mix, image) {
  let total = 0;
  for (const one of mix) {
    for (const other of mix) {
      const later = one.at >= other.at ? one : other; // it holds the products with all before it
      const earlier = one.at >= other.at ? other : one;
      total += one.weight * other.weight * later.point.gram[image * (later.at + 1) + earlier.at];
    }
  }
  return total;
}

/** Return each task's estimated mean over all its images, and its variance; as Correction.regress of live/estimate.py. */
function regress(values, { fitted, tasks: known }, { tasks, shared, variables }) {
  const slopes = new Float64Array(variables);
  const dot = (row, at) => slopes.reduce((total, slope, each) => total + slope * row[at * variables + each], 0);
  values.forEach((value, task) => value.forEach((each, image) => {
    for (let variable = 0; variable < variables; variable++) {
      slopes[variable] += known[task].projection[image * variables + variable] * each;
    }
  }));
  const rests = values.map((value, task) => value.map((each, image) => each - dot(known[task].seen, image)));
  const middles = rests.map((rest) => sum(rest) / rest.length);
  const squares = rests.map((rest, task) => sum(rest.map((each) => (each - middles[task]) ** 2)));
  const counted = sum(tasks.map(({ n }) => n)) - tasks.length;
  const freedom = Math.max(1, counted - fitted);
  return {
    means: middles.map((middle, task) => middle + dot(known[task].whole, 0)),
    variances: tasks.map(({ n, size }, task) =>
      ((counted / freedom) * (squares[task] + (shared * sum(squares)) / freedom) * (1 - n / size))
        / (n - 1 + shared) / n),
  };
}

// --- what is sent ---------------------------------------------------------------------------------------------------

function unpackPoint(values, tasks, number) {
  let from = 0;
  const next = (count) => values.subarray(from, (from += count));
  return tasks.map(({ n, classes }) => ({ logits: next(n * classes), mean: next(n), gram: next(n * number) }));
}

function unpackCorrection({ fitted, values }, tasks, variables) {
  const all = floats(values);
  let from = 0;
  const next = (count) => all.subarray(from, (from += count));
  return { fitted, tasks: tasks.map(({ n }) => ({
    seen: next(n * variables), projection: next(n * variables), whole: next(variables),
  })) };
}

function perTask(values, tasks) {
  let from = 0;
  return tasks.map((task) => values.subarray(from, (from += task.n)));
}

function floats(text) {
  return new Float32Array(Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer);
}

function bar(value, by) {
  return [value, value - by, value + by];
}

function sum(values) {
  return values.reduce((total, each) => total + each, 0);
}
