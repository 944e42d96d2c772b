/** Runs in the page: what is drawn, before and after its controls are used. */
export const INSPECT = `(async () => {
  const shown = () => [...document.querySelectorAll("figure.chart")].filter((chart) => chart.getBoundingClientRect().height > 0);
  const before = shown();
  const lines = before.flatMap((chart) => [...chart.querySelectorAll(".plot path.line")]);
  const colours = new Set(lines.map((line) => getComputedStyle(line).stroke));
  const heights = before.map((chart) => chart.querySelector(".plot svg").getBoundingClientRect().height);
  const lengths = lines.map((line) => line.getTotalLength());
  const svg = before[0].querySelector(".plot svg");
  const box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width - 20, clientY: box.top + 20 }));
  const tip = before[0].querySelector(".tip");
  const theme = document.documentElement.dataset.theme;
  const background = getComputedStyle(document.body).backgroundColor;
  document.getElementById("theme").click();
  const choice = document.getElementById("load");
  choice.value = choice.options[0].value;
  choice.dispatchEvent(new Event("change"));
  return {
    charts: before.length,
    heights,
    lengths,
    colours: [...colours],
    tip: getComputedStyle(tip).visibility + " " + tip.textContent,
    themeChanged: document.documentElement.dataset.theme !== theme && getComputedStyle(document.body).backgroundColor !== background,
    chartsAfterChoice: shown().length,
    otherCharts: shown().filter((chart) => !before.includes(chart)).length,
    overflow: document.documentElement.scrollWidth - innerWidth,
    rows: document.querySelectorAll("tbody tr").length,
  };
})()`;

/** What INSPECT tells. */
export interface Inspection {
  charts: number;
  heights: number[];
  lengths: number[];
  colours: string[];
  tip: string;
  themeChanged: boolean;
  chartsAfterChoice: number;
  otherCharts: number;
  overflow: number;
  rows: number;
}
