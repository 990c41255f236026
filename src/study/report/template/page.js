"use strict";
const controls = document.querySelector(".controls");
const chosen = (id) => document.getElementById(id)?.value ?? "";

function filter() {
  const text = chosen("text").trim().toLowerCase(), subject = chosen("subject"), level = chosen("level");
  for (const part of document.querySelectorAll("[data-subject]"))
    part.hidden = subject !== "" && part.dataset.subject !== subject;
  for (const item of document.querySelectorAll("tbody:not(.faulty) > tr, g.approach")) {
    const out = !item.dataset.name.toLowerCase().includes(text) || (level !== "" && item.dataset.level !== level);
    item.toggleAttribute("hidden", out);
  }
  for (const section of document.querySelectorAll("section.subject"))
    section.querySelector(".empty").hidden = section.querySelector("tbody:not(.faulty) > tr:not([hidden])") !== null;
  document.body.classList.toggle("brief", document.getElementById("further")?.checked === false);
  document.body.classList.toggle("unpublished", document.getElementById("published")?.checked === false);
}

function sort(heading) {
  const column = heading.cellIndex, button = heading.querySelector("button");
  const first = button.hasAttribute("data-descending") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = heading.ariaSort === first ? other : first;
  for (const cell of heading.parentElement.cells) cell.ariaSort = cell === heading ? order : "none";
  const body = heading.closest("table").querySelector("tbody:not(.faulty)");
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => row.cells[column].dataset.sort;
  const rows = [...body.rows].sort((a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
    return sign * (Number(key(a)) - Number(key(b)));
  });
  body.append(...rows);
}

controls.hidden = false;
controls.addEventListener("input", filter);
controls.addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("thead button"))
  button.addEventListener("click", () => sort(button.closest("th")));
filter();
