"use strict";
// Notes of points: on hover, on touch; a point that names its run leads to the run's row.
const note = document.getElementById("note");
const described = (target) => target.closest?.('.drawing [aria-roledescription="point"][aria-label]');

function show(event) {
  const point = described(event.target);
  note.hidden = !point;
  if (!point) return;
  note.textContent = point.getAttribute("aria-label");
  const box = point.getBoundingClientRect();
  const left = box.left + box.width / 2 - note.offsetWidth / 2;
  const above = box.top - note.offsetHeight - 8;
  note.style.left = `${Math.max(8, Math.min(left, innerWidth - note.offsetWidth - 8))}px`;
  note.style.top = `${above > 8 ? above : box.bottom + 8}px`;
}

function follow(event) {
  const point = event.pointerType === "mouse" && described(event.target);
  const run = point && /\brun (\S+?):?$|\brun (\S+?):/.exec(point.getAttribute("aria-label"));
  const key = run && point.closest("article").dataset.key;
  const row = run && document.getElementById(`${key}-run-${run[1] ?? run[2]}`);
  if (row) location.hash = row.id;
}

document.addEventListener("pointerover", show);
document.addEventListener("pointerdown", show);
document.addEventListener("scroll", () => { note.hidden = true; }, { passive: true });
document.addEventListener("click", follow);

// Sortable tables sort by the column whose heading is pressed; pressed again, the other way. What is missing stays last.
function sort(button) {
  const heading = button.closest("th");
  const place = [...heading.parentNode.children].indexOf(heading);
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = heading.closest("table").tBodies[0];
  const key = (row) => {
    const cell = row.children[place];
    return cell.dataset.key === undefined ? cell.textContent : Number(cell.dataset.key === "inf" ? Infinity : cell.dataset.key);
  };
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === Infinity || y === Infinity) return (x === Infinity) - (y === Infinity);
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return down ? -order : order;
  };
  body.append(...[...body.rows].sort(compare));
}

for (const button of document.querySelectorAll("table.sortable thead button")) {
  button.addEventListener("click", () => sort(button));
}
