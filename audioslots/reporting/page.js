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

// Listening: one <audio> a mixture; choosing another signal swaps its source and goes on at the same place.
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

  audio.addEventListener("loadedmetadata", () => {
    if (loading) audio.currentTime = Math.min(place, audio.duration);
    loading = false;
  });
  audio.addEventListener("play", () => {
    players.forEach((other) => other !== player && other.querySelector("audio").pause());
    draw();
  });
  for (const event of ["pause", "seeked", "ended"]) audio.addEventListener(event, draw);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      if (button === chosen && !audio.paused) return audio.pause();
      if (button !== chosen) choose(button);
      audio.play().catch(() => {}); // refused or overtaken by the next choice: the control shows it paused
    });
  }
  player.querySelector(".stage").addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    if (audio.duration) audio.currentTime = (audio.duration * (event.clientX - box.left)) / box.width;
  });
}
