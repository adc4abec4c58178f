"use strict";
(() => {
  const page = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const canvases = [...document.querySelectorAll(".canvas")];
  const PRINTED = 660; // pixels between the margins of a sheet of A4
  let printing = false;

  // Plotly reads a subset of HTML in labels: a cell's text must stay text.
  const inert = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // What a plot shows on hover stands in the table of trials already, so it is taken from there.
  const hover = new Map();
  for (const table of document.querySelectorAll("table[data-trials]")) {
    const names = [...table.tHead.rows[0].cells].map((c) => inert(c.textContent));
    for (const row of table.tBodies[0].rows) {
      const cells = [...row.cells].map((c) => c.textContent);
      const lines = cells.slice(0, 16).map((c, i) => [names[i], c]).filter(([, c]) => c !== "-" && c !== "");
      const shown = lines.map(([n, c]) => `${n} ${inert(c.length > 36 ? c.slice(0, 33) + "..." : c)}`);
      hover.set(cells[0], shown.join("<br>"));
    }
  }

  const paint = (value, colours, key) => {
    if (Array.isArray(value)) return value.map((v) => paint(v, colours, key));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, paint(v, colours, k)]));
    if (typeof value === "string" && value[0] === "@" && /color/.test(key)) return colours[value.slice(1)] || value;
    return value;
  };

  const told = (trace) => {
    const ids = trace.customdata ?? trace.meta;
    if (ids === undefined) return trace;
    const text = (id) => (id === null ? "" : hover.get(String(id)) || `trial ${id}`);
    const texts = Array.isArray(ids) ? ids.map(text) : Array(trace.x.length).fill(text(ids));
    return { ...trace, text: texts, customdata: undefined };
  };

  const axis = (own, colours) => ({
    gridcolor: colours.grid, linecolor: colours.line, zerolinecolor: colours.line, tickcolor: colours.line,
    zeroline: false, automargin: true, ...own,
    title: { font: { color: colours.muted, size: 12 }, standoff: 10, ...(own || {}).title },
  });

  const layout = (given, colours) => {
    const own = paint(given, colours, "");
    const full = {
      autosize: true, showlegend: false, hovermode: "closest", dragmode: "zoom",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.muted },
      margin: { l: 56, r: 16, t: 12, b: 44 },
      hoverlabel: { align: "left", bgcolor: colours.panel, bordercolor: colours.faint, font: { family: getComputedStyle(document.body).fontFamily, color: colours.ink, size: 12 } },
      ...own, xaxis: axis(own.xaxis, colours), yaxis: axis(own.yaxis, colours),
    };
    for (const name of Object.keys(own).filter((k) => /^[xy]axis\d+$/.test(k))) full[name] = axis(own[name], colours);
    return full;
  };

  const draw = (canvas) => {
    const figure = page.figures[Number(canvas.dataset.figure)];
    const colours = dark.matches && !printing ? page.dark : page.light;
    const shape = layout(figure.layout, colours);
    const high = Number(canvas.dataset.height);
    const wide = figure.square && !printing ? Math.min(high, (canvas.clientWidth || high) + 40) : high;
    const height = printing ? Math.round(high * (figure.square ? 0.65 : 0.86)) : wide;
    canvas.style.height = `${height}px`;
    if (printing) Object.assign(shape, { width: figure.square ? Math.round(PRINTED * 0.7) : PRINTED, height });
    const config = {
      responsive: true, displaylogo: false, displayModeBar: false,
    };
    return Plotly.react(canvas, figure.data.map((t) => told(paint(t, colours, ""))), shape, config);
  };

  const isolate = (canvas) => {
    const figure = page.figures[Number(canvas.dataset.figure)];
    if (!figure.isolate) return;
    let alone = -1;
    canvas.on("plotly_click", (event) => {
      const clicked = event.points[0].curveNumber;
      alone = alone === clicked ? -1 : clicked;
      Plotly.restyle(canvas, { opacity: figure.data.map((t, i) => (alone < 0 ? (t.opacity ?? 1) : i === alone ? 1 : 0.07)) });
    });
  };

  const redraw = () => canvases.forEach(draw);
  if (canvases.length) {
    Promise.all(canvases.map((c) => Promise.resolve(draw(c)).then(() => isolate(c)))).then(() => {
      document.documentElement.dataset.drawn = String(canvases.length);
    });
    dark.addEventListener("change", redraw);
    addEventListener("beforeprint", () => { printing = true; redraw(); });
    addEventListener("afterprint", () => { printing = false; redraw(); });
  }

  for (const button of document.querySelectorAll(".copy")) {
    const text = button.parentElement.querySelector("pre");
    button.hidden = false;
    button.addEventListener("click", () => {
      // The clipboard is denied to some pages opened from a file: then the text is selected instead.
      const select = () => getSelection().selectAllChildren(text);
      const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
      navigator.clipboard ? navigator.clipboard.writeText(text.textContent).then(done, select) : select();
    });
  }
})();
