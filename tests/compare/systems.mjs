// The systems that are compared: how each is set up, and how its load is started.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { reachable, wait } from './processes.mjs';

const here = import.meta.dirname;
const ports = { redis: 7821, ingress: 7822, admin: 7823, fabric: 7824, service: 7825 };
const { COMPARE_GRISTMILL: gristmill, COMPARE_RESTATE: restate } = process.env;

async function redis(processes, folder, appendfsync) {
  const args = ['--port', ports.redis, '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  args.push('--appendonly', 'yes', '--appendfsync', appendfsync, '--loglevel', 'warning');
  processes.start('redis-server', args.map(String));
  await reachable(ports.redis);
}

function ours(name, program, store, inFlight) {
  const stored = store === 'embedded' ? 'fsync before every answer' : `appendfsync ${store}`;
  return {
    name,
    durability: stored,
    inFlight,
    async prepare(processes, folder) {
      if (store !== 'embedded') await redis(processes, folder, store);
      const args = ['--data-dir', join(folder, 'data'), '--program', program];
      if (store === 'embedded') return [gristmill, args];
      const url = `redis://127.0.0.1:${ports.redis}/0`;
      return [gristmill, [...args, '--store', url, '--durability', store]];
    },
  };
}

function bullmq(appendfsync) {
  return {
    name: `BullMQ, Redis ${appendfsync}`,
    durability: `appendfsync ${appendfsync}`,
    inFlight: 2048,
    async prepare(processes, folder) {
      await redis(processes, folder, appendfsync);
      const args = ['--preserve-symlinks', '--preserve-symlinks-main'];
      args.push(join(here, 'bullmq/load.mjs'), '--port', String(ports.redis));
      return [process.execPath, args];
    },
  };
}

// Journals of finished invocations are not kept: the least work that its server can do.
const RESTATE = `
disable-telemetry = true
default-num-partitions = 8
default-journal-retention = "0s"
log-filter = "error"
bind-address = "127.0.0.1:${ports.fabric}"
[ingress]
bind-address = "127.0.0.1:${ports.ingress}"
[admin]
bind-address = "127.0.0.1:${ports.admin}"
`;

const restateSystem = {
  name: 'Restate',
  durability: 'its own log, its default (fsync of the write-ahead log)',
  inFlight: 256,
  async prepare(processes, folder) {
    const config = join(folder, 'restate.toml');
    writeFileSync(config, RESTATE);
    const require = createRequire(join(here, 'package.json'));
    const architecture = process.arch === 'arm64' ? 'arm64' : 'x64';
    const binary = `@restatedev/restate-server-linux-${architecture}/bin/restate-server`;
    const args = ['--config-file', config, '--base-dir', join(folder, 'data')];
    // Ended in the opposite order: the server first, then what it calls.
    processes.start(restate, ['serve', `127.0.0.1:${ports.service}`]);
    processes.start(require.resolve(binary), args);
    await Promise.all([ports.admin, ports.ingress, ports.service].map(reachable));
    await register();
    return [restate, ['load', `http://127.0.0.1:${ports.ingress}`]];
  },
};

// Tells the server where the service is, and waits until an item goes through.
async function register() {
  const uri = `http://127.0.0.1:${ports.service}`;
  for (let tries = 0; ; tries += 1) {
    try {
      const headers = { 'content-type': 'application/json' };
      const body = JSON.stringify({ uri });
      const url = `http://127.0.0.1:${ports.admin}/deployments`;
      const answer = await fetch(url, { method: 'POST', headers, body });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      const item = `http://127.0.0.1:${ports.ingress}/Item/settle`;
      const settled = await fetch(item, { method: 'POST', headers, body: '1' });
      if (!settled.ok) throw new Error(`${settled.status} ${await settled.text()}`);
      return;
    } catch (error) {
      if (tries === 30) throw error;
      await wait(500);
    }
  }
}

export const systems = {
  embedded: ours('Gristmill embedded', 'five', 'embedded', 8192),
  everysec: ours('Gristmill, Redis everysec', 'five', 'everysec', 8192),
  always: ours('Gristmill, Redis always', 'five', 'always', 8192),
  'bullmq-everysec': bullmq('everysec'),
  'bullmq-always': bullmq('always'),
  restate: restateSystem,
  'normal-embedded': ours('Gristmill embedded, normal path', 'engine', 'embedded', 8192),
  'normal-always': ours('Gristmill, Redis always, normal path', 'engine', 'always', 8192),
};

export function folderOf(work, name) {
  const folder = join(work, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}
