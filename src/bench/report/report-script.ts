/** The page's script: theme, choice of the load, and the readout under the pointer. The charts need none of it. */
export const REPORT_SCRIPT = `
"use strict";
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = (theme) => { root.dataset.theme = theme; };
setTheme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
document.getElementById("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));

const choice = document.getElementById("load");
const showLoad = () => {
  for (const group of document.querySelectorAll("[data-load]")) group.hidden = group.dataset.load !== choice.value;
};
if (choice) { choice.addEventListener("change", showLoad); showLoad(); }

for (const svg of document.querySelectorAll("svg[data-series]")) {
  const series = JSON.parse(svg.dataset.series);
  const tip = svg.parentElement.querySelector(".tip");
  const cross = svg.querySelector(".cross");
  const hide = () => { tip.style.visibility = cross.style.visibility = "hidden"; };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const all = series.flatMap((one) => one.points);
    if (all.length === 0) return;
    const nearest = all.reduce((best, point) => Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best);
    cross.setAttribute("x1", nearest[0]);
    cross.setAttribute("x2", nearest[0]);
    tip.replaceChildren(row(nearest[2], "", ""));
    for (const one of series) {
      const here = one.points.find((point) => Math.abs(point[0] - nearest[0]) < 3);
      if (here) tip.append(row(one.name, here[3], "var(--s" + one.color + ")"));
    }
    const left = nearest[0] / scale;
    const right = left > box.width / 2;
    tip.style.left = right ? "" : left + 12 + "px";
    tip.style.right = right ? box.width - left + 12 + "px" : "";
    tip.style.visibility = cross.style.visibility = "visible";
  });
}

function row(name, value, color) {
  const line = document.createElement("div");
  const label = document.createElement("span");
  label.textContent = name;
  label.style.color = color;
  const figure = document.createElement("b");
  figure.textContent = value;
  line.append(label, figure);
  return line;
}
`;
