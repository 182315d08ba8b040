// Opens a report from disk with the network off, uses it as a reader would, and prints its observations as JSON.
//   node browse.mjs report.html
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const [file] = process.argv.slice(2);
const seen = { console: [], requests: [] };

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: QUIET });
const context = await browser.newContext({ offline: true, viewport: { width: 1300, height: 900 }, colorScheme: "light", bypassCSP: false });
context.setDefaultTimeout(120_000);
const page = await context.newPage();
page.on("console", (message) => { if (["error", "warning"].includes(message.type())) seen.console.push(message.text()); });
page.on("pageerror", (error) => seen.console.push(String(error)));
page.on("request", (request) => { if (request.url() !== pathToFileURL(file).href) seen.requests.push(request.url().slice(0, 200)); });

const drawn = () => page.waitForFunction(() => [...document.querySelectorAll("[data-figure]")].every((figure) => figure.dataset.drawn === "yes"));
// Names of the lines and bars of every figure, as the library holds them.
const series = () => page.evaluate(() => [...charts.values()].map((held) => held.chart.getOption().series.map((one) => one.name ?? "")));
const visibleRows = (arm) => page.evaluate((name) => [...document.querySelectorAll(`[data-arm="${name}"]`)].filter((row) => getComputedStyle(row).display !== "none").length, arm);
const zoom = () => page.evaluate(() => { const { start, end } = charts.values().next().value.chart.getOption().dataZoom[0]; return [start, end]; });

// axe-core's script would be stopped by the page's own content security policy, so it is evaluated instead of added.
async function faults(where = "html") {
  await page.evaluate(readFileSync(AXE, "utf8"));
  const { violations } = await page.evaluate((selector) => axe.run(selector, { resultTypes: ["violations"] }), where);
  return violations.map((fault) => ({ id: fault.id, impact: fault.impact, where: fault.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)) }));
}

await page.goto(pathToFileURL(file).href);
await drawn();
// A figure is drawn if its canvas has a colour that is neither grey nor see-through: axes and labels are grey, data are not.
seen.figures = await page.evaluate(() => [...document.querySelectorAll("[data-figure]")].map((figure) => {
  const coloured = [...figure.querySelectorAll("canvas")].reduce((count, canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < pixels.length; i += 4) {
      const [red, green, blue, opacity] = pixels.subarray(i, i + 4);
      count += opacity > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60;
    }
    return count;
  }, 0);
  return { kind: figure.dataset.figure, key: figure.dataset.key, coloured };
}));
seen.faultsLight = await faults();
await page.getByRole("button", { name: "Dark" }).click();
await drawn();
seen.dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
seen.faultsDark = await faults();
await page.getByRole("button", { name: "Light" }).click();

// Arms off and on, everywhere at once
const arm = await page.evaluate(() => report.arms[0].name);
seen.arm = { name: arm, rowsBefore: await visibleRows(arm), seriesBefore: (await series()).flat().filter((name) => name.startsWith(arm)).length };
await page.getByRole("checkbox", { name: arm, exact: true }).uncheck();
await drawn();
seen.arm.rowsOff = await visibleRows(arm);
seen.arm.seriesOff = (await series()).flat().filter((name) => name.startsWith(arm)).length;
await page.getByRole("checkbox", { name: arm, exact: true }).check();
await drawn();
seen.arm.rowsAfter = await visibleRows(arm);

// Single seeds, x axis
const lines = async () => (await series())[0].length;
seen.linesWithSeeds = await lines();
await page.getByRole("checkbox", { name: "single seeds" }).uncheck();
seen.linesWithoutSeeds = await lines();
await page.getByRole("checkbox", { name: "single seeds" }).check();
await page.getByLabel("x axis").selectOption("hours");
seen.axisName = await page.evaluate(() => charts.values().next().value.chart.getOption().xAxis[0].name);
await page.getByLabel("x axis").selectOption("step");

// Zoom with the mouse and the keyboard, reading with the keyboard
const plot = page.locator("[data-figure=curve] .plot").first();
await plot.scrollIntoViewIfNeeded();
const box = await plot.boundingBox();
await page.mouse.move(box.x + box.width * 0.4, box.y + box.height / 2);
await page.mouse.down();
await page.mouse.move(box.x + box.width * 0.7, box.y + box.height / 2, { steps: 5 });
await page.mouse.up();
seen.zoomDragged = await zoom();
await page.mouse.dblclick(box.x + box.width / 2, box.y + box.height / 2);
seen.zoomReset = await zoom();
await plot.focus();
await page.keyboard.press("+");
seen.zoomKeyed = await zoom();
await page.keyboard.press("-");
await page.keyboard.press("ArrowRight");
await page.keyboard.press("ArrowRight");
seen.tooltip = await plot.locator("xpath=./div[last()]").innerText();

// Tables behind all figures, and everything else that opens
await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
await page.waitForFunction(() => [...document.querySelectorAll("[data-figure] details")].every((details) => details.querySelector("tbody tr")));
seen.faultsTable = await faults("[data-figure=evaluation]");

// Tasks
const card = page.locator("#task-cards button").first();
await card.focus();
await page.keyboard.press("Enter");
seen.drawer = await page.evaluate(() => ({ open: drawer.open, grids: drawer.querySelectorAll("svg.grid").length, programs: drawer.querySelectorAll("pre").length, title: document.getElementById("drawer-title").textContent }));
await page.getByRole("button", { name: "Next" }).click();
seen.drawer.next = await page.evaluate(() => document.getElementById("drawer-title").textContent);
await page.getByRole("checkbox", { name: "digits" }).check();
seen.drawer.digits = await page.evaluate(() => drawer.querySelectorAll("svg.grid text").length);
seen.faultsDrawer = await faults("#drawer");
await page.keyboard.press("Escape");
seen.drawer.closed = await page.evaluate(() => !drawer.open);

// Every number that is on the page by now
seen.strangers = await page.evaluate(() => {
  const known = new Set();
  (function collect(part) {
    if (typeof part === "number") known.add(part);
    else if (part && typeof part === "object") Object.values(part).forEach(collect);
  })(report);
  return [...document.querySelectorAll("data")].map((shown) => Number(shown.value)).filter((value) => !known.has(value));
});
seen.numbers = await page.evaluate(() => document.querySelectorAll("data").length);

// Narrow, printed
await page.setViewportSize({ width: 390, height: 800 });
seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
const pdf = await page.pdf({ format: "A4" });
seen.pdfPages = (pdf.toString("latin1").match(/\/Type\s*\/Page\b/g) ?? []).length;

await browser.close();
console.log(JSON.stringify(seen));
