"use strict";

// The view of a table, its order, filter and hidden columns, stands in the address: a link to it shows the same.
const address = new URLSearchParams(location.search);
const kept = (table, key) => address.get(`${table.id}.${key}`) ?? "";
const keep = (table, key, value) => {
  if (value) address.set(`${table.id}.${key}`, value);
  else address.delete(`${table.id}.${key}`);
  history.replaceState(null, "", `${location.pathname}${address.size ? "?" : ""}${address}${location.hash}`);
};

// Sorting: numbers by value, text by the alphabet, missing values last either way.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const sort = (column, order) => {
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    headings[column].setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      if (left === "" || right === "") return (left === "") - (right === "");
      const numbers = !isNaN(left) && !isNaN(right);
      return sign * (numbers ? left - right : left.localeCompare(right));
    });
    table.tBodies[0].append(...rows);
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const first = heading.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      sort(column, order);
      keep(table, "order", `${column} ${order}`);
    });
  });
  const [column, order] = kept(table, "order").split(" ");
  if (headings[column]) sort(column, order);
}

// Columns: those whose box is not checked are hidden.
for (const boxes of document.querySelectorAll(".columns")) {
  const table = document.getElementById(boxes.dataset.columns);
  const hidden = new Set(kept(table, "hidden").split(","));
  for (const box of boxes.querySelectorAll("input")) {
    const apply = () => {
      for (const row of table.rows) row.cells[box.value].hidden = !box.checked;
    };
    box.checked = !hidden.has(box.value);
    apply();
    box.addEventListener("input", () => {
      apply();
      keep(table, "hidden", [...boxes.querySelectorAll("input:not(:checked)")].map((one) => one.value).join());
    });
  }
}

// Filtering: a row stays while it is in the chosen view and holds every word of the filter.
for (const filters of document.querySelectorAll(".filters")) {
  const words = filters.querySelector("input[type=search]");
  const view = filters.querySelector("select");
  const table = document.getElementById(words.dataset.filter);
  const rows = [...table.tBodies[0].rows];
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
  words.value = kept(table, "filter");
  if (view) view.selectedIndex = Math.min(Number(kept(table, "view")) || 0, view.length - 1);
  for (const control of [words, view]) {
    control?.addEventListener("input", () => {
      apply();
      keep(table, control === words ? "filter" : "view", control.value === "0" && control === view ? "" : control.value);
    });
  }
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

// Blind comparison (ABX): X is A or B by chance; how many answers were right, and how likely as many are by guessing.
const audio = new Audio(); // of all: only one plays at a time
players.forEach((player) => player.querySelector("audio").addEventListener("play", () => audio.pause()));
for (const abx of document.querySelectorAll(".abx")) {
  const [a, b] = abx.querySelectorAll("select");
  const signals = [...abx.closest(".player").querySelectorAll("button[data-audio]")];
  let isA, right, trials;
  const draw = () => (isA = Math.random() < 0.5);
  const show = () => {
    let ways = 1; // of n answers k right; summed over k and more, a share of 2^n
    let sum = 0;
    for (let k = trials; k >= right; k--) {
      sum += ways;
      ways = (ways * k) / (trials - k + 1);
    }
    const p = (sum / 2 ** trials).toPrecision(2);
    abx.querySelector("output").textContent = trials ? `${right} of ${trials} right, p = ${p} by guessing` : "";
  };
  const restart = () => {
    audio.pause();
    [right, trials] = [0, 0];
    draw();
    show();
  };
  const play = (signal) => {
    players.forEach((player) => player.querySelector("audio").pause());
    const place = audio.currentTime < audio.duration ? audio.currentTime : 0;
    audio.src = signal;
    audio.addEventListener("loadedmetadata", () => (audio.currentTime = place), { once: true });
    audio.play().catch(() => {});
  };
  for (const [index, choice] of [a, b].entries()) {
    for (const signal of signals) choice.add(new Option(signal.getAttribute("aria-label"), signal.dataset.audio));
    choice.selectedIndex = Math.min(3 + 2 * index, signals.length - 1);
    choice.addEventListener("input", restart);
  }
  abx.addEventListener("toggle", () => audio.pause());
  abx.addEventListener("click", ({ target: { dataset } }) => {
    if (dataset.play) play({ a: a.value, b: b.value, x: isA ? a.value : b.value }[dataset.play]);
    if (!dataset.answer) return;
    right += (dataset.answer === "a") === isA;
    trials += 1;
    draw();
    show();
    audio.pause();
  });
  restart();
}
