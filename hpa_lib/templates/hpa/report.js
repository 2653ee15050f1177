// Comforts of a run's page. Without this script every part of the page still works.
"use strict";
(() => {
  // One switch for all code cells.
  const toggle = document.querySelector("button.all-code");
  const cells = [...document.querySelectorAll("details.code")];
  const show = () => {
    const all = cells.every((cell) => cell.open);
    toggle.setAttribute("aria-pressed", String(all));
  };
  if (cells.length) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      const open = toggle.getAttribute("aria-pressed") !== "true";
      for (const cell of cells) cell.open = open;
      show();
    });
    for (const cell of cells) cell.addEventListener("toggle", show);
  }

  // Figures enlarge in a dialog; Escape, the button or a click beside the picture closes it.
  document.documentElement.classList.add("scripted");
  const dialog = document.createElement("dialog");
  dialog.className = "lightbox";
  dialog.setAttribute("aria-label", "Enlarged figure");
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  const picture = document.createElement("img");
  const caption = document.createElement("p");
  dialog.append(close, picture, caption);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    if (event.target !== picture && event.target !== caption) dialog.close();
  });
  for (const link of document.querySelectorAll("a.enlarge")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const source = link.querySelector("img");
      picture.src = source.src;
      picture.alt = source.alt;
      const text = link.closest("figure").querySelector("figcaption").cloneNode(true);
      text.querySelector(".close").remove();
      caption.textContent = text.textContent;
      dialog.showModal();
    });
  }

  // Copy the command that repeats the run.
  const copy = document.querySelector("button.copy");
  if (copy && navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(copy.previousElementSibling.textContent);
      copy.textContent = "Copied";
    });
  }

  // The contents stay folded where they would push the page off a small screen.
  if (window.matchMedia("(max-width: 68rem)").matches) {
    const contents = document.querySelector("nav.contents details");
    contents.open = false;
  }
})();
