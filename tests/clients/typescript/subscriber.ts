/**
 * A subscriber that stays in step with Concord: a worked example.
 *
 * It keeps a copy of the records of a practice, or of all practices of a product, in
 * a file (`store.ts`). What it does is told in docs/sync.md; in short:
 *
 * - Each message is applied to the store in one step, together with its cursor. After
 *   that it is acknowledged.
 * - It begins with a snapshot, and goes on after its own cursor, also in the middle of
 *   a snapshot. Concord's place is beside it, so that support can see the lag.
 * - Every event names the position of the one before. When that is another than the
 *   one that came last, something is missing: it stops, and says so.
 * - A stream that is silent for 45 seconds is dead, and is begun again.
 * - A stream ends with its token. The next one takes the token that is in the file then.
 *
 * Run it:
 *
 *     node dist/subscriber.js --records 127.0.0.1:50051 --practice p1 --product books \
 *       --name ledger --store books.json
 *
 * Where Concord checks tokens, add `--token-file FILE`; over a network, use
 * `grpc.credentials.createSsl` in place of `createInsecure` then.
 */

import * as fs from 'node:fs';
import { parseArgs } from 'node:util';

import * as grpc from '@grpc/grpc-js';

import {
  type ChangeServiceClient,
  type Events,
  type Handshake,
  type Heartbeat,
  type SnapshotEnd,
  type SnapshotRecords,
  type SubscribeRequest,
  type SubscribeResponse,
  answer,
  detailsOf,
  isStatus,
  records,
  sleep,
} from './contract';
import { type Place, Store } from './store';

// Concord sends a heartbeat every 15 seconds. Three of them missing is no chance.
const SILENCE_SECONDS = 45;
const ACKNOWLEDGE_MILLIS = 10_000;
const FIRST_PAUSE_MILLIS = 100;
const LONGEST_PAUSE_MILLIS = 30_000;

const CHANNEL_OPTIONS: grpc.ChannelOptions = {
  // A connection whose other end has gone without a word is found out.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // The channels of a process share their connections unless they are told not to.
  'grpc.use_local_subchannel_pool': 1,
};

// Waiting does not mend other statuses than these: the request, the role or the
// connection of the product is wrong.
const PASSING = new Set([
  grpc.status.ABORTED,
  grpc.status.CANCELLED,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.INTERNAL,
  grpc.status.RESOURCE_EXHAUSTED,
  grpc.status.UNAVAILABLE,
  grpc.status.UNKNOWN,
]);

/** The subscriber cannot go on by itself. */
export class Stopped extends Error {}

/**
 * Something is missing between two messages. It never happens unless there is a
 * fault: a human being should look at it.
 */
export class Gap extends Stopped {}

/**
 * Another instance has begun a stream of the same name. To fight for it would end its
 * stream, and so on without an end.
 */
export class TakenOver extends Stopped {}

/** Who listens to what. */
export interface Settings {
  /** Host and port of the records service. */
  records: string;
  product: string;
  account: string;
  /** The name of the subscription. */
  name: string;
  /** Only this practice; all of the product when it is empty. */
  practice: string;
  /** Of all practices of the product only these; all when it is empty. */
  practices: string[];
  /**
   * Holds the token of the product; none when it is empty. It is read for each stream:
   * whoever renews the token replaces the file before the old one expires.
   */
  tokenFile: string;
  maxUnacknowledged: number;
  /**
   * Without it Concord's own place is gone on from. Then events come again that were
   * applied and not acknowledged, and a backup of Concord that was restored is not
   * noticed. It is there for the tests.
   */
  resumeWithCursor: boolean;
  silenceSeconds: number;
}

/** What a subscriber has seen since it was started. */
export class Stats {
  streams = 0;
  closings = 0;
  events = 0;
  duplicates = 0;
  snapshotRecords = 0;
  snapshotsBegun = 0;
  snapshotsResumed = 0;
  snapshotsEnded = 0;
  recordsGone = 0;
  heartbeats = 0;
  /** Whether the last heartbeat said that the stream waits. */
  waiting = false;
  deadStreams = 0;
  /** How often Concord asked for a new token. */
  tokensExpired = 0;
  /** The reasons for which a cursor was refused. */
  cursorsRefused: string[] = [];
}

/** Keeps a store in step with Concord until it is stopped. */
export class Subscriber {
  readonly stats = new Stats();
  private client: ChangeServiceClient;
  private metadata = new grpc.Metadata();
  private readonly stopping = new AbortController();
  private stream: grpc.ClientReadableStream<SubscribeResponse> | undefined;
  private failures = 0;
  /** The position that the next event must name as the one before it. */
  private last = 0;
  private acknowledged = '';

  constructor(
    private readonly settings: Settings,
    private readonly store: Store,
  ) {
    this.client = this.connect();
  }

  /** May be called at any time, also by a signal. */
  stop(): void {
    this.stopping.abort();
    this.stream?.cancel();
  }

  /** Listens until `stop`, or until it cannot go on by itself. */
  async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        // A channel of its own for each stream: over the one before a new call would
        // take a connection that is dead.
        this.client = this.connect();
        this.metadata = this.identity();
        await this.listen();
        // Ended by Concord, which wants it begun again.
        await sleep(this.pause(), this.stopping.signal);
      } catch (error) {
        if (!this.stopping.signal.aborted) {
          await this.recover(error);
        }
      } finally {
        this.client.close();
      }
    }
  }

  private connect(): ChangeServiceClient {
    const credentials = grpc.credentials.createInsecure();
    return new records.ChangeService(this.settings.records, credentials, CHANNEL_OPTIONS);
  }

  /** What says who calls, on each call of a stream and its acknowledgements. */
  private identity(): grpc.Metadata {
    const { product, account, practice, tokenFile } = this.settings;
    const metadata = new grpc.Metadata();
    metadata.set('x-concord-product', product);
    metadata.set('x-concord-account', account);
    if (practice !== '') {
      metadata.set('x-concord-practice', practice);
    }
    if (tokenFile !== '') {
      metadata.set('authorization', `Bearer ${fs.readFileSync(tokenFile, 'ascii').trim()}`);
    }
    return metadata;
  }

  /** One stream, from its handshake to its end. */
  private async listen(): Promise<void> {
    const place = this.store.place;
    this.acknowledged = '';
    const stream = this.client.subscribe(this.request(place), this.metadata);
    // The loop below hears of an error too; this is for one that comes after it.
    stream.on('error', () => undefined);
    this.stream = stream;
    this.stats.streams += 1;
    try {
      for await (const message of this.messages(stream)) {
        await this.handle(message, place);
      }
    } finally {
      stream.cancel();
    }
  }

  /**
   * The messages of a stream, which is cancelled when none comes for too long. The
   * time in which one is applied is not silence.
   */
  private async *messages(
    stream: grpc.ClientReadableStream<SubscribeResponse>,
  ): AsyncGenerator<SubscribeResponse> {
    const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<SubscribeResponse>;
    for (;;) {
      const timer = setTimeout(() => {
        this.stats.deadStreams += 1;
        log('nothing was heard for too long: the stream is dead');
        stream.cancel();
      }, this.settings.silenceSeconds * 1000);
      try {
        const next = await iterator.next();
        if (next.done === true) {
          return;
        }
        clearTimeout(timer);
        yield next.value;
      } finally {
        clearTimeout(timer);
      }
    }
  }

  private request(place: Place | null): SubscribeRequest {
    const request: SubscribeRequest = {
      subscription: this.settings.name,
      maxUnacknowledged: this.settings.maxUnacknowledged,
      practices: this.settings.practices,
      // A copy holds everything, also what this product changed itself.
      echoMode: 'ECHO_MODE_INCLUDE',
    };
    if (place === null || place.cursor === '') {
      // Concord may know a place of this name, when the store was lost. With an empty
      // store it is of no use, so it is begun anew.
      return { ...request, startFrom: 'START_FROM_SNAPSHOT', restart: true };
    }
    return this.settings.resumeWithCursor ? { ...request, cursor: place.cursor } : request;
  }

  private async handle(message: SubscribeResponse, place: Place | null): Promise<void> {
    if (message.handshake) {
      this.onHandshake(message.handshake, place);
    } else if (message.snapshotRecords) {
      await this.onSnapshotRecords(message.snapshotRecords);
    } else if (message.snapshotEnd) {
      await this.onSnapshotEnd(message.snapshotEnd);
    } else if (message.events) {
      await this.onEvents(message.events);
    } else if (message.heartbeat) {
      await this.onHeartbeat(message.heartbeat);
    } else if (message.closing) {
      this.stats.closings += 1;
      log(`the stream ends: ${message.closing.reason}`);
    }
    // A newer Concord may send what is not known here: it is passed over.
  }

  protected onHandshake(handshake: Handshake, place: Place | null): void {
    const { position, headPosition } = handshake;
    const how = handshake.snapshot ? ', with a snapshot' : '';
    log(`connected at position ${position} of ${headPosition}${how}`);
    this.last = position;
    if (handshake.snapshotResumed) {
      this.stats.snapshotsResumed += 1;
    } else if (handshake.snapshot) {
      this.stats.snapshotsBegun += 1;
      this.store.beginSnapshot();
    } else if (place?.inSnapshot === true) {
      throw new Gap('the stream begins after a snapshot whose end is not held');
    }
  }

  private async onSnapshotRecords(message: SnapshotRecords): Promise<void> {
    this.store.applySnapshot(message.records, message.cursor);
    this.stats.snapshotRecords += message.records.length;
    await this.dealtWith(message.cursor);
  }

  private async onSnapshotEnd(end: SnapshotEnd): Promise<void> {
    this.stats.recordsGone += this.store.endSnapshot(end);
    this.stats.snapshotsEnded += 1;
    this.last = end.position;
    log(`the snapshot is complete, at position ${end.position}`);
    await this.dealtWith(end.cursor);
  }

  private async onEvents(message: Events): Promise<void> {
    for (const { position, previousPosition } of message.events) {
      if (previousPosition !== this.last) {
        throw new Gap(
          `position ${position} comes after ${previousPosition}, ` +
            `and ${this.last} was heard last`,
        );
      }
      this.last = position;
    }
    const applied = this.store.applyEvents(message.events, message.cursor);
    this.stats.events += applied.events;
    this.stats.duplicates += applied.duplicates;
    await this.dealtWith(message.cursor);
  }

  protected async onHeartbeat(heartbeat: Heartbeat): Promise<void> {
    this.stats.heartbeats += 1;
    this.stats.waiting = heartbeat.waitingForAcknowledgement;
    if (this.store.place === null || this.store.place.inSnapshot) {
      return;
    }
    this.store.moveOn(heartbeat.cursor, heartbeat.position);
    await this.dealtWith(heartbeat.cursor);
  }

  /** What came up to the cursor is in the store. Only now may Concord forget it. */
  private async dealtWith(cursor: string): Promise<void> {
    this.failures = 0;
    if (cursor !== this.acknowledged) {
      await this.acknowledge(cursor);
      this.acknowledged = cursor;
    }
  }

  /**
   * Tells Concord. When that fails the stream is begun again: the place is in the
   * store, so nothing is lost.
   */
  protected async acknowledge(cursor: string): Promise<void> {
    const request = { subscription: this.settings.name, cursor };
    const options = { deadline: Date.now() + ACKNOWLEDGE_MILLIS };
    await answer((callback) => {
      this.client.acknowledge(request, this.metadata, options, callback);
    });
  }

  /** Waits as long as the status asks, or gives up. */
  private async recover(error: unknown): Promise<void> {
    if (!isStatus(error)) {
      throw error;
    }
    const code = grpc.status[error.code];
    const { reason, retryMillis } = detailsOf(error);
    if (error.code === grpc.status.OUT_OF_RANGE) {
      // Too old, or of a database that is not there any longer. The next stream begins
      // with a snapshot.
      log(`the cursor is of no use any longer: ${reason}`);
      this.stats.cursorsRefused.push(reason);
      this.store.forgetPlace();
    } else if (reason === 'SUBSCRIPTION_TAKEN_OVER') {
      throw new TakenOver('another instance has begun a stream of this name');
    } else if (reason === 'TOKEN_EXPIRED' && this.settings.tokenFile !== '') {
      // The file has a new token, or will have one soon.
      this.stats.tokensExpired += 1;
    } else if (!PASSING.has(error.code)) {
      throw new Stopped(`${code} ${reason}: ${error.details}`);
    }
    const pause = (retryMillis ?? 0) + this.pause();
    log(`${code} ${reason}; again in ${Math.round(pause)} ms`);
    await sleep(pause, this.stopping.signal);
  }

  /**
   * Longer each time, and by chance, so that a thousand subscribers do not come back
   * in the same moment.
   */
  private pause(): number {
    const longest = Math.min(FIRST_PAUSE_MILLIS * 2 ** this.failures, LONGEST_PAUSE_MILLIS);
    this.failures = Math.min(this.failures + 1, 20);
    return longest * (0.5 + Math.random() / 2);
  }
}

function log(text: string): void {
  console.error(`${new Date().toISOString()} ${text}`);
}

/** The options of the command. */
export const OPTIONS = {
  records: { type: 'string', default: '127.0.0.1:50051' },
  product: { type: 'string', default: '' },
  practice: { type: 'string', default: '' },
  practices: { type: 'string', default: '' },
  name: { type: 'string', default: '' },
  store: { type: 'string', default: '' },
  'token-file': { type: 'string', default: '' },
  'max-unacknowledged': { type: 'string', default: '0' },
  'silence-seconds': { type: 'string', default: String(SILENCE_SECONDS) },
} as const;

type Values = { [Key in keyof typeof OPTIONS]?: string };

/** The settings that the options name. */
export function settingsOf(values: Values, resumeWithCursor = true): Settings {
  for (const name of ['product', 'name', 'store'] as const) {
    if (!values[name]) {
      throw new Stopped(`--${name} is missing`);
    }
  }
  return {
    records: values.records ?? '',
    product: values.product ?? '',
    account: 'main',
    name: values.name ?? '',
    practice: values.practice ?? '',
    practices: (values.practices ?? '').split(',').filter((practice) => practice !== ''),
    tokenFile: values['token-file'] ?? '',
    maxUnacknowledged: Number(values['max-unacknowledged']),
    resumeWithCursor,
    silenceSeconds: Number(values['silence-seconds']),
  };
}

/**
 * Runs it; SIGTERM and SIGINT end it cleanly. Gives the exit status: 0 stopped, 1
 * refused, 3 taken over by another instance, 4 something is missing.
 */
export async function runUntilStopped(subscriber: Subscriber): Promise<number> {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => subscriber.stop());
  }
  try {
    await subscriber.run();
    return 0;
  } catch (error) {
    if (!(error instanceof Stopped)) {
      throw error;
    }
    log(error.message);
    return error instanceof TakenOver ? 3 : error instanceof Gap ? 4 : 1;
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS });
  const settings = settingsOf(values);
  return runUntilStopped(new Subscriber(settings, new Store(values.store ?? '')));
}

if (require.main === module) {
  main().then(
    (status) => process.exit(status),
    (error: unknown) => {
      log(String(error));
      process.exit(1);
    },
  );
}
