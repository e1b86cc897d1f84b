// Processes that a run starts, and what they use of the machine.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const TICKS_PER_SECOND = 100; // USER_HZ, the same on every Linux
const STOP_PATIENCE_MS = 15_000;
const START_PATIENCE_MS = 30_000;

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The processes of one run. All of them end with it.
export class Processes {
  #started = [];

  // Starts one; what it says on stderr is shown, on stdout only through `lines`.
  start(command, args, options = {}) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options });
    child.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? code));
      child.once('error', (error) => resolve(error.message));
    });
    child.lines = createInterface({ input: child.stdout });
    this.#started.push(child);
    return child;
  }

  async stop() {
    for (const child of this.#started.toReversed()) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const late = wait(STOP_PATIENCE_MS).then(() => 'late');
      if ((await Promise.race([child.ended, late])) === 'late') child.kill('SIGKILL');
      await child.ended;
    }
  }

  // Processor time in seconds and memory in bytes, of all of them and their children.
  usage() {
    const rows = new Map();
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const row = read(pid);
      if (row !== undefined) rows.set(row.pid, row);
    }
    const roots = new Set(this.#started.map((child) => child.pid));
    const ours = (row) => row && (roots.has(row.pid) || ours(rows.get(row.parent)));
    const sum = { cpu: 0, resident: 0, peak: 0 };
    for (const row of rows.values()) {
      if (!ours(row)) continue;
      sum.cpu += row.ticks / TICKS_PER_SECOND;
      sum.resident += row.resident;
      sum.peak += row.peak;
    }
    return sum;
  }
}

// A process that ended meanwhile has no row.
function read(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const kib = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
    // utime, stime, and those of children that were waited for.
    const ticks = fields.slice(11, 15).reduce((all, one) => all + Number(one), 0);
    const [resident, peak] = [kib('VmRSS') * 1024, kib('VmHWM') * 1024];
    return { pid: Number(pid), parent: Number(fields[1]), ticks, resident, peak };
  } catch {
    return undefined;
  }
}

export async function reachable(port) {
  const until = Date.now() + START_PATIENCE_MS;
  while (Date.now() < until) {
    const socket = createConnection({ host: '127.0.0.1', port });
    const open = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await wait(50);
  }
  throw new Error(`nothing listens on port ${port}`);
}

export function bytesUnder(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.blocks * 512;
  return readdirSync(path).reduce((all, name) => all + bytesUnder(join(path, name)), 0);
}
