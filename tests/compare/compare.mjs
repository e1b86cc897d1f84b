// Runs the systems in turn, several rounds, and prints a table of medians; everything that was
// measured goes to a JSON file.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Processes, bytesUnder } from './processes.mjs';
import { folderOf, systems } from './systems.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    warm: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '10' },
    rate: { type: 'string', default: '100' },
    only: { type: 'string' },
    'in-flight': { type: 'string' },
    out: { type: 'string', default: 'results.json' },
    work: { type: 'string', default: tmpdir() },
    // A command that every load is started with, such as one that keeps other work away.
    with: { type: 'string' },
  },
});
const names = values.only?.split(',') ?? Object.keys(systems);
const say = (text) => process.stderr.write(`${text}\n`);

// One run of one system on an empty store: what its load said, and what all processes used
// meanwhile.
async function run(system, load) {
  const work = mkdtempSync(join(values.work, 'compare-'));
  const folder = folderOf(work, 'store');
  const processes = new Processes();
  try {
    let [command, args] = await system.prepare(processes, folder);
    args = [...args, ...load, '--warm', values.warm, '--seconds', values.seconds];
    if (values.with !== undefined) [command, args] = [values.with, [command, ...args]];
    const child = processes.start(command, args);
    let [before, after, said] = [];
    child.lines.on('line', (line) => {
      const told = JSON.parse(line);
      if (told.at === 'begin') before = { ...processes.usage(), disk: bytesUnder(folder) };
      if (told.at === 'end') {
        [after, said] = [{ ...processes.usage(), disk: bytesUnder(folder) }, told];
      }
    });
    const ended = await child.ended;
    if (ended !== 0 || said === undefined) throw new Error(`${system.name}: its load: ${ended}`);
    const { items, seconds } = said;
    return {
      items,
      per_second: items / seconds,
      p50_ms: said.p50_ms,
      p99_ms: said.p99_ms,
      cpu_ms_per_item: ((after.cpu - before.cpu) * 1000) / items,
      memory_bytes_per_item: (after.resident - before.resident) / items,
      disk_bytes_per_item: (after.disk - before.disk) / items,
      peak_mib: after.peak / 2 ** 20,
    };
  } finally {
    await processes.stop();
    rmSync(work, { recursive: true, force: true });
  }
}

function median(rows) {
  const middle = (key) => {
    const sorted = rows.map((row) => row[key]).sort((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };
  return Object.fromEntries(Object.keys(rows[0]).map((key) => [key, middle(key)]));
}

function version(command, args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8' }).trim().split('\n')[0];
  } catch {
    return null;
  }
}

const installed = (name) => {
  const file = join(import.meta.dirname, 'node_modules', name, 'package.json');
  return JSON.parse(readFileSync(file, 'utf8')).version;
};

const measured = Object.fromEntries(names.map((name) => [name, { saturated: [], light: [] }]));
for (let round = 1; round <= Number(values.rounds); round += 1) {
  for (const name of names) {
    const system = systems[name];
    if (system === undefined) throw new Error(`no system ${name}`);
    const loads = {
      saturated: ['--in-flight', values['in-flight'] ?? String(system.inFlight)],
      light: ['--rate', values.rate],
    };
    for (const [kind, load] of Object.entries(loads)) {
      const row = await run(system, load);
      measured[name][kind].push(row);
      say(`round ${round} ${name} ${kind}: ${JSON.stringify(row)}`);
    }
  }
}

const [host] = cpus();
const results = {
  at: new Date().toISOString(),
  commit: version('git', ['rev-parse', 'HEAD']),
  machine: { cpu: host?.model, cores: cpus().length, memory: totalmem(), kernel: release() },
  versions: {
    redis: version('redis-server', ['--version']),
    node: process.version,
    bullmq: installed('bullmq'),
    restate: installed('@restatedev/restate-server'),
  },
  options: { rounds: values.rounds, warm: values.warm, seconds: values.seconds, rate: values.rate },
  systems: Object.fromEntries(
    names.map((name) => {
      const { saturated, light } = measured[name];
      const { name: title, durability, inFlight } = systems[name];
      const medians = { saturated: median(saturated), light: median(light) };
      return [name, { title, durability, inFlight, medians, rounds: measured[name] }];
    }),
  ),
};
writeFileSync(values.out, `${JSON.stringify(results, null, 1)}\n`);

const digits = (value, count) => value.toFixed(count);
const lines = [
  `| system | durability | in flight | items/s | CPU ms/item | p50/p99 ms, saturated | p50/p99 ms at ${values.rate}/s | memory, disk bytes/item |`,
  '|---|---|---|---|---|---|---|---|',
];
for (const { title, durability, inFlight, medians } of Object.values(results.systems)) {
  const { saturated, light } = medians;
  const pair = (row, count) => `${digits(row.p50_ms, count)} / ${digits(row.p99_ms, count)}`;
  const cells = [
    title,
    durability,
    inFlight,
    digits(saturated.per_second, 0),
    digits(saturated.cpu_ms_per_item, 3),
    pair(saturated, 0),
    pair(light, 1),
    `${digits(saturated.memory_bytes_per_item, 0)}, ${digits(saturated.disk_bytes_per_item, 0)}`,
  ];
  lines.push(`| ${cells.join(' | ')} |`);
}
console.log(lines.join('\n'));
