/**
 * A subscriber that keeps a synchronized copy of Concord's records: an example.
 *
 * It stores the records of a practice, or of all practices of a product, in a file
 * (`store.ts`). docs/sync.md explains it; in short:
 *
 * - Each message is applied to the store atomically, together with its cursor. After
 *   that it is acknowledged.
 * - It starts with a snapshot, and resumes after its own cursor, also in the middle of
 *   a snapshot. Concord stores the acknowledged position too, which shows the lag.
 * - Every event has the position of the previous one. When that is not the position
 *   that was received last, an event is missing: the subscriber stops with an error.
 * - A stream that is silent for 45 seconds is dead, and is reopened.
 * - A stream ends with its token. The next one uses the token that is in the file then.
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
import { type ResumePoint, Store } from './store';

// Concord sends a heartbeat every 15 seconds. A stream without three is dead.
const SILENCE_SECONDS = 45;
const ACKNOWLEDGE_MILLIS = 10_000;
const INITIAL_BACKOFF_MILLIS = 100;
const MAX_BACKOFF_MILLIS = 30_000;

const CHANNEL_OPTIONS: grpc.ChannelOptions = {
  // Detects a connection whose peer has gone without closing it.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // By default the channels of a process share their connections.
  'grpc.use_local_subchannel_pool': 1,
};

// Retryable statuses. With any other status a retry does not help: the request, the
// role or the connection of the product is wrong.
const TRANSIENT_CODES = new Set([
  grpc.status.ABORTED,
  grpc.status.CANCELLED,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.INTERNAL,
  grpc.status.RESOURCE_EXHAUSTED,
  grpc.status.UNAVAILABLE,
  grpc.status.UNKNOWN,
]);

/** The subscriber cannot continue without intervention. */
export class Stopped extends Error {}

/**
 * An event is missing between two messages. It is a defect that needs to be
 * investigated.
 */
export class Gap extends Stopped {}

/**
 * Another instance has opened a stream of the same name. Reopening it would end the
 * other stream, and the two instances would loop.
 */
export class TakenOver extends Stopped {}

/** The identity of the subscriber, and its subscription. */
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
   * The file with the token of the product; none when it is empty. It is read for each
   * stream: replace it before the old token expires.
   */
  tokenFile: string;
  maxUnacknowledged: number;
  /**
   * If false, the stream resumes after the position that Concord stores. Then events
   * that were applied and not acknowledged are delivered again, and a restored backup
   * of Concord is not detected. For the tests.
   */
  resumeWithCursor: boolean;
  silenceSeconds: number;
}

/** Counters of a subscriber since its start. */
export class Stats {
  streams = 0;
  closings = 0;
  events = 0;
  duplicates = 0;
  snapshotRecords = 0;
  snapshotsStarted = 0;
  snapshotsResumed = 0;
  snapshotsEnded = 0;
  recordsDeleted = 0;
  heartbeats = 0;
  /** True if the stream waited for an acknowledgement at the last heartbeat. */
  waiting = false;
  deadStreams = 0;
  /** How often the token of a stream expired. */
  tokensExpired = 0;
  /** The reasons for which cursors were rejected. */
  cursorsRejected: string[] = [];
}

/** Keeps a store synchronized with Concord until it is stopped. */
export class Subscriber {
  readonly stats = new Stats();
  private client: ChangeServiceClient;
  private metadata = new grpc.Metadata();
  private readonly stopping = new AbortController();
  private stream: grpc.ClientReadableStream<SubscribeResponse> | undefined;
  private failures = 0;
  /** The expected `previousPosition` of the next event. */
  private last = 0;
  private acknowledged = '';

  constructor(
    private readonly settings: Settings,
    private readonly store: Store,
  ) {
    this.client = this.connect();
  }

  /** Stops the subscriber. May be called at any time, also by a signal handler. */
  stop(): void {
    this.stopping.abort();
    this.stream?.cancel();
  }

  /** Runs until `stop`, or until it cannot continue without intervention. */
  async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        // A new channel for each stream: on the previous channel a call could use a
        // dead connection.
        this.client = this.connect();
        this.metadata = this.identity();
        await this.listen();
        // Concord has ended the stream: reconnect.
        await sleep(this.nextBackoff(), this.stopping.signal);
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

  /** The identity metadata of a stream and of its acknowledgements. */
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

  /** Reads one stream from its handshake to its end. */
  private async listen(): Promise<void> {
    const resumePoint = this.store.resumePoint;
    this.acknowledged = '';
    const stream = this.client.subscribe(this.request(resumePoint), this.metadata);
    // The loop below receives errors too; this handles an error after its end.
    stream.on('error', () => undefined);
    this.stream = stream;
    this.stats.streams += 1;
    try {
      for await (const message of this.messages(stream)) {
        await this.handle(message, resumePoint);
      }
    } finally {
      stream.cancel();
    }
  }

  /**
   * The messages of a stream, which is cancelled when no message arrives for too long.
   * The time to apply a message does not count.
   */
  private async *messages(
    stream: grpc.ClientReadableStream<SubscribeResponse>,
  ): AsyncGenerator<SubscribeResponse> {
    const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<SubscribeResponse>;
    for (;;) {
      const timer = setTimeout(() => {
        this.stats.deadStreams += 1;
        log(`no message for ${this.settings.silenceSeconds} s: the stream is dead`);
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

  private request(resumePoint: ResumePoint | null): SubscribeRequest {
    const request: SubscribeRequest = {
      subscription: this.settings.name,
      maxUnacknowledged: this.settings.maxUnacknowledged,
      practices: this.settings.practices,
      // The copy includes the changes that this product made itself.
      echoMode: 'ECHO_MODE_INCLUDE',
    };
    if (resumePoint === null || resumePoint.cursor === '') {
      // Concord may store a position for this name although the store was lost. With an
      // empty store that position is useless: restart.
      return { ...request, startFrom: 'START_FROM_SNAPSHOT', restart: true };
    }
    return this.settings.resumeWithCursor ? { ...request, cursor: resumePoint.cursor } : request;
  }

  private async handle(message: SubscribeResponse, resumePoint: ResumePoint | null): Promise<void> {
    if (message.handshake) {
      this.onHandshake(message.handshake, resumePoint);
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
    // A newer version of Concord may send unknown messages: they are ignored.
  }

  protected onHandshake(handshake: Handshake, resumePoint: ResumePoint | null): void {
    const { position, headPosition } = handshake;
    const how = handshake.snapshot ? ', with a snapshot' : '';
    log(`connected at position ${position} of ${headPosition}${how}`);
    this.last = position;
    if (handshake.snapshotResumed) {
      this.stats.snapshotsResumed += 1;
    } else if (handshake.snapshot) {
      this.stats.snapshotsStarted += 1;
      this.store.beginSnapshot();
    } else if (resumePoint?.inSnapshot === true) {
      throw new Gap('the stream starts after a snapshot whose end is not stored');
    }
  }

  private async onSnapshotRecords(message: SnapshotRecords): Promise<void> {
    this.store.applySnapshot(message.records, message.cursor);
    this.stats.snapshotRecords += message.records.length;
    await this.acknowledgeOnce(message.cursor);
  }

  private async onSnapshotEnd(end: SnapshotEnd): Promise<void> {
    this.stats.recordsDeleted += this.store.endSnapshot(end);
    this.stats.snapshotsEnded += 1;
    this.last = end.position;
    log(`the snapshot is complete, at position ${end.position}`);
    await this.acknowledgeOnce(end.cursor);
  }

  private async onEvents(message: Events): Promise<void> {
    for (const { position, previousPosition } of message.events) {
      if (previousPosition !== this.last) {
        throw new Gap(
          `the event at ${position} follows ${previousPosition}, ` +
            `but the last received position is ${this.last}`,
        );
      }
      this.last = position;
    }
    const applied = this.store.applyEvents(message.events, message.cursor);
    this.stats.events += applied.events;
    this.stats.duplicates += applied.duplicates;
    await this.acknowledgeOnce(message.cursor);
  }

  protected async onHeartbeat(heartbeat: Heartbeat): Promise<void> {
    this.stats.heartbeats += 1;
    this.stats.waiting = heartbeat.waitingForAcknowledgement;
    if (this.store.resumePoint === null || this.store.resumePoint.inSnapshot) {
      return;
    }
    this.store.advance(heartbeat.cursor, heartbeat.position);
    await this.acknowledgeOnce(heartbeat.cursor);
  }

  /** Acknowledges a cursor whose changes are stored, unless it was the last. */
  private async acknowledgeOnce(cursor: string): Promise<void> {
    this.failures = 0;
    if (cursor !== this.acknowledged) {
      await this.acknowledge(cursor);
      this.acknowledged = cursor;
    }
  }

  /**
   * Acknowledges a cursor. After an error the stream is reopened: the resume point is
   * in the store, so nothing is lost.
   */
  protected async acknowledge(cursor: string): Promise<void> {
    const request = { subscription: this.settings.name, cursor };
    const options = { deadline: Date.now() + ACKNOWLEDGE_MILLIS };
    await answer((callback) => {
      this.client.acknowledge(request, this.metadata, options, callback);
    });
  }

  /** Waits before the next attempt, or throws `Stopped` if a retry does not help. */
  private async recover(error: unknown): Promise<void> {
    if (!isStatus(error)) {
      throw error;
    }
    const code = grpc.status[error.code];
    const { reason, retryMillis } = detailsOf(error);
    if (error.code === grpc.status.OUT_OF_RANGE) {
      // The cursor is too old, or of a database that was replaced. The next stream starts
      // with a snapshot.
      log(`cursor rejected: ${reason}`);
      this.stats.cursorsRejected.push(reason);
      this.store.clearResumePoint();
    } else if (reason === 'SUBSCRIPTION_TAKEN_OVER') {
      throw new TakenOver('another instance has opened a stream of this name');
    } else if (reason === 'TOKEN_EXPIRED' && this.settings.tokenFile !== '') {
      // The file has a new token, or will have one soon.
      this.stats.tokensExpired += 1;
    } else if (!TRANSIENT_CODES.has(error.code)) {
      throw new Stopped(`${code} ${reason}: ${error.details}`);
    }
    const delay = (retryMillis ?? 0) + this.nextBackoff();
    log(`${code} ${reason}; retrying in ${Math.round(delay)} ms`);
    await sleep(delay, this.stopping.signal);
  }

  /**
   * Exponential backoff with jitter, so that many subscribers do not reconnect at the
   * same moment.
   */
  private nextBackoff(): number {
    const limit = Math.min(INITIAL_BACKOFF_MILLIS * 2 ** this.failures, MAX_BACKOFF_MILLIS);
    this.failures = Math.min(this.failures + 1, 20);
    return limit * (0.5 + Math.random() / 2);
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
 * Runs it; SIGTERM and SIGINT stop it gracefully. Returns the exit status: 0 stopped,
 * 1 rejected, 3 taken over by another instance, 4 an event is missing.
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
