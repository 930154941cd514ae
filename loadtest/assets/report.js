'use strict';
const report = JSON.parse(document.getElementById('data').textContent);
const { figures, seconds } = report;
const $ = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toPrecision(digits)}M`;
  if (size >= 1e4) return `${(value / 1e3).toPrecision(digits)}k`;
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return String(Number(value.toPrecision(digits)));
}

function unitOf(name) {
  const last = name.split('.').pop();
  if (/^p(50|90|99|999|max)$/.test(last)) return 'ms';
  if (last.endsWith('per_s') || name.startsWith('rate.') || name === 'knee') return '/s';
  if (last.endsWith('_us')) return 'µs';
  if (last.endsWith('_s')) return 's';
  if (/(^|_)kib$/.test(last)) return 'KiB';
  if (/(^|_)cores$/.test(last)) return 'cores';
  return '';
}

function head() {
  document.title = `${report.scenario} · safe-chat load test`;
  $('title').textContent = `Load test: ${report.scenario}`;
  $('subtitle').textContent = `${report.environment.date ?? ''} · ${report.command}`;
  const broken = figures.broken > 0;
  const kept = `Every receiver checked every message: loss, order, repeats, content, against ${short(figures.delivered)} deliveries.`;
  $('verdict').append(element('div', broken
    ? `${figures.broken} promises were broken: ${report.broken.slice(0, 5).join('; ')}`
    : `No promise was broken. ${kept}`, broken ? 'note bad' : 'note good'));
  for (const note of report.notes) $('verdict').append(element('div', note, 'note'));
}

function tiles() {
  const wanted = [
    ['knee', 'highest rate that is fast enough'], ['delivery.p50', 'to a member, p50'],
    ['delivery.p99', 'to a member, p99'], ['last.p99', 'to the last member, p99'],
    ['answer.p50', 'to journaled, p50'], ['answer.p99', 'to journaled, p99'],
    ['storm.all_s', 'until all have all'], ['resume.p99', 'until one has all, p99'],
    ['rate.delivered', 'deliveries'], ['rate.answered', 'messages journaled'],
    ['cpu.deliveries_per_s', 'deliveries per second of server CPU'],
    ['cpu.cores', 'CPU of the servers'], ['memory.per_session_kib', 'memory per session'],
    ['connect.p99', 'to let a session in, p99'], ['ping.p50', 'ping, p50'], ['errors', 'errors'],
  ];
  for (const [name, label] of wanted) {
    if (figures[name] === undefined) continue;
    const tile = element('div', undefined, 'tile');
    const value = element('b', short(figures[name]));
    value.append(element('small', unitOf(name)));
    tile.append(value, element('span', label));
    $('tiles').append(tile);
  }
}

function marks(chart) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = css('--d');
  ctx.fillStyle = css('--d');
  ctx.textAlign = 'left';
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  for (const [at, label] of report.marks) {
    const x = chart.valToPos(at, 'x', true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(label, x + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}

const drawn = [];
function chart(title, data, series, options = {}) {
  const card = element('div', undefined, 'card');
  card.append(element('h2', title));
  $('charts').append(card);
  const grid = { stroke: css('--line'), width: 1 };
  const axis = (more) => ({ stroke: css('--soft'), grid, ticks: grid, font: '11px system-ui', size: 62, ...more });
  const made = series.map(([label, color, more]) => ({
    label, stroke: css(color), width: 2, points: { show: data[0].length < 40, size: 5, fill: css('--card') },
    value: (_, value) => short(value), spanGaps: true, ...more,
  }));
  drawn.push(new uPlot({
    width: card.clientWidth - 36, height: 250,
    cursor: { sync: options.sync ? { key: options.sync } : undefined },
    scales: { x: { time: false, ...options.x }, y: options.y ?? { range: (_, low, high) => [0, high * 1.1 || 1] }, right: { range: (_, low, high) => [0, high * 1.1 || 1] } },
    axes: [
      axis({ size: 34, label: options.xLabel ?? 'seconds', labelSize: 18, labelFont: '11px system-ui', values: options.xValues }),
      axis({ values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : short(tick))), label: options.yLabel, labelSize: 18, labelFont: '11px system-ui' }),
      ...(options.right ? [axis({ scale: 'right', side: 1, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => short(tick)), label: options.right, labelSize: 18, labelFont: '11px system-ui' })] : []),
    ],
    series: [{ label: options.xLabel ?? 'second', value: (_, value) => (options.xShow && value !== null ? options.xShow(value) : short(value)) }, ...made],
    hooks: options.sync ? { draw: [marks] } : {},
  }, data, card));
}

const log = { distr: 3, log: 10 };
function charts() {
  $('charts').replaceChildren();
  drawn.splice(0).forEach((one) => one.destroy());
  const at = seconds.map((second) => second.at);
  const rate = (name) => seconds.map((second) => second[name] / second.length);
  if (at.length > 1) {
    chart('Rates', [at, rate('sent'), rate('answered'), rate('delivered')], [
      ['sent', '--a'], ['journaled', '--b'], ['delivered', '--c', { scale: 'right' }],
    ], { sync: 'time', yLabel: 'messages/s', right: 'deliveries/s' });
    for (const [name, title] of [['delivery', 'To each member'], ['answer', 'To journaled'], ['last', 'To the last member']]) {
      if (!seconds.some((second) => second[name])) continue;
      const of = (quantile) => seconds.map((second) => second[name]?.[quantile] || null);
      chart(title, [at, of('p50'), of('p90'), of('p99'), of('max')], [
        ['p50', '--b'], ['p90', '--a'], ['p99', '--c'], ['max', '--d', { width: 1, dash: [4, 4] }],
      ], { sync: 'time', y: log, yLabel: 'ms, from when it was due' });
    }
    chart('What it costs', [at, seconds.map((s) => s.server_cores), seconds.map((s) => s.own_cores), seconds.map((s) => s.server_kib / 1024)], [
      ['servers', '--d'], ['generator', '--e'], ['memory of the servers', '--a', { scale: 'right', dash: [6, 4] }],
    ], { sync: 'time', yLabel: 'cores', right: 'MiB' });
  }
  if (report.steps.length > 0) {
    const steps = [...report.steps].sort((a, b) => a.rate - b.rate);
    const of = (name) => steps.map((step) => step[name].p99 || null);
    chart('Where it gets slow', [steps.map((step) => step.rate), of('answer'), of('last'), of('late')], [
      ['journaled, p99', '--b'], ['last member, p99', '--c'], ['sent late, p99', '--e', { dash: [4, 4] }],
    ], { xLabel: 'messages/s', y: log, x: log, yLabel: 'ms' });
  }
  const nines = (quantile) => 1 / Math.max(1 - quantile, 1e-9);
  for (const spectrum of report.spectra) {
    const xs = [...new Set([...spectrum.due, ...spectrum.sent].map(([quantile]) => nines(quantile)))].sort((a, b) => a - b);
    const along = (points) => {
      const known = new Map(points.map(([quantile, ms]) => [nines(quantile), ms || 0.001]));
      return xs.map((x) => known.get(x) ?? null);
    };
    const name = { delivery: 'to each member', answer: 'to journaled', last: 'to the last member' }[spectrum.name];
    const percent = (x) => `${short(100 - 100 / x, 6)}%`;
    chart(`Spectrum: ${name}`, [xs, along(spectrum.due), along(spectrum.sent)], [
      ['from when it was due', '--a'], ['uncorrected: from when it was sent', '--c', { dash: [5, 4] }],
    ], { x: log, y: log, yLabel: 'ms', xLabel: 'percentile', xShow: percent, xValues: (_, ticks) => ticks.map((x) => (x === null || Math.log10(x) % 1 ? '' : percent(x))) });
  }
}

function table(id, rows, header) {
  const body = $(id);
  for (const [cells, tag] of [...(header ? [[header, 'th']] : []), ...rows.map((row) => [row, 'td'])]) {
    const line = element('tr');
    line.append(...cells.map((cell) => element(tag, cell)));
    body.append(line);
  }
}

function tables() {
  const quantiles = ['p50', 'p90', 'p99', 'p999', 'pmax'];
  const isQuantile = (name) => quantiles.includes(name.split('.').pop());
  const names = ['answer', 'answer.uncorrected', 'delivery', 'delivery.uncorrected', 'last', 'last.uncorrected', 'late', 'connect', 'ping', 'resume'];
  const known = names.filter((name) => figures[`${name}.p50`] !== undefined);
  table('latencies', known.map((name) => [name, ...quantiles.map((quantile) => short(figures[`${name}.${quantile}`]))]), ['', 'p50', 'p90', 'p99', 'p99.9', 'max']);
  table('figures', Object.entries(figures).filter(([name]) => !isQuantile(name)).map(([name, value]) => [name, `${short(value, 4)} ${unitOf(name)}`]));
  table('environment', Object.entries(report.environment));
  const errors = report.errors.map(([kind, what, count]) => [kind, what, String(count)]);
  table('errors', errors.length > 0 ? errors : [['nothing']]);
}

head();
tiles();
charts();
tables();
$('theme').addEventListener('click', () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === 'dark';
  document.documentElement.dataset.theme = dark ? 'light' : 'dark';
  charts();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', charts);
let resized;
addEventListener('resize', () => { clearTimeout(resized); resized = setTimeout(charts, 150); });
