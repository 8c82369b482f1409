// Moves points and a grid through the layers of a flow. Everything that is drawn stands in the canvas's attributes.
(() => {
  const figure = document.getElementById("explore-NAME");
  if (!figure || figure.dataset.moves) return;
  figure.dataset.moves = "yes";
  const canvas = figure.querySelector("canvas"), still = figure.querySelector(".snf-frames");
  const stored = JSON.parse(canvas.dataset.stage), calm = matchMedia("(prefers-reduced-motion: reduce)");
  const { layers, steps, groups, side, limit, scale, seconds } = stored;
  const bytes = Uint8Array.from(atob(canvas.dataset.positions.split(",")[1]), (sign) => sign.charCodeAt(0));
  const places = new Int16Array(bytes.buffer), depths = layers.length - 1;
  const each = 2 * (groups.length + side * side);

  const make = (tag, attributes, parent) => parent.appendChild(Object.assign(document.createElement(tag), attributes));
  const row = figure.insertBefore(document.createElement("div"), canvas.nextSibling);
  row.className = "snf-controls";
  const button = make("button", { type: "button", textContent: "Play" }, row);
  button.style.cssText = "min-height:2em;min-width:6em;margin:.3em 1em";
  const scrubber = (name, max, step, value) => {
    const label = make("label", {}, row);
    label.style.display = "block";
    const input = make("input", { type: "range", autocomplete: "off" }, label);
    Object.assign(input, { min: 0, max, step, value });
    input.style.cssText = "display:block;width:100%;max-width:32em;height:2em;margin:0 auto";
    input.setAttribute("aria-label", name);
    label.append(`${name} `);
    input.words = make("output", {}, label);
    input.words.style.fontWeight = "bold";
    input.words.setAttribute("aria-live", "off");
    return input;
  };
  const depth = scrubber("depth", depths, 0.125, 0);
  const training = steps.length > 1 ? scrubber("training step", steps.length - 1, 1, steps.length - 1) : null;
  const say = (input, words) => { input.words.textContent = words; input.setAttribute("aria-valuetext", words); };

  let at = 0, moving = 0;
  const draw = () => {
    const size = canvas.clientWidth, dots = devicePixelRatio || 1, pen = canvas.getContext("2d");
    canvas.width = canvas.height = Math.round(size * dots);
    pen.setTransform((dots * size) / (2 * limit), 0, 0, (-dots * size) / (2 * limit), (dots * size) / 2, (dots * size) / 2);
    const before = Math.min(Math.floor(at), depths - 1), part = at - before;
    const first = ((training ? Number(training.value) : 0) * (depths + 1) + before) * each;
    const number = (index) => (places[first + index] * (1 - part) + places[first + each + index] * part) / scale;
    const ink = getComputedStyle(canvas).color, pixel = (2 * limit) / size;
    pen.strokeStyle = pen.fillStyle = ink;
    for (const [radius, dash] of [[1.177, [4 * pixel, 4 * pixel]], [3.035, []]]) {
      pen.beginPath();
      pen.setLineDash(dash);
      pen.lineWidth = 1.2 * pixel;
      pen.arc(0, 0, radius, 0, 7);
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.globalAlpha = 0.35;
    pen.lineWidth = 0.7 * pixel;
    pen.beginPath();
    for (const [along, across] of [[1, side], [side, 1]])
      for (let line = 0; line < side; line++)
        for (let point = 0; point < side; point++) {
          const index = 2 * (groups.length + line * across + point * along);
          pen[point ? "lineTo" : "moveTo"](number(index), number(index + 1));
        }
    pen.stroke();
    pen.globalAlpha = 1;
    groups.forEach((color, point) => {
      pen.fillStyle = color;
      pen.beginPath();
      pen.arc(number(2 * point), number(2 * point + 1), 2 * pixel, 0, 7);
      pen.fill();
    });
    figure.dataset.at = at.toFixed(3);
  };
  const show = () => {
    depth.value = at;
    say(depth, layers[Math.round(at)]);
    if (training) say(training, steps[training.value]);
    draw();
  };
  const stop = () => { cancelAnimationFrame(moving); moving = 0; button.textContent = "Play"; };
  const play = () => {
    const start = performance.now(), from = at < depths ? at : 0;
    button.textContent = "Pause";
    const tick = (now) => {
      const passed = from + Math.max(0, now - start) / (1000 * seconds);
      at = Math.min(depths, calm.matches ? Math.floor(passed) : passed);
      show();
      if (at < depths) moving = requestAnimationFrame(tick);
      else stop();
    };
    moving = requestAnimationFrame(tick);
  };
  button.addEventListener("click", () => (moving ? stop() : play()));
  depth.addEventListener("input", () => { stop(); at = Number(depth.value); show(); });
  if (training) training.addEventListener("input", show);
  still.classList.add("snf-paper");
  still.style.display = "none";
  canvas.style.display = "block";
  show();
  new ResizeObserver(draw).observe(canvas);
  new MutationObserver(draw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
})();
