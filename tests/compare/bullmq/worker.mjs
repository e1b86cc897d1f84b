// One of the worker processes: five steps an item, each in Redis (updateData) before the next.
import { Worker } from 'bullmq';

const [port, concurrency] = process.argv.slice(2).map(Number);
const steps = ['one', 'two', 'three', 'four', 'five'];
let done = [];

async function settle(job) {
  let data = job.data;
  for (const step of steps) {
    if (data.steps?.[step] === undefined) {
      const before = data.steps ?? {};
      data = { ...data, steps: { ...before, [step]: data.item + 1 } };
      await job.updateData(data);
    }
  }
}

const worker = new Worker('items', settle, {
  connection: { host: '127.0.0.1', port },
  concurrency,
  removeOnComplete: { count: 0 },
  drainDelay: 1,
});
worker.on('completed', (job) => {
  const now = performance.timeOrigin + performance.now();
  done.push([job.data.intended, now]);
});
worker.on('failed', (_, error) => {
  console.error(error);
  process.exit(1);
});
worker.on('error', (error) => console.error(error));
// What finished goes to the load process a few times in a hundredth of a second.
setInterval(() => {
  if (done.length > 0 && process.connected) {
    process.send(done);
    done = [];
  }
}, 3);
process.on('disconnect', () => process.exit(0));
await worker.waitUntilReady();
process.send('ready');
