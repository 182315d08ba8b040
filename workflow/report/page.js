"use strict";
// Figures, the switches that act on all of them, and the task drawer. Every number comes from the embedded report.json.

const report = JSON.parse(document.getElementById("report").textContent);
const settings = report.settings;
const armNames = report.arms.map((arm) => arm.name);
const DASHES = ["solid", [7, 4], [2, 3], [10, 3, 2, 3], [5, 2], [12, 4], [3, 3], [8, 2, 2, 2], [1, 3]];
const SYMBOLS = ["circle", "rect", "triangle", "diamond", "roundRect", "pin", "arrow", "emptyCircle", "emptyRect"];
const VERDICT_COLOURS = ["#009e73", "#0072b2", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#f0e442"];
const GRID_COLOURS = ["#000000", "#1e93ff", "#f93c31", "#4fcc30", "#ffdc00", "#999999", "#e53aa3", "#ff851b", "#87d8f1", "#921231"];
const GRID_NAMES = ["black", "blue", "red", "green", "yellow", "grey", "magenta", "orange", "light blue", "maroon"];
const PLAIN_METRICS = ["reward", "completion_tokens", "tokens_per_task"];

const state = { hidden: new Set(), singleSeeds: true, xAxis: "step" };
const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];
const shown = (arm) => !state.hidden.has(arm);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// How numbers are written

const significant = (value, digits = 3) => Number(value.toPrecision(digits)).toString();
const exponential = (value) => value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
const plain = (value) => (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? exponential(value) : significant(value)).replaceAll("-", "−");
// Ticks of a linear axis may lie close together, far from zero.
const tick = (value) => (Math.abs(value) < 1e-3 ? plain(value) : significant(value, 6).replaceAll("-", "−"));
const asShare = (value) => `${(100 * value).toFixed(1)} %`;
const ofMetric = (metric) => (PLAIN_METRICS.includes(metric) ? plain : asShare);

function data(value, write = plain) {
  if (value === null || value === undefined) return element("span", { className: "none" }, "–");
  return element("data", { value: String(value) }, write(value));
}

// Colours and marks of the arms

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const armColour = (arm) => (armNames.includes(arm) ? colour(`--arm-${armNames.indexOf(arm) % 9}`) : colour("--base"));
const armDash = (arm) => (armNames.includes(arm) ? DASHES[armNames.indexOf(arm) % DASHES.length] : [1, 2]);
const armSymbol = (arm) => (armNames.includes(arm) ? SYMBOLS[armNames.indexOf(arm) % SYMBOLS.length] : "diamond");

// Figures: each kind gives an ECharts option and the rows of the table behind it.

const charts = new Map(); // figure element -> { chart, build }

function frame(extra) {
  const text = colour("--text"), soft = colour("--soft"), line = colour("--line");
  const axis = (given) => ({
    axisLine: { lineStyle: { color: soft } },
    axisLabel: { color: text, hideOverlap: true },
    nameTextStyle: { color: soft },
    splitLine: { lineStyle: { color: line } },
    ...given,
    axisLabel: { color: text, hideOverlap: true, ...given.axisLabel },
  });
  const { xAxis, yAxis, ...rest } = extra;
  return {
    animation: false,
    textStyle: { fontFamily: "system-ui, sans-serif" },
    grid: { left: 8, right: 16, top: 26, bottom: 24, containLabel: true },
    tooltip: { trigger: "axis", confine: true, backgroundColor: colour("--raised"), borderColor: line, textStyle: { color: text, fontSize: 12 } },
    ...rest,
    xAxis: axis(xAxis),
    yAxis: axis(yAxis),
  };
}

const zoomable = {
  dataZoom: [{ type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: false, moveOnMouseWheel: false, filterMode: "none" }],
};

const belowAxis = { nameLocation: "middle", nameGap: 26 };
const stepAxis = { ...belowAxis, type: "value", name: "step", min: "dataMin", max: "dataMax", minInterval: 1, splitLine: { show: false } };
const positive = (value, log) => (log && !(value > 0) ? null : value);

function band(arm, points, low, high) {
  return {
    type: "custom",
    name: `${arm} range`,
    silent: true,
    clip: true,
    z: 1,
    data: [[points[0], low[0]]],
    renderItem: (params, api) => {
      const corners = [
        ...points.map((x, i) => (low[i] === null ? null : api.coord([x, low[i]]))),
        ...points.map((x, i) => (high[i] === null ? null : api.coord([x, high[i]]))).reverse(),
      ].filter((point) => point !== null);
      return { type: "polygon", shape: { points: corners }, style: { fill: armColour(arm), opacity: 0.14 } };
    },
  };
}

// Bars of several arms at one x stand side by side.
function errorBars(name, arm, rows) {
  const order = ["base", ...armNames], shift = 5 * (order.indexOf(arm) - (order.length - 1) / 2);
  return {
    type: "custom",
    name: `${name} interval`,
    silent: true,
    z: 3,
    data: rows.map((row) => [row.x, row.low, row.high]).filter((row) => row[1] !== null),
    encode: { x: 0, y: [1, 2] },
    renderItem: (params, api) => {
      const [at0, low] = api.coord([api.value(0), api.value(1)]);
      const high = api.coord([api.value(0), api.value(2)])[1];
      const x = at0 + shift;
      const style = { stroke: armColour(arm), lineWidth: 1.5, fill: "none" };
      const at = (shape) => ({ type: "line", shape, style });
      return {
        type: "group",
        children: [
          at({ x1: x, y1: low, x2: x, y2: high }),
          at({ x1: x - 4, y1: low, x2: x + 4, y2: low }),
          at({ x1: x - 4, y1: high, x2: x + 4, y2: high }),
        ],
      };
    },
  };
}

function meanLine(arm, name, points) {
  return {
    type: "line",
    name,
    z: 4,
    symbol: armSymbol(arm),
    symbolSize: 6,
    showSymbol: points.length <= 25,
    connectNulls: false,
    lineStyle: { color: armColour(arm), width: 2.4, type: armDash(arm) },
    itemStyle: { color: armColour(arm) },
    data: points,
  };
}

function tooltipLines(title, entries) {
  const box = element("div", {}, element("strong", {}, title));
  for (const [arm, text] of entries) {
    const dot = element("span", { className: "dot" });
    dot.style.cssText = `display:inline-block;margin-right:.4em;background:${armColour(arm)}`;
    box.append(element("div", {}, dot, text));
  }
  return box;
}

function curve(key) {
  const panel = report.curves.panels.find((candidate) => candidate.key === key);
  const axes = new Map(report.curves.axes.map((axis) => [`${axis.arm}/${axis.seed}`, axis]));
  const series = [];
  const byStep = state.xAxis === "step";
  // Where every value is 0 a log axis would be empty.
  const log = panel.log && panel.runs.some((run) => run.value.some((value) => value > 0));
  for (const arm of panel.arms.filter((candidate) => shown(candidate.arm))) {
    if (!byStep || !arm.step.length) continue;
    const clean = (values) => values.map((value) => positive(value, log));
    const [mean, low, high] = [arm.mean, arm.low, arm.high].map(clean);
    if (Math.max(...arm.n_seeds) > 1) series.push(band(arm.arm, arm.step, low, high));
    const onsets = report.collapse.runs.filter((run) => run.arm === arm.arm && run.onset_step !== null);
    series.push({
      ...meanLine(arm.arm, arm.arm, arm.step.map((step, i) => [step, mean[i]])),
      markLine: {
        silent: true,
        symbol: "none",
        label: { formatter: "collapse", color: armColour(arm.arm), fontSize: 10 },
        lineStyle: { color: armColour(arm.arm), type: "dashed", width: 1 },
        data: onsets.map((run) => ({ xAxis: run.onset_step })),
      },
    });
  }
  const single = panel.runs.filter((run) => shown(run.arm) && (state.singleSeeds || !byStep));
  for (const run of single) {
    const axis = axes.get(`${run.arm}/${run.seed}`)[state.xAxis];
    series.push({
      type: "line",
      name: `${run.arm}, seed ${run.seed}`,
      z: 2,
      symbol: "none",
      lineStyle: { color: armColour(run.arm), width: byStep ? 0.9 : 1.6, opacity: byStep ? 0.55 : 0.9, type: armDash(run.arm) },
      itemStyle: { color: armColour(run.arm) },
      data: axis.map((x, i) => [x, positive(run.value[i], log)]),
    });
  }
  const words = { step: "step", applied_steps: "applied update", hours: "hours" };
  const option = frame({
    ...zoomable,
    xAxis: { ...stepAxis, name: words[state.xAxis], minInterval: state.xAxis === "hours" ? 0 : 1 },
    yAxis: { type: log ? "log" : "value", scale: true, axisLabel: { formatter: log ? plain : tick } },
    series,
  });
  option.tooltip.formatter = (items) => {
    const x = items[0].axisValue;
    if (!byStep) {
      return tooltipLines(`${words[state.xAxis]} ${plain(x)}`, items.map((item) => [item.seriesName.split(", seed ")[0], `${item.seriesName}: ${item.value[1] === null ? "–" : plain(item.value[1])}`]));
    }
    const entries = panel.arms.filter((arm) => shown(arm.arm)).map((arm) => {
      const at = arm.step.indexOf(x);
      if (at < 0 || arm.mean[at] === null) return [arm.arm, `${arm.arm}: –`];
      const range = arm.n_seeds[at] > 1 ? ` (${plain(arm.low[at])} to ${plain(arm.high[at])}, ${arm.n_seeds[at]} seeds)` : "";
      return [arm.arm, `${arm.arm}: ${plain(arm.mean[at])}${range}`];
    });
    return tooltipLines(`step ${x}`, entries);
  };
  const table = () => ({
    head: ["Arm", "Step", "Mean", "Lowest seed", "Highest seed", "Seeds"],
    rows: panel.arms.filter((arm) => shown(arm.arm)).flatMap((arm) =>
      arm.step.map((step, i) => [arm.arm, data(step, String), data(arm.mean[i]), data(arm.low[i]), data(arm.high[i]), data(arm.n_seeds[i], String)])),
  });
  return { option, table };
}

// Ladder

const wherever = (interval, end) => (interval && interval[end] !== null ? interval[end] : null);

// An interval along x, one along y, or both, through a point.
function cross(arm, name, x, y) {
  return {
    type: "custom",
    name: `${name} intervals`,
    silent: true,
    z: 3,
    data: [[x.value, y.value]],
    renderItem: (params, api) => {
      const style = { stroke: armColour(arm), lineWidth: 1.5, fill: "none" };
      const line = (from, to) => ({ type: "line", style, shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] } });
      const children = [];
      if (wherever(x, "low") > 0) children.push(line(api.coord([x.low, y.value]), api.coord([x.high, y.value])));
      if (wherever(y, "low") !== null) children.push(line(api.coord([x.value, y.low]), api.coord([x.value, y.high])));
      return { type: "group", children };
    },
  };
}

function ladder(key) {
  const metric = settings.primary_metric, write = ofMetric(metric);
  const words = { spread: "spread of D, nats", design_effect: "common error" };
  const arms = report.ladder.arms.filter((arm) => shown(arm.arm) && arm[key].value > 0 && wherever(arm.score, "value") !== null);
  const at = (name) => arms.find((arm) => arm.arm === name);
  const series = report.ladder.orders.map((order) => ({
    type: "line", name: order.by, silent: true, z: 1, symbol: "none", lineStyle: { color: colour("--soft"), width: 1, type: "dashed" },
    data: order.arms.map(at).filter(Boolean).map((arm) => [arm[key].value, arm.score.value]),
  }));
  for (const arm of arms) {
    const runs = report.ladder.runs.filter((run) => run.arm === arm.arm && run[key] > 0 && run.score !== null);
    series.push(cross(arm.arm, arm.arm, arm[key], arm.score));
    if (state.singleSeeds) series.push({ type: "scatter", name: `${arm.arm} seeds`, silent: true, z: 2, symbol: armSymbol(arm.arm), symbolSize: 5, itemStyle: { color: armColour(arm.arm), opacity: 0.5 }, data: runs.map((run) => [run[key], run.score]) });
    series.push({ type: "scatter", name: arm.arm, z: 4, symbol: armSymbol(arm.arm), symbolSize: 12, itemStyle: { color: armColour(arm.arm) }, data: [[arm[key].value, arm.score.value]] });
  }
  const option = frame({
    xAxis: { ...belowAxis, type: "log", name: words[key], axisLabel: { formatter: plain }, splitLine: { show: false } },
    yAxis: { type: "value", scale: true, name: metric, nameTextStyle: { align: "left" }, axisLabel: { formatter: write } },
    series,
  });
  option.tooltip.trigger = "item";
  option.tooltip.formatter = (item) => {
    const arm = at(item.seriesName);
    return tooltipLines(arm.arm, [[arm.arm, `${words[key]}: ${intervalText(arm[key], plain)}`], [arm.arm, `${metric}: ${intervalText(arm.score, write)}`]]);
  };
  const table = () => ({
    head: ["Arm", "Seed", "Spread of D, nats", "Mean |d|, nats", "ESS of sequences", "Common error", metric],
    rows: report.ladder.runs.filter((run) => shown(run.arm)).map((run) => [run.arm, data(run.seed, String), data(run.spread), data(run.logp_diff_abs_mean), data(run.ess), data(run.design_effect), data(run.score, write)]),
  });
  return { option, table };
}

// Mismatch

const auditedNow = () => report.mismatch.filter((row) => row.step === Number(byId("audit-step").value) && (shown(row.arm)));

function causes() {
  const audited = auditedNow();
  const names = unique(audited.flatMap((row) => row.causes.map((cause) => cause.cause))).filter((name) => name !== "total");
  const series = audited.flatMap((row, place) => {
    const found = names.map((name) => row.causes.find((cause) => cause.cause === name));
    const offset = (api) => ((place + 0.5) / audited.length - 0.5) * 0.7 * api.size([1, 0])[0];
    return [
      { type: "bar", name: row.arm, barCategoryGap: "30%", barGap: 0, itemStyle: { color: armColour(row.arm) }, data: found.map((cause) => cause?.share ?? null) },
      {
        type: "custom", name: `${row.arm} orders`, silent: true, z: 5,
        data: found.map((cause, i) => [i, cause?.share_lowest ?? null, cause?.share_highest ?? null]).filter((row) => row[1] !== null),
        encode: { x: 0, y: [1, 2] },
        renderItem: (params, api) => {
          const [x, low] = api.coord([api.value(0), api.value(1)]);
          const high = api.coord([api.value(0), api.value(2)])[1];
          const shift = offset(api);
          return { type: "line", shape: { x1: x + shift, y1: low, x2: x + shift, y2: high }, style: { stroke: colour("--text"), lineWidth: 1.5 } };
        },
      },
    ];
  });
  const option = frame({
    xAxis: { type: "category", data: names.map((name) => name.replaceAll("_", "\n")), axisLabel: { interval: 0, lineHeight: 15 } },
    yAxis: { type: "value", axisLabel: { formatter: asShare } },
    series,
  });
  option.tooltip.formatter = (items) => tooltipLines(items[0].name, items.filter((item) => item.seriesType === "bar").map((item) => [item.seriesName, `${item.seriesName}: ${item.value === null ? "–" : asShare(item.value)}`]));
  const table = () => ({
    head: ["Arm", "Cause", "Share", "Share, other order", "Lowest", "Highest", "Mean, nats", "Mean size, nats"],
    rows: audited.flatMap((row) => row.causes.map((cause) => [row.arm, cause.cause, data(cause.share, asShare), data(cause.share_reversed, asShare), data(cause.share_lowest, asShare), data(cause.share_highest, asShare), data(cause.mean), data(cause.mean_abs)])),
  });
  return { option, table };
}

function causeSizes() {
  const audited = auditedNow();
  const names = unique(audited.flatMap((row) => row.causes.map((cause) => cause.cause)));
  const option = frame({
    xAxis: { type: "category", data: names.map((name) => name.replaceAll("_", "\n")), axisLabel: { interval: 0, lineHeight: 15 } },
    yAxis: { type: "log", name: "nats", axisLabel: { formatter: plain } },
    series: audited.map((row) => ({
      type: "scatter", name: row.arm, symbol: armSymbol(row.arm), symbolSize: 11, itemStyle: { color: armColour(row.arm) },
      data: names.map((name) => positive(row.causes.find((cause) => cause.cause === name)?.mean_abs ?? null, true)),
    })),
  });
  option.tooltip.formatter = (items) => tooltipLines(items[0].name, items.map((item) => [item.seriesName, `${item.seriesName}: ${item.value === null ? "–" : plain(item.value)} nats`]));
  return { option, table: causes().table };
}

function profile(field, word) {
  const audited = auditedNow();
  const option = frame({
    xAxis: { ...belowAxis, type: "value", name: word, min: "dataMin", max: "dataMax", splitLine: { show: false } },
    yAxis: { type: "value", name: "nats", axisLabel: { formatter: plain } },
    series: audited.map((row) => meanLine(row.arm, row.arm, row[field].map((bin) => [(bin.from + bin.to) / 2, bin.logp_diff_abs_mean]))),
  });
  option.tooltip.formatter = (items) => {
    const bin = audited[0][field][items[0].dataIndex];
    return tooltipLines(`${word} ${plain(bin.from)} to ${plain(bin.to)}`, items.map((item) => [item.seriesName, `${item.seriesName}: ${item.value[1] === null ? "–" : plain(item.value[1])} nats`]));
  };
  const table = () => ({
    head: ["Arm", "From", "To", "Tokens", "Mean d", "Spread of d", "Mean |d|", "95th percentile of |d|"],
    rows: audited.flatMap((row) => row[field].map((bin) => [row.arm, data(bin.from), data(bin.to), data(bin.token_count, String), data(bin.logp_diff_mean), data(bin.logp_diff_std), data(bin.logp_diff_abs_mean), data(bin.logp_diff_abs_p95)])),
  });
  return { option, table };
}

// Evaluation

const evaluationNow = () => report.evaluation.rows.filter((row) => row.set === byId("evaluation-set").value && row.dtype === byId("evaluation-dtype").value && shown(row.arm));

function evaluationByStep() {
  const metric = byId("evaluation-metric").value, write = ofMetric(metric);
  const rows = evaluationNow().filter((row) => row.metrics[metric]);
  const base = rows.find((row) => row.arm === "base");
  const arms = unique(rows.map((row) => row.arm)).filter((arm) => arm !== "base");
  const series = arms.flatMap((arm) => {
    const points = [base, ...rows.filter((row) => row.arm === arm)].filter(Boolean).map((row) => ({ x: row.step, ...row.metrics[metric] }));
    const ends = points.length > 10 // many bars would hide one another
      ? band(arm, ...["x", "low", "high"].map((end) => points.map((point) => point[end])))
      : errorBars(arm, arm, points.filter((point) => point.x > 0 || !base));
    return [meanLine(arm, arm, points.map((point) => [point.x, point.value])), ends];
  });
  if (base) series.push(errorBars("base", "base", [{ x: base.step, ...base.metrics[metric] }]), { ...meanLine("base", "base", [[base.step, base.metrics[metric].value]]), symbolSize: 9 });
  const option = frame({ ...zoomable, xAxis: { ...stepAxis }, yAxis: { type: "value", scale: true, name: metric, nameTextStyle: { align: "left" }, axisLabel: { formatter: write } }, series });
  option.tooltip.formatter = (items) => tooltipLines(`step ${items[0].axisValue}`, items.filter((item) => item.seriesType === "line").map((item) => {
    const found = rows.find((row) => row.arm === item.seriesName && row.step === item.value[0]) ?? base;
    return [item.seriesName, `${found.arm}: ${intervalText(found.metrics[metric], write)}`];
  }));
  const table = () => ({
    head: ["Arm", "Step", metric, "Low", "High", `Difference from ${settings.baseline_arm}`, "Low", "High"],
    rows: rows.map((row) => {
      const change = row.differences[metric];
      return [row.arm, data(row.step, String), ...["value", "low", "high"].map((end) => data(row.metrics[metric][end], write)), ...["value", "low", "high"].map((end) => data(change?.[end], write))];
    }),
  });
  return { option, table };
}

// One line for each arm, through its evaluated steps in their order.
function scoreAgainstCost() {
  const metric = settings.primary_metric, write = ofMetric(metric);
  const rows = evaluationNow().filter((row) => row.metrics[metric] && row.metrics.tokens_per_task);
  const tokens = (row) => row.metrics.tokens_per_task.value;
  const series = unique(rows.map((row) => row.arm)).map((arm) => ({
    ...meanLine(arm, arm, rows.filter((row) => row.arm === arm).map((row) => [tokens(row), row.metrics[metric].value])), symbolSize: 7,
  }));
  const option = frame({
    xAxis: { ...belowAxis, type: "value", scale: true, name: "tokens per task" },
    yAxis: { type: "value", scale: true, name: metric, nameTextStyle: { align: "left" }, axisLabel: { formatter: write } },
    series,
  });
  option.tooltip.trigger = "item";
  option.tooltip.formatter = (item) => {
    const row = rows.filter((candidate) => candidate.arm === item.seriesName)[item.dataIndex];
    const seconds = row.seconds_per_task === null ? "" : `, ${plain(row.seconds_per_task)} s`;
    return tooltipLines(`step ${row.step}`, [[row.arm, `${row.arm}: ${intervalText(row.metrics[metric], write)}, ${plain(tokens(row))} tokens${seconds}`]]);
  };
  const table = () => ({
    head: ["Arm", "Step", metric, "Tokens per task", "Seconds per task"],
    rows: rows.map((row) => [row.arm, data(row.step, String), data(row.metrics[metric].value, write), data(tokens(row)), data(row.seconds_per_task)]),
  });
  return { option, table };
}

const intervalText = (interval, write) => interval.value === null ? "–" : write(interval.value) + (interval.low === null ? "" : ` (${write(interval.low)} to ${write(interval.high)})`);

function passAtK() {
  const rows = evaluationNow();
  const last = unique(rows.map((row) => row.arm)).map((arm) => rows.filter((row) => row.arm === arm).at(-1));
  const points = (row) => Object.entries(row.metrics).filter(([name, interval]) => name.startsWith("pass@") && interval.value !== null).map(([name, interval]) => ({ x: name.slice(5), ...interval }));
  const ks = unique(last.flatMap((row) => points(row).map((point) => point.x))).sort((a, b) => a - b);
  const option = frame({
    xAxis: { ...belowAxis, type: "category", data: ks, name: "k" },
    yAxis: { type: "value", scale: true, axisLabel: { formatter: asShare } },
    series: last.flatMap((row) => [meanLine(row.arm, row.arm, points(row).map((point) => [point.x, point.value])), errorBars(row.arm, row.arm, points(row).map((point) => ({ ...point, x: ks.indexOf(point.x) })))]),
  });
  option.tooltip.formatter = (items) => tooltipLines(`k = ${items[0].name}`, items.filter((item) => item.seriesType === "line").map((item) => {
    const row = last.find((candidate) => candidate.arm === item.seriesName);
    return [row.arm, `${row.arm}, step ${row.step}: ${intervalText(row.metrics[`pass@${item.name}`], asShare)}`];
  }));
  const table = () => ({
    head: ["Arm", "Step", "k", "pass@k", "Low", "High"],
    rows: last.flatMap((row) => points(row).map((point) => [row.arm, data(row.step, String), data(Number(point.x), String), data(point.value, asShare), data(point.low, asShare), data(point.high, asShare)])),
  });
  return { option, table };
}

function verdicts() {
  const rows = evaluationNow();
  const names = unique(report.evaluation.rows.flatMap((row) => Object.keys(row.verdicts))).sort((a, b) => (b === "ok") - (a === "ok") || a.localeCompare(b));
  const option = frame({
    grid: { left: 8, right: 28, top: 44, bottom: 8, containLabel: true },
    legend: { top: 0, itemHeight: 10, textStyle: { color: colour("--text"), fontSize: 11 }, type: "scroll", selectedMode: false },
    aria: { enabled: true, decal: { show: true }, label: { enabled: false } },
    xAxis: { type: "value", max: 1, axisLabel: { formatter: (value) => `${Math.round(100 * value)} %` } },
    yAxis: { type: "category", inverse: true, data: rows.map((row) => `${row.arm} ${row.step}`) },
    series: names.map((name, i) => ({ type: "bar", stack: "all", name: name.replaceAll("_", " "), itemStyle: { color: VERDICT_COLOURS[i % VERDICT_COLOURS.length] }, data: rows.map((row) => row.verdicts[name] ?? 0) })),
  });
  option.tooltip.formatter = (items) => {
    const row = rows[items[0].dataIndex];
    return tooltipLines(`${row.arm}, step ${row.step}`, names.map((name) => [row.arm, `${name.replaceAll("_", " ")}: ${asShare(row.verdicts[name] ?? 0)}`]));
  };
  const table = () => ({ head: ["Arm", "Step", ...names], rows: rows.map((row) => [row.arm, data(row.step, String), ...names.map((name) => data(row.verdicts[name], asShare))]) });
  return { option, table, rows: rows.length };
}

function heatMap() {
  const heat = report.evaluation.heat_maps.find((candidate) => candidate.set === byId("evaluation-set").value);
  const columns = heat ? heat.columns.map((name, i) => i).filter((i) => shown(heat.column_arms[i])) : [];
  const option = frame({
    grid: { left: 8, right: 16, top: 8, bottom: 50, containLabel: true },
    xAxis: { type: "category", data: heat?.tasks ?? [], axisLabel: { show: false }, axisTick: { show: false } },
    yAxis: { type: "category", inverse: true, data: columns.map((i) => heat.columns[i]), splitLine: { show: false } },
    visualMap: { min: 0, max: 1, orient: "horizontal", left: "center", bottom: 0, itemWidth: 12, text: ["always solved", "never"], textStyle: { color: colour("--text") }, inRange: { color: ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"] } },
    series: [{ type: "heatmap", data: columns.flatMap((i, y) => heat.rates[i].map((rate, x) => [x, y, rate])).filter((cell) => cell[2] !== null), emphasis: { itemStyle: { borderColor: colour("--text"), borderWidth: 1 } } }],
  });
  option.tooltip.trigger = "item";
  option.tooltip.formatter = (item) => `task ${heat.tasks[item.value[0]]}<br>${heat.columns[columns[item.value[1]]]}: ${asShare(item.value[2])}`;
  const table = () => ({
    head: ["Task", "Seen in training", ...columns.map((i) => heat.columns[i])],
    rows: (heat?.tasks ?? []).map((task, x) => [task, { true: "yes", false: "no", null: "–" }[heat.seen[x]], ...columns.map((i) => data(heat.rates[i][x], asShare))]),
  });
  return { option, table, rows: columns.length };
}

// Collapse and provenance

function survival(endpoint) {
  const curves = report.collapse.survival.filter((curve) => curve.endpoint === endpoint && shown(curve.arm));
  const option = frame({
    ...zoomable,
    xAxis: { ...stepAxis, min: 0 },
    yAxis: { type: "value", min: 0, max: 1, axisLabel: { formatter: asShare } },
    series: curves.map((curve) => ({ ...meanLine(curve.arm, curve.arm, curve.step.map((step, i) => [step, curve.share[i]])), step: "end", showSymbol: false })),
  });
  option.tooltip.formatter = (items) => tooltipLines(`step ${items[0].axisValue}`, items.map((item) => [item.seriesName, `${item.seriesName}: ${asShare(item.value[1])}`]));
  const table = () => ({
    head: ["Arm", "Runs", `Runs that ${endpoint}`, "Step", "Share still going", "Low", "High"],
    rows: curves.flatMap((curve) => curve.step.map((step, i) => [curve.arm, data(curve.n_runs, String), data(curve.n_ended, String), data(step, String), data(curve.share[i], asShare), data(curve.low[i], asShare), data(curve.high[i], asShare)])),
  });
  return { option, table };
}

function phases() {
  const times = report.provenance.phase_times.filter((time) => shown(time.arm));
  const arms = unique(times.map((time) => time.arm)), names = unique(times.map((time) => time.phase));
  const at = (arm, phase) => times.find((time) => time.arm === arm && time.phase === phase);
  const word = (phase) => phase.replace(/_s$/, "");
  const option = frame({
    grid: { left: 8, right: 16, top: 44, bottom: 8, containLabel: true },
    legend: { top: 0, itemHeight: 10, textStyle: { color: colour("--text"), fontSize: 11 }, type: "scroll", selectedMode: false },
    aria: { enabled: true, decal: { show: true }, label: { enabled: false } },
    xAxis: { ...belowAxis, type: "value", name: "s", axisLabel: { formatter: plain } },
    yAxis: { type: "category", inverse: true, data: arms },
    series: names.map((phase, i) => ({ type: "bar", stack: "all", name: word(phase), itemStyle: { color: VERDICT_COLOURS[i % VERDICT_COLOURS.length] }, data: arms.map((arm) => at(arm, phase).mean_s) })),
  });
  option.tooltip.formatter = (items) => tooltipLines(items[0].name, names.map((phase) => [items[0].name, `${word(phase)}: ${plain(at(items[0].name, phase).mean_s)} s (${asShare(at(items[0].name, phase).share)})`]));
  const table = () => ({ head: ["Arm", "Phase", "Mean, s", "Share"], rows: times.map((time) => [time.arm, word(time.phase), data(time.mean_s), data(time.share, asShare)]) });
  return { option, table };
}

const KINDS = {
  "curve": (key) => curve(key),
  "ladder": (key) => ladder(key),
  "causes": causes,
  "cause-sizes": causeSizes,
  "by-position": () => profile("by_position", "token"),
  "by-probability": () => profile("by_probability", "probability"),
  "evaluation": evaluationByStep,
  "pass-at-k": passAtK,
  "cost": scoreAgainstCost,
  "verdicts": verdicts,
  "heat-map": heatMap,
  "survival": (key) => survival(key),
  "phases": phases,
};

function fillTable(figure, built) {
  const { head, rows } = built.table();
  const body = element("tbody");
  for (const row of rows) body.append(element("tr", {}, ...row.map((cell, i) => element(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}, cell))));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))), body);
  figure.querySelector("details .scroll").replaceChildren(table);
}

function draw(figure) {
  const built = KINDS[figure.dataset.figure](figure.dataset.key);
  const held = charts.get(figure);
  if (built.rows) {
    figure.classList.toggle("wide", figure.classList.contains("wide") || built.rows > 12);
    figure.querySelector(".plot").style.height = `max(16rem, ${built.rows * 14 + 110}px)`;
    held.chart.resize();
  }
  held.built = built;
  held.chart.setOption(built.option, { notMerge: true });
  if (figure.querySelector("details").open) fillTable(figure, built);
}

const drawAll = (kinds = null) => charts.forEach((held, figure) => { if (!kinds || kinds.includes(figure.dataset.figure)) draw(figure); });

function zoomTo(chart, start, end) {
  chart.dispatchAction({ type: "dataZoom", start, end });
}

// Drag along x to zoom in, double-click to zoom out.
function zoomByMouse(plot, chart) {
  const mark = element("div", { className: "zoom-mark", hidden: true });
  plot.append(mark);
  const left = (event) => event.clientX - plot.getBoundingClientRect().left;
  plot.addEventListener("pointerdown", (down) => {
    if (down.button !== 0 || down.pointerType === "touch" || !chart.getOption().dataZoom?.length) return;
    const from = left(down);
    const move = (event) => {
      mark.hidden = false;
      mark.style.left = `${Math.min(from, left(event))}px`;
      mark.style.width = `${Math.abs(left(event) - from)}px`;
    };
    const up = (event) => {
      removeEventListener("pointermove", move);
      mark.hidden = true;
      if (Math.abs(left(event) - from) < 6) return;
      const [startValue, endValue] = [from, left(event)].sort((a, b) => a - b).map((x) => chart.convertFromPixel({ xAxisIndex: 0 }, x));
      chart.dispatchAction({ type: "dataZoom", startValue, endValue });
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up, { once: true });
  });
  plot.addEventListener("dblclick", () => zoomTo(chart, 0, 100));
}

function listen(figure, plot, chart) {
  chart.on("finished", () => { figure.dataset.drawn = "yes"; });
  zoomByMouse(plot, chart);
  figure.querySelector("details").addEventListener("toggle", (event) => { if (event.target.open) fillTable(figure, charts.get(figure).built); });
  let place = -1;
  plot.addEventListener("keydown", (event) => {
    const series = chart.getOption().series.findIndex((one) => one.type !== "custom");
    if (series < 0) return;
    const count = chart.getOption().series[series].data.length;
    const zoom = chart.getOption().dataZoom?.[0];
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      place = Math.min(count - 1, Math.max(0, place + (event.key === "ArrowRight" ? 1 : -1)));
      chart.dispatchAction({ type: "showTip", seriesIndex: series, dataIndex: place });
    } else if (event.key === "+" && zoom) {
      const quarter = (zoom.end - zoom.start) / 4;
      zoomTo(chart, zoom.start + quarter, zoom.end - quarter);
    } else if (event.key === "-" && zoom) {
      const half = (zoom.end - zoom.start) / 2;
      zoomTo(chart, Math.max(0, zoom.start - half), Math.min(100, zoom.end + half));
    } else return;
    event.preventDefault();
  });
  plot.addEventListener("blur", () => chart.dispatchAction({ type: "hideTip" }));
}

// Tasks

function gridPicture(text, label, size) {
  const rows = text.split("/"), height = rows.length, width = rows[0].length;
  const paths = GRID_COLOURS.map(() => "");
  rows.forEach((row, y) => [...row].forEach((cell, x) => { paths[Number(cell)] += `M${x + 0.04} ${y + 0.04}h.92v.92h-.92z`; }));
  const scale = Math.min(size / Math.max(width, height), 24);
  const digits = byId("digits").checked
    ? rows.flatMap((row, y) => [...row].map((cell, x) => `<text x="${x + 0.5}" y="${y + 0.75}" font-size=".7" text-anchor="middle" fill="${"3478".includes(cell) ? "#000" : "#fff"}">${cell}</text>`)).join("")
    : "";
  const holder = element("template");
  holder.innerHTML = `<svg class="grid" role="img" viewBox="0 0 ${width} ${height}" width="${width * scale}" height="${height * scale}">${paths.map((path, i) => (path ? `<path d="${path}" fill="${GRID_COLOURS[i]}"/>` : "")).join("")}${digits}</svg>`;
  const picture = holder.content.firstChild;
  picture.setAttribute("aria-label", `${label}: ${height} high, ${width} wide; rows ${rows.join(", ")}`);
  return picture;
}

const captioned = (picture, text) => element("figure", {}, element("figcaption", {}, text), picture);

const cardList = { choice: null, cards: [], open: -1 };

function showCards(choice) {
  cardList.choice = choice;
  cardList.cards = report.tasks.cards.filter((card) => card.chosen_as.includes(choice));
  byId("task-choices").querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.choice === choice)));
  byId("task-cards").replaceChildren(...cardList.cards.map((card, place) => {
    const rates = card.rates.filter((rate) => shown(rate.arm)).map((rate) => element("span", {}, `${rate.arm} `, data(rate.solved, asShare), element("br")));
    const first = card.pairs[0];
    const button = element("button", { type: "button" }, gridPicture(first.output, "first output", 58), element("span", {}, element("strong", {}, card.task_id), element("br"), element("span", { className: "soft" }, card.set), element("br"), ...rates));
    button.addEventListener("click", () => openCard(place));
    return element("li", {}, button);
  }));
}

function completionBox(card, completion) {
  const place = completion.seed === null ? completion.arm : `${completion.arm}, seed ${completion.seed}`;
  const head = element("h3", {}, `${place}, completion ${completion.sample}`,
    element("span", {}, "reward ", data(completion.reward)),
    element("span", {}, "train ", data(completion.train_correct, String), " of ", data(completion.train_total, String)),
    element("span", {}, "test ", data(completion.test_correct, String), " of ", data(completion.test_total, String)));
  const verdict = completion.verdict === "ok" ? "ran" : completion.verdict.replaceAll("_", " ") + (completion.exception ? `: ${completion.exception}` : "");
  const outputs = element("div", { className: "outputs" }, ...(completion.outputs ?? []).map((grid, i) => {
    const right = grid === card.pairs[i].output;
    return captioned(gridPicture(grid, `output for ${card.pairs[i].kind} pair ${i + 1}, ${right ? "right" : "wrong"}`, 110), `${card.pairs[i].kind} ${right ? "✓ right" : "✗ wrong"}`);
  }));
  const box = element("article", { className: "completion" }, head, element("p", { className: "soft" }, verdict), outputs,
    completion.program === null ? element("p", { className: "none" }, "No program was found in the completion.") : element("pre", { tabIndex: 0 }, completion.program));
  box.dataset.arm = completion.arm;
  box.style.borderLeftColor = armColour(completion.arm);
  return box;
}

function openCard(place) {
  const card = cardList.cards[place];
  cardList.open = place;
  byId("drawer-title").textContent = `${card.task_id} · ${card.set}`;
  const rates = element("p", {}, ...card.rates.flatMap((rate, i) => [i ? ", " : "Solved by: ", `${rate.arm} `, data(rate.solved, asShare)]), card.seen ? ". In the training data." : ".");
  const pairs = element("div", { className: "pairs" }, ...card.pairs.map((pair, i) => element("div", { className: "pair" },
    captioned(gridPicture(pair.input, `${pair.kind} pair ${i + 1}, input`, 150), `${pair.kind} input`),
    captioned(gridPicture(pair.output, `${pair.kind} pair ${i + 1}, output`, 150), `${pair.kind} output`))));
  byId("drawer-body").replaceChildren(rates, element("p", { className: "soft" }, card.chosen_as.map((choice) => report.tasks.choices[choice]).join(" ")), pairs,
    ...card.completions.filter((completion) => shown(completion.arm)).map((completion) => completionBox(card, completion)));
  byId("drawer-before").disabled = place === 0;
  byId("drawer-after").disabled = place === cardList.cards.length - 1;
  if (!byId("drawer").open) byId("drawer").showModal();
  byId("drawer").scrollTop = 0;
}

function setUpTasks() {
  if (!report.tasks.cards.length) return;
  const used = Object.keys(report.tasks.choices).filter((choice) => report.tasks.cards.some((card) => card.chosen_as.includes(choice)));
  for (const choice of used) {
    const button = element("button", { type: "button", title: report.tasks.choices[choice] }, choice);
    button.dataset.choice = choice;
    button.addEventListener("click", () => showCards(choice));
    byId("task-choices").append(button);
  }
  showCards(used[0]);
  byId("drawer-close").addEventListener("click", () => byId("drawer").close());
  byId("drawer-before").addEventListener("click", () => openCard(cardList.open - 1));
  byId("drawer-after").addEventListener("click", () => openCard(cardList.open + 1));
  byId("digits").addEventListener("change", () => openCard(cardList.open));
}

// Switches

function choose(id, values, words = (value) => value) {
  byId(id)?.replaceChildren(...values.map((value) => element("option", { value: String(value) }, words(value))));
}

function filterEvaluation() {
  if (!byId("evaluation-set")) return;
  const name = byId("evaluation-set").value;
  const before = byId("evaluation-dtype").value;
  const dtypes = unique(report.evaluation.rows.filter((row) => row.set === name).map((row) => row.dtype));
  choose("evaluation-dtype", dtypes, (dtype) => dtype + (dtype === settings.common_dtype ? " (common to the arms)" : ""));
  if (dtypes.includes(before)) byId("evaluation-dtype").value = before;
  const dtype = byId("evaluation-dtype").value;
  byId("evaluation-table").querySelectorAll("tbody tr").forEach((row) => row.classList.toggle("filtered", row.dataset.set !== name || row.dataset.dtype !== dtype));
  byId("metric-definition").textContent = `${byId("evaluation-metric").value}: ${report.evaluation.definitions[byId("evaluation-metric").value]}`;
}

function filterAudit() {
  const step = byId("audit-step")?.value;
  document.querySelectorAll("[data-audit-step]").forEach((row) => row.classList.toggle("filtered", row.dataset.auditStep !== step));
}

function applyArms() {
  document.querySelectorAll("[data-arm]").forEach((marked) => { marked.classList.toggle("arm-off", !shown(marked.dataset.arm)); });
  if (report.tasks.cards.length) showCards(cardList.choice);
  drawAll();
}

function swatch(arm) {
  const dash = armDash(arm);
  const holder = element("template");
  holder.innerHTML = `<svg class="swatch" viewBox="0 0 28 10" aria-hidden="true"><line x1="0" y1="5" x2="28" y2="5" stroke="currentColor" stroke-width="3" stroke-dasharray="${dash === "solid" ? "" : dash.join(" ")}"/></svg>`;
  holder.content.firstChild.style.color = armColour(arm);
  return holder.content.firstChild;
}

function paint() {
  document.querySelectorAll("[data-arm-name]").forEach((name) => { name.querySelector(".dot").style.background = armColour(name.dataset.armName); });
  byId("arms").querySelectorAll("label").forEach((label) => label.querySelector(".swatch").replaceWith(swatch(label.dataset.armLabel)));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  paint();
  drawAll();
}

function start() {
  const bases = report.evaluation.rows.some((row) => row.arm === "base") ? ["base"] : [];
  for (const arm of [...armNames, ...bases]) {
    const box = element("input", { type: "checkbox", checked: true, value: arm });
    box.addEventListener("change", () => { if (box.checked) state.hidden.delete(arm); else state.hidden.add(arm); applyArms(); });
    const label = element("label", {}, box, swatch(arm), arm);
    label.dataset.armLabel = arm;
    byId("arms").append(label);
  }
  choose("audit-step", unique(report.mismatch.map((row) => row.step)).reverse());
  choose("evaluation-set", unique(report.evaluation.rows.map((row) => row.set)));
  choose("evaluation-metric", Object.keys(report.evaluation.definitions));
  if (byId("evaluation-metric")) byId("evaluation-metric").value = settings.primary_metric;
  filterEvaluation();
  filterAudit();

  document.querySelectorAll("[data-figure]").forEach((figure) => {
    const plot = figure.querySelector(".plot");
    const chart = echarts.init(plot, null, { renderer: "canvas" });
    charts.set(figure, { chart });
    listen(figure, plot, chart);
    new ResizeObserver(() => chart.resize()).observe(plot);
  });
  setUpTasks();

  byId("single-seeds").addEventListener("change", (event) => { state.singleSeeds = event.target.checked; drawAll(["curve", "ladder"]); });
  byId("x-axis").addEventListener("change", (event) => { state.xAxis = event.target.value; drawAll(["curve"]); });
  byId("audit-step")?.addEventListener("change", () => { filterAudit(); drawAll(["causes", "cause-sizes", "by-position", "by-probability"]); });
  for (const id of ["evaluation-set", "evaluation-dtype", "evaluation-metric"]) {
    byId(id)?.addEventListener("change", () => { filterEvaluation(); drawAll(["evaluation", "pass-at-k", "cost", "verdicts", "heat-map"]); });
  }
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", () => setTheme(system.matches ? "dark" : "light"));
  let screenTheme = null;
  addEventListener("beforeprint", () => { screenTheme = document.documentElement.dataset.theme; setTheme("light"); charts.forEach((held) => held.chart.resize()); });
  addEventListener("afterprint", () => setTheme(screenTheme));
  setTheme(system.matches ? "dark" : "light");
}

start();
