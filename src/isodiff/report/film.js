"use strict";
// The reel: pieces of text (or bytes, where a token is not whole characters), numbered; of each text the state that
// was given, the noise at its undecided positions, and per network evaluation the positions that changed, each followed by its
// new piece or UNDECIDED.
const reel = JSON.parse(document.getElementById("reel").textContent);
const UNDECIDED = -1;
const last = Math.max(...reel.takes.map((take) => take.frames.length));

function stateAfter(take, count) {
  const tokens = Int32Array.from(take.start);
  for (const frame of [take.noise, ...take.frames.slice(0, count)]) {
    for (let i = 0; i < frame.length; i += 2) tokens[frame[i]] = frame[i + 1];
  }
  return tokens;
}

// What each evaluation did, by position: filled an undecided position, changed a token, emptied a position.
function changes(take) {
  const tokens = stateAfter(take, 0);
  return take.frames.map((frame) => {
    const found = new Map();
    for (let i = 0; i < frame.length; i += 2) {
      const [place, token] = [frame[i], frame[i + 1]];
      found.set(place, token === UNDECIDED ? "emptied" : tokens[place] === UNDECIDED ? "filled" : "changed");
      tokens[place] = token;
    }
    return found;
  });
}

// A character without a shape of its own, a byte without its character and the end of a document are shown by a sign.
const SHAPELESS = /([\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}])/u;
const CHARACTER = new RegExp( // of UTF-8, bytes written as code points; or else one byte
  "([\\x00-\\x7f]|[\\xc2-\\xdf][\\x80-\\xbf]|\\xe0[\\xa0-\\xbf][\\x80-\\xbf]|\\xed[\\x80-\\x9f][\\x80-\\xbf]"
  + "|[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}|\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}|[\\xf1-\\xf3][\\x80-\\xbf]{3}"
  + "|\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2})|[^]", "g");
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const hex = (number, length) => number.toString(16).toUpperCase().padStart(length, "0");
const digits = (number) => { // in two rows, so that a byte is as wide as a letter
  const all = hex(number, 2);
  return `${all.slice(0, Math.ceil(all.length / 2))}\n${all.slice(Math.ceil(all.length / 2))}`;
};

function shown(text) {
  return text.split(SHAPELESS).filter(Boolean).map((part) => {
    if (!SHAPELESS.test(part)) return { text: part };
    const name = `U+${hex(part.codePointAt(0), 4)}`;
    if (part === "\n") return { text: "↵", name };
    return part === "\t" ? { text: "→", name } : { text: digits(part.codePointAt(0)), name, small: true };
  });
}

// What stands in each cell of a state. A character of several tokens stands in the first of them.
function looks(take, tokens) {
  const parts = Array.from(tokens, () => []);
  let bytes = [], owners = [];
  const join = () => {
    for (const { 0: found, 1: whole, index } of String.fromCharCode(...bytes).matchAll(CHARACTER)) {
      const part = Uint8Array.from(bytes.slice(index, index + found.length));
      const stray = { text: digits(part[0]), name: `byte ${hex(part[0], 2)}`, small: true };
      parts[owners[index]].push(...(whole ? shown(utf8.decode(part)) : [stray]));
    }
    bytes = [], owners = [];
  };
  tokens.forEach((token, i) => {
    const piece = reel.pieces[token];
    if (Array.isArray(piece)) {
      bytes.push(...piece);
      owners.push(...piece.map(() => i));
      return;
    }
    join();
    if (token === reel.end) parts[i] = i > take.kept ? [] : [{ text: "∎", name: "end of document" }];
    else if (token !== UNDECIDED) parts[i] = shown(piece);
  });
  join();
  return parts;
}

function write(cell, parts) {
  cell.replaceChildren(...parts.map((part) => {
    if (!part.name) return document.createTextNode(part.text);
    const sign = document.createElement("i");
    sign.className = part.small ? "small" : "";
    sign.title = part.name;
    sign.textContent = part.text;
    return sign;
  }));
}

// A stage shows a text: a cell per position, below the strip of what each evaluation did.
class Stage {
  constructor(take, section) {
    this.take = take;
    this.changes = changes(take);
    this.count = section.querySelector(".count");
    this.place = section.querySelector(".stage");
    this.cells = Array.from(take.start, () => document.createElement("span"));
    this.names = Array.from(take.start, (token, i) =>
      `cell${token === UNDECIDED ? "" : " given"}${i < take.kept ? "" : " cut"}`);
    this.turned = [];
    this.written = [];
    this.strip(section.querySelector(".strip"));
  }

  paint(count) {
    const { take, cells, written } = this;
    const tokens = stateAfter(take, count), parts = looks(take, tokens), done = this.changes[count - 1];
    cells.forEach((cell, i) => {
      const key = JSON.stringify(parts[i]);
      if (written[i] !== key) write(cell, parts[i]);
      written[i] = key;
      const undecided = tokens[i] === UNDECIDED;
      const turned = this.turned[i] && (undecided || cell.textContent.startsWith(" "));
      const name = [this.names[i], undecided && "undecided", done?.get(i), turned && "turned"].filter(Boolean).join(" ");
      if (cell.className !== name) cell.className = name;
    });
    const total = take.frames.length;
    this.count.textContent = `${Math.min(count, total)} of ${total} network evaluations`;
    this.ahead.setAttribute("x", Math.min(count, total));
  }

  // The lines of the finished text are kept throughout, and an undecided position is as wide as its text: nothing jumps.
  lay() {
    const { take, cells, place } = this;
    this.turned = [];
    this.paint(take.frames.length);
    const breaks = cells.map((cell) => cell.querySelectorAll('[title="U+000A"]').length);
    const turn = () => document.createElement("br");
    place.classList.add("flow");
    place.replaceChildren(...cells.flatMap((cell, i) => [cell, ...Array.from({ length: breaks[i] }, turn)]));
    const lines = [[]];
    let low = null;
    cells.map((cell) => cell.getClientRects()).forEach((boxes, i) => {
      const bottom = boxes.length ? boxes[boxes.length - 1].bottom : low;
      const wrapped = low !== null && bottom > low + 4;
      if (wrapped) lines.push([]);
      this.turned[i] = wrapped && cells[i].textContent.startsWith(" "); // its blank stays outside the line
      lines.at(-1).push(cells[i]);
      for (let n = 0; n < breaks[i]; n++) lines.push([]);
      low = breaks[i] ? null : bottom;
    });
    place.classList.remove("flow");
    place.replaceChildren(...lines.map((line) => {
      const block = document.createElement("div");
      block.className = "line";
      block.dir = "auto";
      block.append(...line);
      return block;
    }));
    this.paint(take.frames.length);
    const widths = cells.map((cell) => cell.getBoundingClientRect().width);
    cells.forEach((cell, i) => cell.style.setProperty("--width", `${widths[i]}px`));
  }

  strip(svg) {
    const totals = this.take.frames.map((frame) => frame.length / 2);
    const most = Math.max(1, ...totals);
    const paths = { filled: "", changed: "", emptied: "" };
    totals.forEach((total, i) => {
      let top = 1;
      const done = [...this.changes[i].values()];
      for (const kind of Object.keys(paths)) {
        const share = done.filter((change) => change === kind).length / total;
        const height = share && (share * Math.log1p(total)) / Math.log1p(most);
        if (height) paths[kind] += `M${i + 0.1} ${top}v${-height}h.8v${height}z`;
        top -= height;
      }
    });
    const add = (tag, attributes) => {
      const node = document.createElementNS(svg.namespaceURI, tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      svg.append(node);
      return node;
    };
    svg.setAttribute("viewBox", `0 0 ${last} 1`);
    for (const [kind, d] of Object.entries(paths)) if (d) add("path", { class: kind, d });
    this.ahead = add("rect", { class: "ahead", y: 0, width: last, height: 1 });
    svg.addEventListener("pointerdown", (event) => {
      const box = svg.getBoundingClientRect();
      pause();
      show(Math.ceil(((event.clientX - box.left) / box.width) * last));
    });
  }
}

// The player moves all texts together: each shows its state after as many evaluations, or its last.
const [player, scrub, now, button, speed] = [".player", "#scrub", "#now", "#play", "#speed"]
  .map((selector) => document.querySelector(selector));
const sections = document.querySelectorAll(".take");
const stages = reel.takes.map((take, i) => new Stage(take, sections[i]));
let at = 0, playing = 0, owed = 0, before = null;

function show(count) {
  at = Math.min(Math.max(count, 0), last);
  for (const stage of stages) stage.paint(at);
  scrub.value = at;
  scrub.setAttribute("aria-valuetext", `${at} of ${last} network evaluations`);
  now.textContent = `${at} / ${last}`;
}

function tick(time) {
  const passed = Math.min(time - (before ?? time), 100); // a page that was out of sight does not run ahead
  owed += (passed * speed.value) / 1000;
  before = time;
  const whole = Math.floor(owed);
  owed -= whole;
  if (whole) show(at + whole);
  if (at === last) pause();
  else playing = requestAnimationFrame(tick);
}

function pause() {
  cancelAnimationFrame(playing);
  playing = 0;
  button.setAttribute("aria-label", "Play");
  player.classList.remove("playing");
}

function start() {
  if (at === last) show(0);
  [owed, before] = [0, null];
  playing = requestAnimationFrame(tick);
  button.setAttribute("aria-label", "Pause");
  player.classList.add("playing");
}

function step(count) {
  pause();
  show(count);
}

const toggle = () => (playing ? pause() : start());
const keys = {
  " ": toggle,
  ArrowLeft: () => step(at - 1),
  ArrowRight: () => step(at + 1),
  Home: () => step(0),
  End: () => step(last),
};
document.addEventListener("keydown", (event) => {
  const own = event.key === " " ? "button, select" : "select"; // these have a use for the key themselves
  if (!keys[event.key] || event.target.closest(own) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});
button.addEventListener("click", toggle);
document.getElementById("back").addEventListener("click", () => step(at - 1));
document.getElementById("forward").addEventListener("click", () => step(at + 1));
scrub.addEventListener("input", () => step(Number(scrub.value)));

const PACES = [1, 2, 4, 8, 16, 32, 64];
speed.append(...PACES.map((pace) => new Option(pace)));
speed.value = PACES.find((pace) => last / pace <= 12) ?? PACES.at(-1);
scrub.max = last;
player.hidden = false;

const met = new Set(stages.flatMap((stage) => [
  ...stage.changes.flatMap((found) => [...found.values()]), ...stage.names.flatMap((name) => name.split(" ")),
  ...(stateAfter(stage.take, 0).includes(UNDECIDED) ? ["open"] : [])]));
for (const item of document.querySelectorAll(".legend li")) item.hidden = !met.has(item.dataset.kind);
document.querySelector(".legend").hidden = false;

let width = null;
new ResizeObserver(([{ contentRect }]) => {
  if (contentRect.width === width) return;
  const first = width === null;
  width = contentRect.width;
  for (const stage of stages) stage.lay();
  if (!first) return show(at);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  show(still ? last : 0);
  if (!still) start();
}).observe(document.querySelector(".takes"));
