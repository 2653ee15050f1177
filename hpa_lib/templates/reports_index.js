// Sorting, filtering and comparing on the index of runs. Without it the table is complete.
"use strict";
(() => {
  const table = document.getElementById("runs");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];

  // Sort by a column: numbers and times before text, empty cells last.
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return { text, number: text === "" ? NaN : Number(text) };
  };
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (first, second) => {
    if (first.text === "" || second.text === "") return NaN;
    const numbers = !Number.isNaN(first.number) && !Number.isNaN(second.number);
    return numbers
      ? first.number - second.number
      : collator.compare(first.text, second.text);
  };
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const previous = header.getAttribute("aria-sort");
      const first = header.classList.contains("number") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = previous === first ? other : first;
      for (const each of headers) each.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const keys = new Map(rows.map((row) => [row, key(row, column)]));
      const sorted = [...rows].sort((a, b) => {
        const [first, second] = [keys.get(a), keys.get(b)];
        const difference = compare(first, second);
        if (!Number.isNaN(difference)) return sign * difference;
        return (first.text === "") - (second.text === "");
      });
      body.append(...sorted);
    });
  });

  // Filter: a row stays if it holds every word; curves and choices to compare follow the rows.
  const choices = [...document.querySelectorAll("#compare-tools select")];
  const filter = document.getElementById("filter");
  const count = document.getElementById("filter-count");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const curves = new Map(
    [...document.querySelectorAll(".curves > li")].map((item) => [item.dataset.run, item]),
  );
  const options = new Map(
    choices.map((choice) => [
      choice,
      new Map([...choice.options].map((option) => [option.value, option])),
    ]),
  );
  document.getElementById("filter-tools").hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const match = words.every((word) => texts.get(row).includes(word));
      row.hidden = !match;
      shown += match;
      const curve = curves.get(row.dataset.run);
      if (curve) curve.hidden = !match;
      for (const choice of choices) {
        const option = options.get(choice).get(row.dataset.run);
        option.hidden = !match && !option.selected;
      }
    }
    count.textContent = words.length ? `${shown} of ${rows.length} runs` : `${rows.length} runs`;
  });

  // Compare two runs.
  const data = JSON.parse(document.getElementById("comparison-data").textContent);
  if (!choices.length) return;
  const box = document.getElementById("comparison");
  const status = document.getElementById("compare-count");
  document.getElementById("compare-tools").hidden = false;
  document.getElementById("compare-without").hidden = true;
  const element = (name, text, scope) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (scope) made.scope = scope;
    return made;
  };
  const update = () => {
    const names = choices.map((choice) => choice.value);
    const [first, second] = names.map((name) => data.runs.indexOf(name));
    const head = document.createElement("tr");
    head.append(
      element("th", "Kind", "col"),
      element("th", "Name", "col"),
      ...names.map((name) => element("th", name, "col")),
    );
    const lines = [];
    for (const { kind, name, texts, choice } of data.facts) {
      if (choice[first] === choice[second]) continue;
      const values = [first, second].map((run) => texts[choice[run]] ?? "–");
      const line = document.createElement("tr");
      line.append(
        element("td", kind),
        element("th", name, "row"),
        ...values.map((value) => element("td", value)),
      );
      lines.push(line);
    }
    const made = document.createElement("table");
    made.createTHead().append(head);
    made.createTBody().append(...lines);
    box.replaceChildren(made);
    box.hidden = lines.length === 0;
    status.textContent = lines.length ? `${lines.length} differences` : "No differences";
  };
  for (const choice of choices) choice.addEventListener("change", update);
  update();
})();
