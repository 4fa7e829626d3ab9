// The moving picture of the opening page: play, pause, scrub, one split or both. Between two measured epochs the points move in straight lines.
(() => {
  "use strict";
  const PER_EPOCH = 550; // milliseconds from one measured epoch to the next
  const SVG = "http://www.w3.org/2000/svg";
  const NAMES = { train: "training images", test: "new images" };
  const make = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const digits = (value) => String(Number(value.toPrecision(2)));

  function panel(name, split, { x: [left, right], y: [low, high] }) {
    const wide = right - left, tall = high - low, size = wide / 72;
    const shapes = [ // circle, square, triangle, of equal area, and a cross
      `M${-size},0a${size},${size} 0 1,0 ${2 * size},0a${size},${size} 0 1,0 ${-2 * size},0z`,
      `M${-0.9 * size},${-0.9 * size}h${1.8 * size}v${1.8 * size}h${-1.8 * size}z`,
      `M0,${-1.4 * size}L${1.25 * size},${0.8 * size}H${-1.25 * size}z`,
    ];
    const cross = `M${-size},${-size}L${size},${size}M${-size},${size}L${size},${-size}`;
    const box = document.createElement("div");
    box.dataset.split = name;
    const title = document.createElement("p");
    const svg = make("svg", { viewBox: `${left - 2 * size} ${-high - 2 * size} ${wide + 4 * size} ${tall + 4 * size}`, role: "img" });
    const points = split.points.map(([digit]) => svg.appendChild(make("path", { class: `nc-class${digit}`, "stroke-width": size / 3 })));
    box.append(title, svg); // the title says what the picture is of
    const draw = (t) => {
      const before = Math.floor(t), after = Math.min(before + 1, split.v.length - 1), share = t - before, near = Math.round(t);
      split.points.forEach(([digit, xs, ys, correct], i) => {
        const at = (values) => values[before] + share * (values[after] - values[before]);
        points[i].setAttribute("transform", `translate(${at(xs)},${-at(ys)})`);
        points[i].setAttribute("d", correct[near] ? shapes[digit] : cross);
      });
      title.textContent = `${NAMES[name]}: V = ${digits(split.v[near])}`;
      svg.setAttribute("aria-label", `Features of ${NAMES[name]}: V is ${digits(split.v[near])}, and ${digits(100 * split.error[near])}% of all are wrong`);
    };
    return { box, draw };
  }

  function film(figure) {
    const content = JSON.parse(figure.querySelector("script").textContent), last = content.epochs.length - 1;
    const player = figure.querySelector(".nc-film-player"), said = figure.querySelector(".nc-film-said");
    const button = figure.querySelector("button"), slider = figure.querySelector("input[type=range]");
    const panels = Object.entries(content.splits).map(([name, split]) => panel(name, split, content.ends));
    figure.querySelector(".nc-film-panels").append(...panels.map(({ box }) => box));
    const still = window.matchMedia("(prefers-reduced-motion: reduce)");
    let t = 0, since = null; // where the picture is, and the time of the frame before; null: it stands

    const draw = () => {
      const near = Math.round(t), epoch = content.epochs[near], begins = content.terminal;
      panels.forEach((one) => one.draw(still.matches ? near : t));
      slider.value = near;
      const phase = begins === null || epoch < begins ? "some training images are still wrong" : `no training image has been wrong since epoch ${begins}`;
      said.textContent = `Epoch ${epoch}: ${near === 0 ? "nothing is learned yet" : phase}.`;
      const v = Object.entries(content.splits).map(([name, split]) => `${digits(split.v[near])} on ${NAMES[name]}`);
      slider.setAttribute("aria-valuetext", `epoch ${epoch}: V ${v.join(", ")}`);
      button.textContent = since === null ? (t >= last ? "Play again" : "Play") : "Pause";
    };
    const stop = () => { since = null; draw(); };
    const step = (now) => {
      if (since === null) return;
      t = Math.min(last, t + Math.max(0, now - since) / PER_EPOCH); // a first frame may have begun before the click
      since = now;
      if (t >= last) return stop();
      draw();
      requestAnimationFrame(step);
    };
    const play = () => {
      if (t >= last) t = 0;
      since = performance.now();
      draw();
      requestAnimationFrame(step);
    };
    button.addEventListener("click", () => (since === null ? play() : stop()));
    let before = 0; // where the picture was; on paper it shows the end
    window.addEventListener("beforeprint", () => { before = t; t = last; stop(); });
    window.addEventListener("afterprint", () => { t = before; stop(); });
    slider.addEventListener("input", () => { t = Number(slider.value); stop(); });
    figure.querySelector("fieldset").addEventListener("change", ({ target }) => {
      panels.forEach(({ box }) => { box.hidden = target.value !== "both" && target.value !== box.dataset.split; });
    });
    player.hidden = false;
    if (still.matches) t = last; // who wants no motion sees where it ends
    draw();
    if (still.matches) return;
    const seen = new IntersectionObserver((entries) => { // once, when it comes into view
      if (entries.some((entry) => entry.isIntersecting)) {
        seen.disconnect();
        if (since === null && t === 0) play();
      }
    }, { threshold: 0.5 });
    seen.observe(player);
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".nc-film").forEach(film));
})();
