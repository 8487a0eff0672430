// Tables that sort by a click on a column's head, and sections that become tabs. Without it every page can be read.
"use strict";

(() => {
  function sortTables() {
    for (const table of document.querySelectorAll("table[data-sortable]")) {
      for (const head of table.querySelectorAll("thead th[data-sort]")) {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => sort(table, head));
      }
    }
  }

  function sort(table, head) {
    const index = [...head.parentNode.children].indexOf(head);
    // Figures begin with the highest, names with the first.
    const first = head.dataset.sort === "number" ? "descending" : "ascending";
    const now = head.getAttribute("aria-sort");
    const order = now === null ? first : now === "ascending" ? "descending" : "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => {
      const cell = row.children[index];
      const text = cell.dataset.value ?? cell.textContent.trim();
      return head.dataset.sort === "number" ? (text === "" ? NaN : Number(text)) : text;
    };
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (typeof x === "string") return sign * x.localeCompare(y);
      // What has no figure stands last, whichever way the others are sorted.
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    };
    for (const body of table.tBodies) {
      body.append(...[...body.rows].sort(compare));
    }
    // Groups are those of the ranking; in any other order their lines would lie.
    for (const row of table.querySelectorAll(".group-start")) row.classList.remove("group-start");
  }

  function makeTabs() {
    for (const group of document.querySelectorAll("[data-tabs]")) {
      const panels = [...group.querySelectorAll(":scope > section")];
      if (panels.length < 2) continue;
      const list = document.createElement("div");
      list.className = "tabs";
      list.setAttribute("role", "tablist");
      list.setAttribute("aria-label", group.dataset.tabs);
      const tabs = panels.map((panel) => {
        const heading = panel.querySelector("h3");
        const tab = document.createElement("button");
        tab.type = "button";
        tab.id = `tab-${panel.id}`;
        tab.textContent = heading.textContent;
        tab.setAttribute("role", "tab");
        tab.setAttribute("aria-controls", panel.id);
        heading.classList.add("hidden-text");
        panel.setAttribute("role", "tabpanel");
        panel.setAttribute("aria-labelledby", tab.id);
        list.append(tab);
        return tab;
      });
      const choose = (chosen) => {
        tabs.forEach((tab, index) => {
          tab.setAttribute("aria-selected", String(index === chosen));
          tab.tabIndex = index === chosen ? 0 : -1;
          panels[index].hidden = index !== chosen;
        });
      };
      tabs.forEach((tab, index) => {
        tab.addEventListener("click", () => choose(index));
        tab.addEventListener("keydown", (event) => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (!step) return;
          const next = (index + step + tabs.length) % tabs.length;
          choose(next);
          tabs[next].focus();
          event.preventDefault();
        });
      });
      group.prepend(list);
      choose(0);
    }
  }

  sortTables();
  makeTabs();
})();
