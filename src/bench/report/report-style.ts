/** The report's style sheet. Colours are variables, so that light and dark differ in one block each. */
export const REPORT_STYLE = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5c6878;--rule:#e3e7ec;--accent:#2563eb;
--good:#0f7b45;--bad:#b42318;
--s0:#2563eb;--s1:#d9480f;--s2:#0f8a5f;--s3:#9333ea;--s4:#b8860b;--s5:#db2777;--s6:#0891b2;--s7:#5f6b7a}
:root[data-theme=dark]{color-scheme:dark;--bg:#0f141b;--card:#171e28;--ink:#e6ebf2;--soft:#94a1b3;--rule:#283241;
--accent:#6ea0ff;--good:#4cc38a;--bad:#ff8f82;
--s0:#6ea0ff;--s1:#ff9a5c;--s2:#4cc38a;--s3:#c58bff;--s4:#e5c04b;--s5:#ff8ac4;--s6:#4fd1e3;--s7:#9aa7b8}
:root[data-theme=light]{color-scheme:light}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1240px;margin:0 auto;padding:32px 24px 64px}
header{display:flex;gap:24px;justify-content:space-between;align-items:flex-start}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:18px;margin:40px 0 12px}
h3{font-size:15px;margin:0}
p{margin:0}
.soft,figcaption span,.caption,.axis,.tick{color:var(--soft)}
button,select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:6px 12px}
button{cursor:pointer}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:16px;margin-top:24px}
.card,.chart,.table,.notes{background:var(--card);border:1px solid var(--rule);border-radius:12px}
.card{padding:16px 18px}
.card b{display:block;font-size:26px;line-height:1.2;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.card i{font-style:normal;display:block;border-left:4px solid;padding-left:8px;margin-bottom:6px;font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:16px}
.chart{margin:0;padding:16px 18px}
.wide{grid-column:1/-1}
@media(max-width:700px){.wide .plot{overflow-x:auto}.wide .plot svg{min-width:700px}}
figcaption{display:flex;flex-direction:column;margin-bottom:8px}
figcaption span{font-size:13px}
.plot{position:relative}
.plot svg{display:block;width:100%;height:auto;overflow:visible}
.grid{stroke:var(--rule);stroke-width:1}
.tick,.axis{font-size:12px;fill:var(--soft);font-variant-numeric:tabular-nums}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.dashed{stroke-dasharray:5 5;stroke-width:1.6;opacity:.8}
.cross{stroke:var(--soft);stroke-width:1;visibility:hidden}
.tip{position:absolute;top:4px;pointer-events:none;visibility:hidden;background:var(--card);border:1px solid var(--rule);
border-radius:8px;padding:6px 10px;font-size:12.5px;white-space:nowrap;box-shadow:0 4px 16px rgb(0 0 0/.14);z-index:1}
.tip div{display:flex;gap:12px;justify-content:space-between;font-variant-numeric:tabular-nums}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;margin-top:4px}
.key{display:inline-flex;align-items:center;gap:6px}
.bar{display:flex;gap:12px;align-items:center;margin:40px 0 12px}
.bar h2{margin:0}
.table{padding:14px 18px;margin-bottom:16px;overflow-x:auto}
.answer{margin-top:16px;font-size:16px;max-width:95ch}
.narrow{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:0 16px}
.caption{font-size:13px;margin-bottom:8px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;white-space:nowrap;border-top:1px solid var(--rule)}
th{border-top:0;color:var(--soft);font-weight:600}
th:first-child,td:first-child{text-align:left;padding-left:0}
td:first-child{font-weight:600}
.better{color:var(--good);font-weight:600}.worse{color:var(--bad);font-weight:600}
.notes{padding:14px 18px 14px 36px;margin:0}
details{margin-top:16px}
summary{cursor:pointer;font-weight:600;padding:4px 0}
@media print{button,select{display:none}.chart,.table{break-inside:avoid}}
`;
