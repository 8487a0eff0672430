/* Draws the charts of a page: every <figure data-chart="name"> from window.harnessCharts[name], a Vega-Lite specification.
   Names in them are strangers' text: they become text, never markup. */
(() => {
  "use strict";

  const specs = window.harnessCharts || {};
  const MOST_ROWS = 300;
  const drawn = [];

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // Drawing

  /* Where labels stand beside the marks there is no need of a legend. */
  const withoutLegends = (part) => {
    if (Array.isArray(part)) return part.map(withoutLegends);
    if (!part || typeof part !== "object") return part;
    return Object.fromEntries(
      Object.entries(part).map(([key, value]) => [
        key,
        key === "datasets" || key === "config" ? value : key === "legend" ? null : withoutLegends(value),
      ])
    );
  };

  const withParameters = (spec, values) => ({
    ...spec,
    params: (spec.params || []).map((one) => (one.name in values ? { ...one, value: values[one.name] } : one)),
  });

  class Chart {
    constructor(figure, spec) {
      this.spec = spec;
      this.place = make("div", { className: spec.usermeta.square ? "chart square" : "chart" });
      figure.append(this.place);
      figure.append(numbers(this, figure.dataset.chart));
      this.drawing = Promise.resolve();
      // A figure in a tab that is not shown has no width yet.
      new ResizeObserver(() => this.resized()).observe(this.place);
    }

    resized() {
      const width = this.place.clientWidth;
      if (!width || width === this.width) return;
      this.width = width;
      const direct = width >= (this.spec.usermeta.labelsFrom || Infinity);
      const anew = direct !== this.direct;
      this.direct = direct;
      this.drawing = this.drawing.then(() => {
        if (anew || !this.result) return this.draw();
        window.dispatchEvent(new Event("resize")); // Vega asks its container for its width only then.
        return this.result.view.signal("room", width).runAsync();
      });
    }

    async draw() {
      if (this.result) this.result.finalize();
      const spec = withParameters(this.spec, { ...chosen, room: this.width });
      this.result = await window.vegaEmbed(this.place, this.direct ? withoutLegends(spec) : spec, {
        renderer: "svg",
        actions: false,
        ast: true, // expressions are interpreted, not compiled: nothing in a page can become code
        defaultStyle: false,
        tooltip: { disableDefaultStyle: true },
      });
      this.place.dataset.drawn = "yes";
    }

    choose() {
      this.drawing = this.drawing.then(() => {
        if (!this.result) return undefined;
        return this.result.view.signal("first", chosen.first).signal("second", chosen.second).runAsync();
      });
      this.refill();
    }
  }

  // The numbers of a chart, for who cannot see it or would rather read

  const rows = (spec) => {
    const { data, swap, negate } = spec.usermeta.table;
    const every = spec.datasets[data];
    if (!swap && !negate) return every;
    return every.flatMap((row) => {
      if (row.a === chosen.first && row.b === chosen.second) return [row];
      if (row.b !== chosen.first || row.a !== chosen.second) return [];
      const turned = { ...row };
      for (const [one, other] of swap || []) [turned[one], turned[other]] = [row[other], row[one]];
      for (const field of negate || []) turned[field] = -row[field];
      return [turned];
    });
  };

  const written = (value) =>
    value === null || value === undefined ? "" : typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);

  const csv = (spec) => {
    const cell = (value) => {
      const text = typeof value === "number" ? String(value) : written(value).replace(/^[=+\-@\t\r]/, "'$&");
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const columns = spec.usermeta.table.columns;
    const lines = [columns.map(([, heading]) => cell(heading)), ...rows(spec).map((row) => columns.map(([field]) => cell(row[field])))];
    return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
  };

  const table = (spec) => {
    const columns = spec.usermeta.table.columns;
    const found = rows(spec);
    const head = make("tr", {}, ...columns.map(([, heading]) => make("th", { scope: "col", textContent: heading })));
    const body = found.slice(0, MOST_ROWS).map((row) =>
      make("tr", {}, ...columns.map(([field]) =>
        make("td", { className: typeof row[field] === "number" ? "n" : "", textContent: written(row[field]) })))
    );
    const parts = [make("table", {}, make("thead", {}, head), make("tbody", {}, ...body))];
    if (found.length > MOST_ROWS) {
      parts.push(make("p", { className: "note", textContent: `${found.length - MOST_ROWS} more rows are in the CSV file.` }));
    }
    return parts;
  };

  const numbers = (chart, name) => {
    const box = make("div", { className: "scroll", tabIndex: 0 });
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Numbers of this chart");
    const save = make("button", { type: "button", className: "button", textContent: "Save as CSV" });
    const details = make("details", { className: "numbers" }, make("summary", { textContent: "Numbers" }), save, box);
    const fill = () => details.open && box.replaceChildren(...table(chart.spec));
    details.addEventListener("toggle", fill);
    chart.refill = fill;
    save.addEventListener("click", () => {
      const address = URL.createObjectURL(new Blob([csv(chart.spec)], { type: "text/csv" }));
      make("a", { href: address, download: `${name}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    });
    return details;
  };

  // Two systems head to head: chosen with two lists, and kept in the address (#runs=3,5)

  const chosen = { first: 0, second: 1 };

  const sentence = (systems, verdicts) => {
    const forward = (one) => one.a === chosen.first && one.b === chosen.second;
    const found = verdicts.find((one) => forward(one) || (one.b === chosen.first && one.a === chosen.second));
    if (!found) return [];
    const sign = forward(found) ? 1 : -1;
    const ahead = sign * found.mean >= 0 ? chosen.first : chosen.second;
    const behind = ahead === chosen.first ? chosen.second : chosen.first;
    const turn = ahead === found.a ? 1 : -1;
    const name = (place) => make("b", { className: "name", textContent: systems[place].name });
    const won = ahead === found.a ? found.won : found.lost;
    const pairs = found.won + found.lost + found.tied;
    const limits = found.low === null ? [] : [turn * found.low, turn * found.high].sort((one, other) => one - other);
    const interval = limits.length ? ` (95 % interval ${limits.map((limit) => limit.toFixed(4).replace("-", "−")).join(" to ")})` : "";
    const p = found.p === null ? "" : found.p < 0.001 ? "p < 0.001" : found.p > 0.999 ? "p > 0.999" : `p = ${found.p.toFixed(3)}`;
    const sure = found.p === null
      ? "One piece of music does not tell how sure that is."
      : `The two ${found.significant ? "can" : "cannot"} be told apart: ${p}, adjusted after Holm over ${verdicts.length} comparison${verdicts.length > 1 ? "s" : ""}.`;
    const share = pairs ? Math.round((100 * won) / pairs) : 0;
    return [
      name(ahead), ` is ahead of `, name(behind), ` by ${Math.abs(found.mean).toFixed(4)} HAAQI${interval}, and better on ${share} % of ${pairs.toLocaleString("en")} pairs. ${sure}`,
    ];
  };

  const controls = (place, { choose: systems, verdicts }) => {
    const said = make("p", { className: "verdict" });
    said.setAttribute("aria-live", "polite");
    const lists = ["first", "second"].map((which) => {
      const list = make("select", { id: `choose-${which}` }, ...systems.map((one, at) => make("option", { value: at, textContent: one.name })));
      list.addEventListener("change", () => {
        const other = which === "first" ? "second" : "first";
        const before = chosen[which];
        chosen[which] = Number(list.value);
        if (chosen[other] === chosen[which]) chosen[other] = before;
        // A page on disk may change nothing of its address but this.
        location.replace(`#runs=${systems[chosen.first].run},${systems[chosen.second].run}`);
        update();
      });
      return list;
    });
    const swatches = lists.map(() => make("i", { className: "swatch" }));
    const update = () => {
      lists.forEach((list, at) => {
        const place = at ? chosen.second : chosen.first;
        list.value = String(place);
        swatches[at].style.background = systems[place].colour;
      });
      said.replaceChildren(...sentence(systems, verdicts));
      drawn.filter((chart) => chart.spec.usermeta.choose).forEach((chart) => chart.choose());
    };
    const follow = () => {
      const runs = (/^#runs=(\d+),(\d+)$/.exec(location.hash) || []).slice(1).map(Number);
      const places = runs.map((run) => systems.findIndex((one) => one.run === run));
      if (places.length === 2 && places[0] !== places[1] && !places.includes(-1)) {
        [chosen.first, chosen.second] = places;
      }
      update();
    };
    place.append(
      make("div", { className: "choose" }, ...lists.map((list, at) =>
        make("div", {}, make("label", { htmlFor: list.id, textContent: at ? "Second system" : "First system" }), swatches[at], list))),
      said
    );
    window.addEventListener("hashchange", follow);
    follow();
  };

  const start = () => {
    const figures = [...document.querySelectorAll("figure[data-chart]")].filter((figure) => figure.dataset.chart in specs);
    const together = figures.find((figure) => specs[figure.dataset.chart].usermeta.choose);
    const place = document.querySelector("[data-choose]");
    if (together && place) controls(place, specs[together.dataset.chart].usermeta);
    for (const figure of figures) drawn.push(new Chart(figure, specs[figure.dataset.chart]));
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
