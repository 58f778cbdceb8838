"use strict";

// Sorting: numbers by value, text by the alphabet, missing values last either way.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const first = heading.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [left, right] = [value(a), value(b)];
        if (left === "" || right === "") return (left === "") - (right === "");
        const numbers = !isNaN(left) && !isNaN(right);
        return sign * (numbers ? left - right : left.localeCompare(right));
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// Filtering: a row stays while it is in the chosen view and holds every word of the filter.
for (const filters of document.querySelectorAll(".filters")) {
  const words = filters.querySelector("input");
  const view = filters.querySelector("select");
  const rows = [...document.getElementById(words.dataset.filter).tBodies[0].rows];
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const inView = !view || row.dataset.views.split(" ").includes(view.value);
      row.hidden = !inView || !wanted.every((word) => text.includes(word));
    }
    const left = rows.filter((row) => !row.hidden).length;
    filters.querySelector(".count").textContent = `${left} of ${rows.length} rows`;
  };
  for (const control of [words, view]) control?.addEventListener("input", apply);
  apply();
}

// Listening: one <audio> a mixture; choosing another signal swaps its source and continues at the same position.
const players = [...document.querySelectorAll(".player")];
for (const player of players) {
  const audio = player.querySelector("audio");
  const picture = player.querySelector(".spectrogram");
  const cursor = player.querySelector(".cursor");
  const buttons = [...player.querySelectorAll("button[data-audio]")];
  let chosen = buttons[0];
  let place = 0; // seconds; kept here because the element forgets it when its source changes
  let loading = false;

  const draw = () => {
    if (!loading) place = audio.currentTime;
    cursor.hidden = !audio.duration;
    if (audio.duration) cursor.style.left = `${(100 * place) / audio.duration}%`;
    chosen.classList.toggle("playing", !audio.paused);
    if (!audio.paused) requestAnimationFrame(draw);
  };
  const choose = (button) => {
    if (audio.ended) place = 0;
    else if (!loading) place = audio.currentTime;
    loading = true;
    chosen.classList.remove("playing");
    chosen.setAttribute("aria-pressed", "false");
    chosen = button;
    chosen.setAttribute("aria-pressed", "true");
    picture.src = button.dataset.spectrogram;
    player.querySelector(".chosen").textContent = button.getAttribute("aria-label");
    audio.src = button.dataset.audio;
    audio.load();
  };
  const focus = (button) => {
    buttons.forEach((other) => (other.tabIndex = other === button ? 0 : -1));
    button.focus();
  };

  audio.addEventListener("loadedmetadata", () => {
    if (loading) audio.currentTime = Math.min(place, audio.duration);
    loading = false;
  });
  audio.addEventListener("play", () => {
    players.forEach((other) => other !== player && other.querySelector("audio").pause());
    draw();
  });
  for (const event of ["pause", "seeked", "ended"]) audio.addEventListener(event, draw);
  buttons.forEach((button, index) => {
    button.tabIndex = index ? -1 : 0; // one stop of the tabulator a player; arrows move inside
    button.addEventListener("click", () => {
      focus(button);
      if (button === chosen && !audio.paused) return audio.pause();
      if (button !== chosen) choose(button);
      audio.play().catch(() => {}); // refused or overtaken by the next choice: the control shows it paused
    });
    button.addEventListener("keydown", (event) => {
      const cell = button.closest("td");
      const across = (row) => row && [...row.cells].filter((other) => other.tagName === "TD");
      const beside = (row) => across(row)?.[Math.min(cell.cellIndex, across(row).length) - 1];
      const next = {
        ArrowLeft: () => buttons[index - 1],
        ArrowRight: () => buttons[index + 1],
        ArrowUp: () => beside(cell.parentElement.previousElementSibling)?.firstElementChild,
        ArrowDown: () => beside(cell.parentElement.nextElementSibling)?.firstElementChild,
      }[event.key]?.();
      if (!next) return;
      event.preventDefault();
      focus(next);
    });
  });
  player.querySelector(".stage").addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    if (audio.duration) audio.currentTime = (audio.duration * (event.clientX - box.left)) / box.width;
  });
}
