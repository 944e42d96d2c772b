/**
 * Opens a report of `scalellm bench --html` in headless Chromium and tells whether its charts are drawn and its page is
 * silent; --picture FILE keeps what it looks like.
 *
 *   bun bench/check-report.ts build/report.html --picture build/report.png
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium, visit } from "../test/bench/report/chromium.ts";
import { INSPECT, type Inspection } from "../test/bench/report/inspect-page.ts";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { picture: { type: "string" } } });
const [report] = positionals;
if (report === undefined || chromium === undefined) {
  console.error(report === undefined ? "name the report" : "Chromium is not installed: apt-get install chromium");
  process.exit(2);
}
const seen = await visit(chromium, `file://${resolve(report)}`, INSPECT, values.picture);
const { charts, lengths, overflow, otherCharts } = seen.result as Inspection;
const flat = lengths.filter((length) => length <= 0).length;
console.log(`${report}: ${charts} charts with ${lengths.length} lines drawn, ${otherCharts} more at another load`);
for (const complaint of seen.complaints) console.log(`complaint: ${complaint}`);
for (const request of seen.requests) console.log(`request: ${request}`);
if (flat > 0) console.log(`${flat} lines are empty`);
if (overflow > 0) console.log(`the page is ${overflow} px too wide`);
const isGood = charts > 0 && lengths.length > 0 && flat + overflow + seen.complaints.length + seen.requests.length <= 0;
console.log(isGood ? "good" : "NOT GOOD");
process.exit(isGood ? 0 : 1);
