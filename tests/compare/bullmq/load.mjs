// The load on BullMQ, and its two worker processes. The same arguments and lines as the other load
// programs (../load.rs).
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Queue } from 'bullmq';

const text = (usual) => ({ type: 'string', default: usual });
const { values } = parseArgs({
  options: {
    port: text('6379'),
    workers: text('2'),
    concurrency: text('1024'),
    warm: text('3'),
    seconds: text('10'),
    'in-flight': { type: 'string' },
    rate: { type: 'string' },
  },
});
const port = Number(values.port);
const now = () => performance.timeOrigin + performance.now();
const queue = new Queue('items', { connection: { host: '127.0.0.1', port } });
await queue.waitUntilReady();

let begin = Infinity;
let end = Infinity;
let underWay = 0;
let next = 0;
const took = [];
let free = () => {};

const workers = await Promise.all(
  Array.from({ length: Number(values.workers) }, () => {
    const file = fileURLToPath(new URL('worker.mjs', import.meta.url));
    const worker = fork(file, [values.port, values.concurrency]);
    return new Promise((ready) => {
      worker.on('message', (message) => {
        if (message === 'ready') return ready(worker);
        underWay -= message.length;
        for (const [intended, at] of message) {
          if (at >= begin && at < end) took.push(at - intended);
        }
        free();
      });
    });
  }),
);

const job = (intended) => ({ name: 'item', data: { item: next++, intended } });
begin = now() + Number(values.warm) * 1000;
end = begin + Number(values.seconds) * 1000;
const seconds = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function inFlight(most) {
  while (now() < end) {
    const room = most - underWay;
    if (room < 32) {
      await new Promise((resolve) => (free = resolve));
      continue;
    }
    const count = Math.min(room, 512);
    underWay += count;
    const intended = now();
    await queue.addBulk(Array.from({ length: count }, () => job(intended)));
  }
}

async function atRate(rate) {
  const start = now();
  const adding = [];
  for (let nth = 0; now() < end; nth += 1) {
    const intended = start + (nth * 1000) / rate;
    if (intended > now()) await seconds(intended - now());
    const { name, data } = job(intended);
    adding.push(queue.add(name, data));
  }
  await Promise.all(adding);
}

const telling = (async () => {
  await seconds(begin - now());
  console.log(JSON.stringify({ at: 'begin' }));
  await seconds(end - now());
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0;
  const measured = { items: sorted.length, seconds: Number(values.seconds) };
  console.log(JSON.stringify({ at: 'end', ...measured, p50_ms: at(0.5), p99_ms: at(0.99) }));
})();
await Promise.all([
  telling,
  values.rate === undefined ? inFlight(Number(values['in-flight'])) : atRate(Number(values.rate)),
]);
for (const worker of workers) worker.disconnect();
await queue.close();
