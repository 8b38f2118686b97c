/**
 * Tests the example subscriber against a running server.
 *
 * `manager` changes the records of two practices. `books` keeps a copy of them with
 * the example subscriber, in a process of its own, over a proxy that resets
 * connections. The process is killed, the server is stopped and killed, and each time
 * the copy must become equal to the API: the same records in the same versions.
 *
 *     node dist/check.js --records 127.0.0.1:50051 --server-pid FILE
 *
 * `--server-pid` is a file with the process id of a server that is restarted when it
 * ends; without it the server is not stopped. `--token-records` is another server,
 * which checks tokens; `--concord` and `--signing-key` issue them.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { isDeepStrictEqual, parseArgs } from 'node:util';

import { type Handshake, type Heartbeat, sleep } from './contract';
import { Product } from './manager';
import { Proxy } from './proxy';
import { type Content, type Image, type ResumePoint, Store, read, write } from './store';
import { OPTIONS, Stats, Subscriber, runUntilStopped, settingsOf } from './subscriber';

const NAME = 'ledger-ts';
const WRITERS = 4;
const CLIENTS = 600;
const WINDOW = 50;
const KILLED = 9;
const SILENCE_SECONDS = 20;

/** An expectation of the check failed. */
class CheckFailed extends Error {}

function expect(condition: boolean, what: string): void {
  if (!condition) {
    throw new CheckFailed(what);
  }
}

async function waitFor(
  what: string,
  condition: () => boolean | Promise<boolean>,
  seconds = 60,
): Promise<void> {
  const until = Date.now() + seconds * 1000;
  while (!(await condition())) {
    expect(Date.now() < until, `timeout after ${seconds} s: ${what}`);
    await sleep(20);
  }
}

// The subscriber, in a process of its own.

interface TestBehavior {
  byName: boolean;
  withhold: boolean;
  dieAtAcknowledge: number;
}

/** Prints its counters to standard output, and exits at a configured point. */
class InstrumentedSubscriber extends Subscriber {
  private acknowledges = 0;

  constructor(
    settings: ReturnType<typeof settingsOf>,
    store: Store,
    private readonly behavior: TestBehavior,
  ) {
    super(settings, store);
  }

  protected override async acknowledge(cursor: string): Promise<void> {
    // At this point the batch is stored and not acknowledged.
    this.reportStats();
    this.acknowledges += 1;
    if (this.acknowledges === this.behavior.dieAtAcknowledge) {
      process.exit(KILLED);
    }
    if (!this.behavior.withhold) {
      await super.acknowledge(cursor);
    }
  }

  protected override onHandshake(handshake: Handshake, resumePoint: ResumePoint | null): void {
    super.onHandshake(handshake, resumePoint);
    this.reportStats();
  }

  protected override async onHeartbeat(heartbeat: Heartbeat): Promise<void> {
    await super.onHeartbeat(heartbeat);
    this.reportStats();
  }

  private reportStats(): void {
    // Written synchronously: the process may be killed after it.
    fs.writeSync(1, `${JSON.stringify(this.stats)}\n`);
  }
}

async function subscriberProcess(args: string[]): Promise<number> {
  const options = {
    ...OPTIONS,
    'by-name': { type: 'boolean', default: false },
    withhold: { type: 'boolean', default: false },
    'die-at-acknowledge': { type: 'string', default: '0' },
  } as const;
  const { values } = parseArgs({ args, options });
  const behavior = {
    byName: values['by-name'] === true,
    withhold: values.withhold === true,
    dieAtAcknowledge: Number(values['die-at-acknowledge']),
  };
  const settings = settingsOf(values, !behavior.byName);
  const store = new Store(values.store ?? '');
  return runUntilStopped(new InstrumentedSubscriber(settings, store, behavior));
}

/** The product `books`: its store, and the process that fills it. */
class Books {
  readonly store: string;
  /** The counters of the running process. */
  now = new Stats();
  private before = new Stats();
  private readonly log: string;
  private readonly command: string[];
  private process: ChildProcess | undefined;
  private status: number | string = 0;

  constructor(
    address: string,
    practices: string[],
    folder: string,
    store = 'books.json',
    ...options: string[]
  ) {
    this.store = path.join(folder, store);
    this.log = path.join(folder, `${store}.log`);
    this.command = [
      __filename, 'subscriber', '--records', address, '--practices', practices.join(','),
      '--product', 'books', '--name', NAME, '--store', this.store,
      '--silence-seconds', String(SILENCE_SECONDS), ...options,
    ];
  }

  /** Starts the process. It must not run already. */
  start(...options: string[]): void {
    const child = spawn(process.execPath, [...this.command, ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stderr.pipe(fs.createWriteStream(this.log, { flags: 'a' }));
    const lines = readline.createInterface(child.stdout);
    lines.on('line', (line) => {
      this.now = JSON.parse(line) as Stats;
    });
    this.process = child;
    void Promise.all([once(child, 'exit'), once(lines, 'close')]).then(([[code, signal]]) => {
      this.status = (code ?? signal) as number | string;
      this.before = this.stats;
      this.now = new Stats();
      this.process = undefined;
    });
  }

  /** Ends the process by a signal, and checks that the signal ended it. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.process?.kill(signal);
    const status = await this.ended();
    const expected = signal === 'SIGTERM' ? 0 : signal;
    expect(status === expected, `the process ended with ${status}, expected ${expected}`);
  }

  /** Waits for the end of the process. Returns its exit status, or the signal that ended it. */
  async ended(seconds = 30): Promise<number | string> {
    await waitFor('the end of the process', () => !this.runs, seconds);
    return this.status;
  }

  get runs(): boolean {
    return this.process !== undefined;
  }

  /** The sums of the counters of all processes. */
  get stats(): Stats {
    const [a, b] = [this.before, this.now];
    return {
      streams: a.streams + b.streams,
      closings: a.closings + b.closings,
      events: a.events + b.events,
      duplicates: a.duplicates + b.duplicates,
      snapshotRecords: a.snapshotRecords + b.snapshotRecords,
      snapshotsStarted: a.snapshotsStarted + b.snapshotsStarted,
      snapshotsResumed: a.snapshotsResumed + b.snapshotsResumed,
      snapshotsEnded: a.snapshotsEnded + b.snapshotsEnded,
      recordsDeleted: a.recordsDeleted + b.recordsDeleted,
      heartbeats: a.heartbeats + b.heartbeats,
      waiting: b.waiting,
      deadStreams: a.deadStreams + b.deadStreams,
      tokensExpired: a.tokensExpired + b.tokensExpired,
      cursorsRejected: [...a.cursorsRejected, ...b.cursorsRejected],
    };
  }

  /** The end of the log of the processes. */
  logTail(): string {
    const text = fs.existsSync(this.log) ? fs.readFileSync(this.log, 'utf8') : '';
    return text.split('\n').slice(-40).join('\n');
  }

  get content(): Content {
    return read(this.store);
  }

  /** The number of stored records of a running snapshot. */
  get snapshotRecordsReceived(): number {
    const { resumePoint, seen } = this.content;
    return resumePoint?.inSnapshot === true ? seen.length : 0;
  }

  /**
   * Makes the store look like the copy of another database: the cursor is invalid,
   * versions are ahead, and an unknown record exists.
   */
  corrupt(cursor: string): void {
    const content = this.content;
    expect(content.resumePoint !== null, 'the store has no resume point');
    content.resumePoint = { ...(content.resumePoint as ResumePoint), cursor };
    for (const stored of Object.values(content.records)) {
      stored.version += 1_000_000;
    }
    const [one] = Object.values(content.records);
    content.records['cli_ghost'] = { ...(one as NonNullable<typeof one>), version: 1 };
    write(this.store, content);
  }
}

/**
 * A subscriber of a server that checks tokens, with a token that expires in a minute;
 * the server allows 30 seconds of clock skew. The token file is replaced before that,
 * as by a process that renews tokens.
 */
class Tokens {
  readonly books: Books;
  private readonly practice = `typescript-${randomBytes(3).toString('hex')}-tokens`;
  private readonly file: string;
  private readonly manager: Product;

  constructor(
    records: string,
    private readonly concord: string,
    private readonly key: string,
    folder: string,
  ) {
    this.file = path.join(folder, 'token');
    const token = this.token('manager', 60);
    this.manager = new Product(records, this.practice, 'manager', 0, token);
    const options = ['--practice', this.practice, '--token-file', this.file];
    this.books = new Books(records, [], folder, 'tokens.json', ...options);
  }

  async start(): Promise<void> {
    this.renew(1);
    for (const product of ['manager', 'books']) {
      await this.manager.connect(product);
    }
    this.books.start();
    await waitFor('the handshake', () => this.books.now.streams > 0);
    // The open stream still has the old token.
    this.renew(60);
  }

  /** Makes changes until the first token has expired, and after it. */
  async finish(): Promise<void> {
    for (let { now } = this.books; now.tokensExpired === 0; now = this.books.now) {
      expect(this.books.runs, 'the subscriber ended with its token');
      expect(now.streams === 1, 'a stream ended before its token');
      await this.manager.makeRandomChange();
      await sleep(200);
    }
    for (let change = 0; change < 5; change += 1) {
      await this.manager.makeRandomChange();
    }
    const truth = await this.manager.allRecords();
    await waitFor('the store equals the API', () => {
      expect(this.books.runs, 'the subscriber has ended');
      return difference(truth, this.books.content) === '';
    });
    await this.books.end();
    const { stats } = this.books;
    expect(stats.tokensExpired === 1, `${stats.tokensExpired} tokens expired, expected 1`);
    expect(stats.streams === 2, `there were ${stats.streams} streams, expected 2`);
    expect(stats.duplicates === 0, 'events were delivered twice');
    printResult(
      'tokens',
      `the stream ended with its token and resumed with the next one; ` +
        `${stats.events} events, no gap, no duplicate`,
    );
  }

  /** Replaces the token file atomically: it may be read at any time. */
  private renew(minutes: number): void {
    fs.writeFileSync(`${this.file}.new`, this.token('books', minutes));
    fs.renameSync(`${this.file}.new`, this.file);
  }

  private token(product: string, minutes: number): string {
    const options = [
      'token', '--key', this.key, '--roles', 'owner', '--practice', this.practice,
      '--product', product, '--minutes', String(minutes),
    ];
    return execFileSync(this.concord, options, { encoding: 'utf8' }).trim();
  }
}

// The check.

/** The check of two practices, from their first records. */
class Check {
  readonly books: Books;
  private readonly managers: Product[];
  private readonly own: Product;

  private constructor(
    private readonly proxy: Proxy,
    private readonly practices: string[],
    private readonly serverPid: string | undefined,
    private readonly folder: string,
    records: string,
    private readonly address: string,
  ) {
    this.managers = Array.from({ length: WRITERS }, (_, writer) => {
      const practice = practices[writer % practices.length] ?? '';
      return new Product(records, practice, 'manager', writer);
    });
    // Without a practice its subscription covers all practices of the product.
    this.own = new Product(records, '', 'books');
    this.books = new Books(address, practices, folder);
  }

  static async begin(
    records: string,
    serverPid: string | undefined,
    folder: string,
  ): Promise<Check> {
    const run = randomBytes(3).toString('hex');
    const practices = [`typescript-${run}`, `typescript-${run}-other`];
    const proxy = new Proxy(records);
    const address = await proxy.listen();
    const check = new Check(proxy, practices, serverPid, folder, records, address);
    for (const product of check.managers.slice(0, practices.length)) {
      await product.connect('manager');
      await product.connect('books');
    }
    return check;
  }

  async run(): Promise<void> {
    await this.snapshot();
    await this.changes();
    await this.window();
    if (this.serverPid !== undefined) {
      await this.serverRestarts(this.serverPid);
    }
    await this.silence();
    await this.takeover();
    await this.foreignCursor();
    await this.support();
  }

  async close(): Promise<void> {
    if (this.books.runs) {
      await this.books.end('SIGKILL');
    }
    this.proxy.close();
  }

  /** A snapshot is interrupted by resets and by a kill, and is resumed. */
  private async snapshot(): Promise<void> {
    await this.inParallel((one) => one.createClientWithContact(), CLIENTS / WRITERS);
    this.proxy.bytesPerSecond = 400_000;
    this.books.start('--die-at-acknowledge', '1');
    expect((await this.books.ended(60)) === KILLED, 'the process did not die in the snapshot');
    this.books.start();
    let resets = 0;
    while (resets < 2 && this.books.now.snapshotsEnded === 0) {
      const before = this.books.snapshotRecordsReceived;
      await waitFor(
        'records of the snapshot',
        () => this.books.snapshotRecordsReceived > before || this.books.now.snapshotsEnded > 0,
      );
      resets += this.books.now.snapshotsEnded > 0 ? 0 : this.proxy.resetAll();
    }
    this.proxy.bytesPerSecond = 0;
    await this.waitUntilEqual();
    const stats = this.books.stats;
    expect(resets > 0, 'the snapshot ended before a connection was reset');
    expect(stats.snapshotsStarted === 1, 'a snapshot restarted instead of being resumed');
    expect(stats.snapshotsResumed >= 2, 'the snapshot was not resumed');
    printResult(
      'snapshot',
      `${stats.snapshotRecords} records, ${resets} connections reset and one process killed ` +
        `during it, resumed ${stats.snapshotsResumed} times, started once`,
    );
  }

  /**
   * Changes while connections are reset, and while the process dies between commit and
   * acknowledgement.
   */
  private async changes(): Promise<void> {
    const [before, resetsBefore] = [this.books.stats, this.proxy.resets];
    let over = false;
    const chaos = (async () => {
      while (!over) {
        await sleep(250);
        this.proxy.resetAll();
      }
    })();
    const writing = this.managers.map(async (one) => {
      while (!over) {
        await one.makeRandomChange();
        await sleep(10);
      }
    });
    try {
      for (let round = 0; round < 2; round += 1) {
        await this.books.end('SIGKILL');
        this.books.start('--die-at-acknowledge', '2');
        expect((await this.books.ended()) === KILLED, 'the process did not die');
        this.books.start();
        await sleep(1500);
      }
    } finally {
      over = true;
      await Promise.all([chaos, ...writing]);
    }
    await this.waitUntilEqual();
    const stats = this.books.stats;
    expect(stats.duplicates === 0, 'events before the given cursor were delivered again');
    printResult(
      'changes',
      `${stats.events - before.events} events, ` +
        `${this.proxy.resets - resetsBefore} connections reset, ` +
        'process killed 4 times, no gap, no duplicate',
    );
  }

  /**
   * Nothing is acknowledged: the stream waits. The process is killed and resumes by
   * name only: unacknowledged events are delivered again.
   */
  private async window(): Promise<void> {
    await this.books.end();
    const window = ['--max-unacknowledged', String(WINDOW)];
    this.books.start('--withhold', ...window);
    await this.inParallel((one) => one.createClientWithContact(), (2 * WINDOW) / WRITERS);
    await waitFor('a heartbeat with waitingForAcknowledgement', () => this.books.now.waiting);
    const sent = this.books.now.events;
    expect(sent > 0 && sent <= WINDOW, `${sent} events were sent with a window of ${WINDOW}`);
    await this.books.end('SIGKILL');
    this.books.start('--by-name', ...window);
    await this.waitUntilEqual();
    const again = this.books.now.duplicates;
    expect(again === sent, `${sent} events were unacknowledged, ${again} were redelivered`);
    await this.books.end();
    this.books.start();
    await waitFor('the handshake', () => this.books.now.streams > 0);
    printResult(
      'flow control',
      `the stream waited after ${sent} events (window ${WINDOW}); after a kill and a ` +
        `resume by name, ${again} were redelivered and deduplicated`,
    );
  }

  /** The server is stopped and restarted, then killed and restarted. */
  private async serverRestarts(pidFile: string): Promise<void> {
    const before = this.books.stats;
    const pid = (): string => fs.readFileSync(pidFile, 'utf8').trim();
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const writing = this.inParallel((one) => one.makeRandomChange(), 40 / WRITERS);
      const old = pid();
      process.kill(Number(old), signal);
      await waitFor('the server', () => pid() !== '' && pid() !== old);
      await writing;
      await this.waitUntilEqual();
    }
    const stats = this.books.stats;
    expect(stats.closings > before.closings, 'no closing message at the shutdown');
    printResult(
      'server',
      `stopped once with a closing message, killed once, ` +
        `${stats.events - before.events} events, no gap, no duplicate`,
    );
  }

  /** A connection is dead without being closed. */
  private async silence(): Promise<void> {
    this.proxy.freezeAll();
    await this.inParallel((one) => one.makeRandomChange(), 2);
    const started = Date.now();
    await this.waitUntilEqual();
    const seconds = Math.round((Date.now() - started) / 1000);
    printResult('silence', `a dead connection was replaced in ${seconds} s`);
  }

  /**
   * A second instance, with a store of its own, opens the subscription: the first one
   * exits. Later it resumes after its own cursor, and not after the position that
   * Concord stores, which is that of the second instance.
   */
  private async takeover(): Promise<void> {
    const second = new Books(this.address, this.practices, this.folder, 'second.json');
    second.start();
    try {
      const status = await this.books.ended(60);
      expect(status === 3, `taken over, the first instance ended with ${status}`);
      await this.inParallel((one) => one.makeRandomChange(), 5);
      await this.waitUntilEqual(second);
    } finally {
      await second.end();
    }
    const before = this.books.stats;
    this.books.start();
    await this.waitUntilEqual();
    const events = this.books.stats.events - before.events;
    expect(events > 0, 'events that the other instance had acknowledged were not delivered');
    printResult(
      'takeover',
      `the older instance exited; later it resumed after its own cursor, with the ` +
        `${events} events that the other one had acknowledged`,
    );
  }

  /** A cursor of another feed is rejected: the subscriber takes a snapshot. */
  private async foreignCursor(): Promise<void> {
    await this.books.end();
    const before = this.books.stats;
    const [manager] = this.managers;
    this.books.corrupt((await manager?.currentCursor()) ?? '');
    this.books.start();
    await this.waitUntilEqual();
    const stats = this.books.stats;
    const rejected = stats.cursorsRejected.join();
    expect(rejected === 'CURSOR_FOREIGN', `rejected cursors: ${rejected}`);
    expect(
      stats.recordsDeleted > before.recordsDeleted,
      'records that were not in the snapshot were not deleted',
    );
    printResult(
      'another database',
      `cursor rejected, ${stats.snapshotRecords - before.snapshotRecords} records of a fresh ` +
        'snapshot replaced newer versions and removed what was not in it',
    );
  }

  /** Support traces the last change and reads the lag. */
  private async support(): Promise<void> {
    await this.inParallel((one) => one.makeRandomChange(), 5);
    await this.waitUntilEqual();
    const [manager] = this.managers;
    await waitFor('the last change is acknowledged', async () => {
      const trace = await manager?.trace(manager.lastChange, 'books');
      const ours = trace?.subscriptions.filter((one) => one.subscription === NAME) ?? [];
      return ours.length === 1 && ours[0]?.delivery === 'DELIVERY_ACKNOWLEDGED';
    });
    await waitFor('no lag', async () => (await this.own.subscription(NAME)).lagChanges === 0);
    const { state } = await this.own.subscription(NAME);
    expect(state === 'SUBSCRIPTION_STATE_ACTIVE', `the state is ${state}`);
    await this.books.end();
    const total = this.books.stats;
    printResult(
      'total',
      `${total.events} events, ${total.snapshotRecords} snapshot records, ` +
        `${total.streams} streams, ${this.proxy.resets} connections reset, ` +
        `${total.duplicates} duplicates, lag 0, last change acknowledged`,
    );
  }

  /** Waits until the store is equal to the API. */
  private async waitUntilEqual(books = this.books): Promise<void> {
    const truth = new Map<string, Image>();
    for (const manager of this.managers.slice(0, this.practices.length)) {
      for (const [id, image] of await manager.allRecords()) {
        truth.set(id, image);
      }
    }
    let found = '';
    try {
      await waitFor('the store equals the API', () => {
        expect(books.runs, 'the subscriber has ended');
        found = difference(truth, books.content);
        return found === '';
      });
    } catch (error) {
      throw error instanceof CheckFailed ? new CheckFailed(`${error.message}: ${found}`) : error;
    }
  }

  private async inParallel(
    work: (product: Product) => Promise<void>,
    times: number,
  ): Promise<void> {
    await Promise.all(
      this.managers.map(async (one) => {
        for (let time = 0; time < times; time += 1) {
          await work(one);
        }
      }),
    );
  }
}

/** The number of differing records by kind, with one id of each; empty when equal. */
function difference(truth: Map<string, Image>, { resumePoint, records }: Content): string {
  if (resumePoint === null || resumePoint.inSnapshot) {
    return 'the snapshot is not complete';
  }
  const ids = [...truth.keys()];
  const missing = ids.filter((id) => !(id in records));
  const beyond = Object.keys(records).filter((id) => !truth.has(id));
  const other = ids.filter((id) => {
    const stored = records[id];
    const same =
      stored?.version === truth.get(id)?.version && isDeepStrictEqual(stored?.image, truth.get(id));
    return stored !== undefined && !same;
  });
  const parts: [string, string[]][] = [
    ['missing', missing],
    ['unexpected', beyond],
    ['different', other],
  ];
  return parts
    .filter(([, found]) => found.length > 0)
    .map(([name, found]) => `${found.length} ${name}, one is ${found[0]}`)
    .join('; ');
}

function printResult(name: string, text: string): void {
  console.log(`typescript  ${name}: ${text}`);
}

async function main(): Promise<number> {
  if (process.argv[2] === 'subscriber') {
    return subscriberProcess(process.argv.slice(3));
  }
  const { values } = parseArgs({
    options: {
      records: { type: 'string', default: '127.0.0.1:50051' },
      'server-pid': { type: 'string' },
      'token-records': { type: 'string' },
      concord: { type: 'string', default: 'concord' },
      'signing-key': { type: 'string', default: '' },
    },
  });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'concord-typescript.'));
  const check = await Check.begin(values.records ?? '', values['server-pid'], folder);
  let tokens: Tokens | undefined;
  try {
    // Started first, because the token needs time to expire.
    const server = values['token-records'];
    if (server !== undefined) {
      tokens = new Tokens(server, values.concord ?? '', values['signing-key'] ?? '', folder);
      await tokens.start();
    }
    await check.run();
    await tokens?.finish();
    return 0;
  } catch (error) {
    const text = error instanceof CheckFailed ? error.message : String((error as Error).stack);
    const logs = `${check.books.logTail()}\n${tokens?.books.logTail() ?? ''}`;
    console.error(`typescript  FAILED: ${text}\n${logs}`);
    return 1;
  } finally {
    if (tokens?.books.runs === true) {
      await tokens.books.end('SIGKILL');
    }
    await check.close();
    fs.rmSync(folder, { recursive: true });
  }
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
