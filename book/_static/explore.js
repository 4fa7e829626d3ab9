// Interactive twins of figures: each is drawn by Vega-Lite when it comes into view; until then nothing of that library is loaded.
(() => {
  "use strict";
  const here = document.currentScript.src;
  const LIBRARY = ["vega.min.js", "vega-lite.min.js", "vega-embed.min.js"];
  let library = null;

  const script = (name) => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    Object.assign(element, { src: new URL(`vega/${name}`, here), async: false, onload: resolve, onerror: reject });
    document.head.append(element);
  });
  const loaded = () => (library ??= Promise.all(LIBRARY.map(script)));

  function slider(input, words) { // its places in words: the library shows and says their numbers
    const output = document.createElement("output");
    const tell = () => {
      output.textContent = words[Number(input.value)];
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.nextElementSibling?.remove();
    input.after(output);
    input.addEventListener("input", tell);
    tell();
  }

  function numbers(view, shown, columns) { // as a table, for those who point at nothing: what the chart shows at the moment
    const fold = document.createElement("details"), table = document.createElement("table"), frame = document.createElement("div");
    const told = (value) => (typeof value === "number" ? Number(value.toPrecision(3)) : value);
    fold.append(Object.assign(document.createElement("summary"), { textContent: "The numbers shown, as a table" }), frame);
    Object.assign(frame, { className: "nc-explore-numbers", tabIndex: 0 }).append(table);
    const fill = () => {
      if (!fold.open) return;
      table.replaceChildren();
      const head = table.createTHead().insertRow(), body = table.createTBody();
      for (const { title } of columns) head.append(Object.assign(document.createElement("th"), { scope: "col", textContent: title }));
      for (const datum of view.data(shown)) {
        const row = body.insertRow();
        for (const { field } of columns) row.insertCell().textContent = told(datum[field]);
      }
    };
    fold.addEventListener("toggle", fill);
    view.addDataListener(shown, fill);
    return fold;
  }

  const config = () => ({ // colours are the style sheet's, which knows the theme
    background: null,
    font: getComputedStyle(document.body).fontFamily,
    axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
    legend: { labelFontSize: 12, labelLimit: 240 },
    view: { stroke: null },
  });

  async function explore(box) {
    await loaded();
    const spec = JSON.parse(box.querySelector("script").textContent), controls = box.querySelector(".nc-explore-controls");
    const chart = box.querySelector(".nc-explore-chart");
    const legend = spec.encoding?.color?.legend; // fixed now: Vega does not measure it again when its columns change
    if (legend?.columns?.expr) legend.columns = { expr: legend.columns.expr.replace("width", chart.clientWidth) };
    const { view, vgSpec } = await window.vegaEmbed(chart, spec, { actions: false, renderer: "svg", bind: controls, config: config() });
    if (spec.encoding) chart.after(numbers(view, vgSpec.data.at(-1).name, spec.encoding.tooltip));
    for (const [name, words] of Object.entries(spec.usermeta.sliders)) slider(controls.querySelector(`input[name="${name}"]`), words);
    box.dataset.ready = "";
  }
  document.addEventListener("DOMContentLoaded", () => {
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries.filter(({ isIntersecting }) => isIntersecting)) {
        near.unobserve(entry.target);
        explore(entry.target);
      }
    }, { rootMargin: "300px" });
    for (const box of document.querySelectorAll(".nc-explore")) {
      box.hidden = false;
      near.observe(box);
    }
  });
})();
