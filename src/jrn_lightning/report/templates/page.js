"use strict";
// Without this script the page shows everything; with it, it can be sorted, filtered and compared.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  // On a phone the contents would fill the first screen.
  if (matchMedia("(max-width: 60rem)").matches) one("nav details").open = false;

  // -- tables: a click on a head sorts; headings, published and input rows stay where they are --
  const number = (text) => {
    const match = text.replace(/−/g, "-").match(/[+-]?\d+(\.\d+)?(e[+-]?\d+)?/);
    return match ? parseFloat(match[0]) : NaN;
  };
  const content = (row, k) => row.cells[k].firstChild ? row.cells[k].firstChild.textContent.trim() : "";
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const moves = (row) => !row.matches(".published, .input, .group");
    const moving = [...body.rows].filter(moves);
    const group = (row) => {  // below which heading it stands, and stays
      let count = 0;
      for (let at = row; at; at = at.previousElementSibling) count += at.matches(".group");
      return count;
    };
    if (moving.length < 2) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, k) => {
      head.setAttribute("aria-sort", "none");
      head.tabIndex = 0;
      const sort = () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const groups = new Map(moving.map((row) => [row, group(row)]));
        const words = moving.some((row) => isNaN(number(content(row, k)))) || k === 0;
        const sorted = [...moving].sort((a, b) => {
          const [x, y] = [content(a, k), content(b, k)];
          const order = words ? y.localeCompare(x, undefined, { numeric: true }) : number(y) - number(x);
          return groups.get(a) - groups.get(b) || (down ? order : -order);
        });
        body.append(...[...body.rows].map((row) => (moves(row) ? sorted.shift() : row)));
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
      });
    });
  }

  // -- architectures: show, hide, and point at --------------------------------------------------
  const archs = one("#archs");
  const owned = all("[data-arch]").map((element) => [element, element.dataset.arch.split(" ")]);
  if (archs) {
    const boxes = all("input", archs);
    const show = () => {
      const hidden = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
      for (const [element, names] of owned) {
        element.classList.toggle("off", names.some((name) => hidden.has(name)));
      }
    };
    boxes.forEach((box) => box.addEventListener("change", show));
    one("#all").addEventListener("click", () => { boxes.forEach((box) => { box.checked = true; }); show(); });
    archs.hidden = false;
    show(); // a browser keeps the boxes when a page is loaded again
  }
  const tip = one("#tip");
  for (const plot of all(".plot")) {
    const marks = all("[data-arch]", plot);
    for (const mark of marks) {
      const title = one("title", mark);
      mark.addEventListener("pointerenter", () => {
        plot.classList.add("focus");
        marks.forEach((other) => other.classList.toggle("near", other.dataset.arch === mark.dataset.arch));
        if (title) { tip.textContent = title.textContent; tip.hidden = false; }
      });
      mark.addEventListener("pointermove", (event) => {
        tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
        tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
      });
      mark.addEventListener("pointerleave", () => { plot.classList.remove("focus"); tip.hidden = true; });
    }
  }

  // -- the gallery: one frame at a time, two of its pictures over each other ---------------------
  const gallery = one("#gallery");
  const exhibits = all(".exhibit", gallery);
  if (exhibits.length) {
    gallery.classList.add("pick");
    one("#choose").hidden = false;
    const tabs = all("[role=tab]", gallery);
    const choose = (k) => {
      tabs.forEach((tab, i) => {
        tab.setAttribute("aria-selected", String(i === k));
        tab.tabIndex = i === k ? 0 : -1;
      });
      exhibits.forEach((exhibit, i) => { exhibit.hidden = i !== k; });
    };
    tabs.forEach((tab, k) => {
      tab.addEventListener("click", () => choose(k));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = (k + step + tabs.length) % tabs.length;
        choose(next);
        tabs[next].focus();
      });
    });
    choose(0);
    for (const kind of ["maps", "errors"]) {
      const box = one(`#${kind}`);
      const show = () => gallery.classList.toggle(`no-${kind}`, !box.checked);
      box.addEventListener("change", show);
      show();
    }
    for (const exhibit of exhibits) {
      const pictures = all(".picture img", exhibit);
      const compare = one(".compare", exhibit);
      const [left, right, how] = ["left", "right", "how"].map((name) => one(`select.${name}`, compare));
      const stage = one(".stage", compare);
      const range = one("input[type=range]", compare);
      pictures.forEach((picture, k) => {
        for (const select of [left, right]) select.add(new Option(picture.dataset.label, k));
      });
      const draw = () => {
        for (const [place, select] of [[".over", left], [".under", right]]) {
          const picture = pictures[select.value];
          one(place, stage).src = picture.src;
          one(place, stage).alt = picture.alt;
        }
        stage.className = `stage ${how.value}`;
        stage.style.setProperty("--at", `${range.value}%`);
      };
      [left, right, how].forEach((select) => select.addEventListener("change", draw));
      range.addEventListener("input", draw);
      stage.addEventListener("pointermove", (event) => {
        if (how.value !== "wipe" || (event.pointerType === "mouse" && !event.buttons)) return;
        const box = stage.getBoundingClientRect();
        range.value = (100 * (event.clientX - box.left)) / box.width;
        draw();
      });
      let turn = 1;
      pictures.forEach((picture, k) => {
        picture.addEventListener("click", () => {
          (turn ? right : left).value = k;
          turn = 1 - turn;
          draw();
        });
      });
      left.value = 0;
      right.value = Math.min(pictures.length - 1, 2);
      compare.hidden = false;
      draw();
    }
  }

  // -- print: long tables are opened --------------------------------------------------------------
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const details of all("details:not([open])")) { closed.push(details); details.open = true; }
  });
  addEventListener("afterprint", () => { closed.splice(0).forEach((details) => { details.open = false; }); });
})();
