// The ledger's table: sort by a column, filter by words, verdict and chapter, open the entry that a link names. Without it all is there to read.
// And paper, which is light.
(() => {
  "use strict";
  const text = (cell) => cell.textContent.trim();
  const value = (cell) => (cell.dataset.value ? Number(cell.dataset.value) : 2); // a share; what has none comes after all

  function sortable(table) {
    const body = table.tBodies[0];
    table.querySelectorAll("th[data-sort]").forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const order = head.dataset.sort === "value" ? (a, b) => value(a) - value(b) : (a, b) => text(a).localeCompare(text(b));
        const rows = [...body.rows].sort((a, b) => order(a.cells[column], b.cells[column]));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }

  function choice(name, values) {
    const select = document.createElement("select");
    select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
    return labelled(name, select);
  }

  function labelled(name, field) {
    const label = document.createElement("label");
    label.append(name, field);
    return label;
  }

  function filterable(table) {
    const rows = [...table.tBodies[0].rows];
    const values = (key) => [...new Set(rows.map((row) => row.dataset[key]))];
    const search = Object.assign(document.createElement("input"), { type: "search" });
    const fields = { words: labelled("words", search), verdict: choice("verdict", values("verdict")), chapter: choice("chapter", values("chapter")) };
    const said = document.createElement("output");
    const controls = document.createElement("div");
    controls.className = "nc-controls";
    controls.append(...Object.values(fields), said);
    table.before(controls);
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = (row, key) => { const value = fields[key].querySelector("select").value; return !value || row.dataset[key] === value; };
      let count = 0;
      for (const row of rows) {
        const inside = `${row.textContent} ${row.dataset.chapter}`.toLowerCase();
        row.hidden = !(words.every((word) => inside.includes(word)) && wanted(row, "verdict") && wanted(row, "chapter"));
        count += !row.hidden;
      }
      said.textContent = `${count} of ${rows.length} claims`;
    };
    controls.addEventListener("input", filter);
    filter();
  }

  function open() { // browsers that do not open a folded entry by themselves when a link leads into it
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details:not([open])");
    if (folded) {
      folded.open = true;
      target.scrollIntoView();
    }
  }

  const root = document.documentElement; // paper is white, whatever was chosen for the screen
  let theme;
  window.addEventListener("beforeprint", () => { theme = root.dataset.theme; root.dataset.theme = "light"; });
  window.addEventListener("afterprint", () => { root.dataset.theme = theme; });

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.nc-claims").forEach((table) => { sortable(table); filterable(table); });
    window.addEventListener("hashchange", open);
    open();
  });
})();
