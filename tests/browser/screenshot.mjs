// Pictures of a report for the documentation:
//   node tests/browser/screenshot.mjs results/tiny/report/report.html docs/report
// writes docs/report-verdict.png, docs/report-curves.png and docs/report-task.png.
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [file, prefix] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
const context = await browser.newContext({ offline: true, viewport: { width: 1200, height: 900 }, colorScheme: "light" });
context.setDefaultTimeout(120_000);
const page = await context.newPage();
await page.goto(pathToFileURL(file).href);
await page.waitForFunction(() => [...document.querySelectorAll("[data-figure]")].every((figure) => figure.dataset.drawn === "yes"));
await page.screenshot({ path: `${prefix}-verdict.png` });
await page.evaluate(() => document.getElementById("curves").scrollIntoView());
await page.screenshot({ path: `${prefix}-curves.png` });
const card = page.locator("#task-cards button").first();
if (await card.count()) {
  await card.click();
  await page.screenshot({ path: `${prefix}-task.png` });
}
await browser.close();
