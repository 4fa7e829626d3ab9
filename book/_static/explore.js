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

  const RAISED = { "-": "⁻", ...Object.fromEntries([..."⁰¹²³⁴⁵⁶⁷⁸⁹"].entries()) };
  function written(value) { // a number as the text of the book has it: 0.0001, 2.5 × 10⁻⁵
    if (!Number.isFinite(value)) return value;
    const rounded = Number(value.toPrecision(6)), [digits, power] = rounded.toExponential().split("e");
    const raised = power.replace("+", "").replace(/./g, (one) => RAISED[one]);
    const text = power >= -4 && power < 6 ? String(rounded) : `${digits} × 10${raised}`.replace(/^(-?)1 × /, "$1");
    return text.replace("-", "−");
  }

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
    fold.append(Object.assign(document.createElement("summary"), { textContent: "The numbers shown, as a table" }), frame);
    Object.assign(frame, { className: "nc-explore-numbers", tabIndex: 0 }).append(table);
    const fill = () => {
      if (!fold.open) return;
      table.replaceChildren();
      const head = table.createTHead().insertRow(), body = table.createTBody();
      for (const { title } of columns) head.append(Object.assign(document.createElement("th"), { scope: "col", textContent: title }));
      for (const datum of view.data(shown)) {
        const row = body.insertRow();
        for (const { field } of columns) row.insertCell().textContent = written(datum[field]);
      }
    };
    fold.addEventListener("toggle", fill);
    view.addDataListener(shown, fill);
    return fold;
  }

  function verdicts(view, spec, among) { // of what is chosen, as the controls have it
    const box = document.createElement("div"), table = document.createElement("table");
    const caption = table.createCaption(), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const textContent of ["claim", "estimate over the seeds", "verdict"]) {
      head.append(Object.assign(document.createElement("th"), { scope: "col", textContent }));
    }
    caption.setAttribute("aria-live", "polite");
    const signals = Object.fromEntries(spec.params.map(({ name, bind }) => [bind.name, name]));
    const named = Object.keys(among[0].when).filter((words) => words in signals);
    const tell = () => {
      const here = among.find(({ when }) => named.every((words) => view.signal(signals[words]) === when[words]));
      caption.textContent = here.instead_of
        ? `Another reading, which decides nothing. The claims are judged ${here.instead_of}.`
        : "The declared reading: in it the claims are judged.";
      body.replaceChildren();
      for (const cells of here.rows) {
        const row = body.insertRow();
        for (const text of cells) row.insertCell().textContent = text;
      }
    };
    for (const words of named) view.addSignalListener(signals[words], tell);
    box.className = "nc-explore-verdicts";
    box.append(table);
    tell();
    return box;
  }

  const config = () => ({ // colours are the style sheet's, which knows the theme
    background: null,
    customFormatTypes: true,
    numberFormatType: "written",
    font: getComputedStyle(document.body).fontFamily,
    axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
    legend: { labelFontSize: 12, labelLimit: 240 },
    view: { stroke: null },
  });

  async function explore(box) {
    await loaded();
    window.vega.expressionFunction("written", written);
    const spec = JSON.parse(box.querySelector("script").textContent), controls = box.querySelector(".nc-explore-controls");
    const chart = box.querySelector(".nc-explore-chart");
    controls.addEventListener("submit", (event) => event.preventDefault()); // a form keeps its radio buttons apart from those of other charts
    const legend = spec.encoding?.color?.legend; // fixed now: Vega does not measure it again when its columns change
    if (legend?.columns?.expr) legend.columns = { expr: legend.columns.expr.replace("width", chart.clientWidth) };
    const { view, vgSpec } = await window.vegaEmbed(chart, spec, { actions: false, renderer: "svg", bind: controls, config: config() });
    if (spec.encoding) chart.after(numbers(view, vgSpec.data.at(-1).name, spec.encoding.tooltip));
    if (spec.usermeta.verdicts) chart.after(verdicts(view, spec, spec.usermeta.verdicts));
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
