(() => {
  const page = JSON.parse(document.getElementById("figures").textContent);
  const STEP = 200; // rows drawn at a time, of a table whose rows do not all stand in the page
  const FEW = 12; // rows that need no filter
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // "1,797", "12.3 %" and "1e-5" are numbers; "-", "" and texts are none.
  const number = (text) => (text === "" ? NaN : Number(text.replace(/,(?=\d{3})/g, "").replace(/ %$/, "")));
  const absent = (text) => text === "-" || text === "" || text === "nan";
  const order = (a, b) => {
    const x = number(a), y = number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? words.compare(a, b) : x - y;
  };
  const holds = {
    ">": (c) => c > 0, ">=": (c) => c >= 0, "<": (c) => c < 0, "<=": (c) => c <= 0,
    "==": (c) => c === 0, "=": (c) => c === 0, "!=": (c) => c !== 0,
  };

  // One condition: "age > 30", "> 30" in any column, or a text any column holds. Returns a test of a row, or what is wrong.
  const condition = (text, names) => {
    // A column's name may hold anything, so it is looked for first.
    const bare = text.replace(/^`([^`]*)`/, "$1"), lower = bare.toLowerCase();
    const comparison = /^\s*(>=|<=|==|!=|=|>|<)\s*(.+)$/;
    const starts = (n) => n !== "" && lower.startsWith(n.toLowerCase()) && comparison.test(bare.slice(n.length));
    const name = names.filter(starts).sort((a, b) => b.length - a.length)[0] ?? "";
    const split = comparison.exec(bare.slice(name.length));
    if (!split) {
      const column = /^(\w+)\s*(>=|<=|==|!=|>|<)\s*\S/.exec(bare);
      if (column) return `no column "${column[1]}"`;
      const sought = text.toLowerCase();
      return (row) => row.some((cell) => cell.toLowerCase().includes(sought));
    }
    const [, sign, right] = split;
    const value = right.replace(/^(["'])(.*)\1$/, "$2");
    const numeric = !Number.isNaN(number(value));
    const fits = (cell) => {
      if (absent(cell) && !absent(value)) return sign === "!=";
      if (numeric && Number.isNaN(number(cell))) return sign === "!=";
      return holds[sign](order(cell, value));
    };
    if (name === "") return (row) => row.some(fits);
    const column = names.indexOf(name);
    return (row) => fits(row[column]);
  };

  // Conditions joined by "and", these joined by "or".
  const filter = (text, names) => {
    if (!text.trim()) return () => true;
    const either = text.trim().split(/\s+or\s+/i).map((part) => part.split(/\s+and\s+/i).map((t) => condition(t.trim(), names)));
    const wrong = either.flat().find((test) => typeof test === "string");
    return wrong ?? ((row) => either.some((all) => all.every((test) => test(row))));
  };

  document.querySelectorAll("[data-sortable]").forEach((place) => {
    const table = place.querySelector("table"), body = table.tBodies[0];
    const pictured = table.tHead.rows[0].cells[0].firstElementChild !== null;
    const heads = [...table.tHead.rows[0].cells].slice(pictured ? 1 : 0);
    const names = heads.map((h) => h.textContent);
    const rest = place.dataset.rest === undefined ? null : page.rows[Number(place.dataset.rest)];
    const texts = (tr) => [...tr.cells].slice(pictured ? 1 : 0).map((c) => c.textContent);
    const all = rest
      ? rest.rows.map((cells, i) => ({ cells, picture: rest.pictures[i], tr: null }))
      : [...body.rows].map((tr) => ({ cells: texts(tr), tr }));
    let sorted = all, test = () => true, limit = STEP;

    const drawn = (row) => {
      if (row.tr) return row.tr;
      row.tr = document.createElement("tr");
      if (pictured) {
        const cell = row.tr.insertCell();
        cell.className = "thumb";
        if (row.picture) cell.append(Object.assign(new Image(), { src: row.picture, alt: "" }));
      }
      row.cells.forEach((text, i) => {
        const cell = row.tr.insertCell();
        cell.textContent = text;
        if (rest.right[i]) cell.className = "r";
      });
      return row.tr;
    };

    const bar = document.createElement("p"), box = document.createElement("input"), said = document.createElement("span");
    const more = Object.assign(document.createElement("button"), { type: "button", className: "more" });
    const show = () => {
      const kept = sorted.filter((row) => test(row.cells));
      const shown = rest ? kept.slice(0, limit) : kept;
      body.replaceChildren(...shown.map(drawn));
      const of = kept.length < all.length ? `${kept.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} rows` : `${all.length.toLocaleString("en")} rows`;
      said.textContent = shown.length < kept.length ? `${of}, the first ${shown.length.toLocaleString("en")} drawn` : of;
      more.hidden = shown.length === kept.length;
      more.textContent = `Draw ${Math.min(STEP, kept.length - shown.length)} more`;
    };

    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
        sorted = [...all].sort((a, b) => {
          const x = a.cells[column], y = b.cells[column];
          if (absent(x) || absent(y)) return absent(x) - absent(y); // what is missing stands last
          return down * order(x, y);
        });
        limit = STEP;
        show();
      });
    });

    if (all.length > FEW) {
      const label = document.createElement("label");
      bar.className = "filter";
      box.type = "search";
      box.spellcheck = false;
      box.placeholder = "a text, or a condition";
      box.title = "A text that any column holds, > 0.5 for any column, or conditions on columns: age > 3 and split == valid or age < 1";
      said.setAttribute("role", "status");
      label.append("Filter ", box);
      bar.append(label, said);
      place.before(bar);
      place.after(more);
      let timer = 0;
      box.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          const found = filter(box.value, names);
          box.setAttribute("aria-invalid", String(typeof found === "string"));
          if (typeof found === "string") { said.textContent = found; return; }
          test = found;
          limit = STEP;
          show();
        }, rest ? 120 : 0);
      });
      more.addEventListener("click", () => { limit += STEP; show(); });
      show();
    }
  });
})();
