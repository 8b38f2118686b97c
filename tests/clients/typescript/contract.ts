/**
 * The contract, read from the .proto files when the program starts. The types beside
 * it are generated from the same files (`npm run types`).
 */

import * as path from 'node:path';

import * as grpc from '@grpc/grpc-js';
import * as loader from '@grpc/proto-loader';

import type { ProtoGrpcType as Connections } from './generated/connections';
import type { ProtoGrpcType as Details } from './generated/details';
import type { ProtoGrpcType as Support } from './generated/support';

export type { AcknowledgeRequest } from './generated/concord/records/v1/AcknowledgeRequest';
export type { ChangeServiceClient } from './generated/concord/records/v1/ChangeService';
export type { Client__Output as Client } from './generated/concord/records/v1/Client';
export type { Contact__Output as Contact } from './generated/concord/records/v1/Contact';
export type { Event__Output as Event } from './generated/concord/records/v1/Event';
export type { Events__Output as Events } from './generated/concord/records/v1/Events';
export type { Handshake__Output as Handshake } from './generated/concord/records/v1/Handshake';
export type { Heartbeat__Output as Heartbeat } from './generated/concord/records/v1/Heartbeat';
export type { Person__Output as Person } from './generated/concord/records/v1/Person';
export type { ProductTrace__Output as ProductTrace } from './generated/concord/records/v1/ProductTrace';
export type { SnapshotEnd__Output as SnapshotEnd } from './generated/concord/records/v1/SnapshotEnd';
export type { SnapshotRecord__Output as SnapshotRecord } from './generated/concord/records/v1/SnapshotRecord';
export type { SnapshotRecords__Output as SnapshotRecords } from './generated/concord/records/v1/SnapshotRecords';
export type { SubscribeRequest } from './generated/concord/records/v1/SubscribeRequest';
export type { SubscribeResponse__Output as SubscribeResponse } from './generated/concord/records/v1/SubscribeResponse';
export type { Subscription__Output as Subscription } from './generated/concord/records/v1/Subscription';

// The same directory from the sources and from the compiled files.
const HERE = path.basename(__dirname) === 'dist' ? path.dirname(__dirname) : __dirname;
const PROTO = path.resolve(HERE, '../../../proto');

const definition = loader.loadSync(
  [
    'concord/records/v1/support.proto',
    'concord/records/v1/connections.proto',
    'google/rpc/details.proto',
  ],
  {
    includeDirs: [PROTO, path.join(HERE, 'proto')],
    // Positions and versions are counted from 1: a number holds them exactly up to
    // 9,007,199,254,740,991.
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  },
);

const loaded = grpc.loadPackageDefinition(definition) as unknown as Connections &
  Details &
  Support;

export const records = loaded.concord.records.v1;

const details = loaded.google.rpc;

/** The details of a status, besides its code and its message. */
export interface StatusDetails {
  /** Such as `CURSOR_TOO_OLD`; empty when the status has none. */
  reason: string;
  /** The delay in the `RetryInfo` of the status. */
  retryMillis: number | undefined;
}

/** Reads the details of a status that a call ended with. */
export function detailsOf(error: grpc.ServiceError): StatusDetails {
  const found: StatusDetails = { reason: '', retryMillis: undefined };
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!Buffer.isBuffer(bytes)) {
    return found;
  }
  for (const detail of details.Status.deserialize(bytes).details) {
    const { type_url: type, value } = detail as unknown as { type_url: string; value: Buffer };
    if (type.endsWith('/google.rpc.ErrorInfo')) {
      found.reason = details.ErrorInfo.deserialize(value).reason;
    } else if (type.endsWith('/google.rpc.RetryInfo')) {
      const delay = details.RetryInfo.deserialize(value).retryDelay;
      found.retryMillis = Number(delay?.seconds ?? 0) * 1000 + (delay?.nanos ?? 0) / 1e6;
    }
  }
  return found;
}

/** True if a thrown value is the status of a call. */
export function isStatus(error: unknown): error is grpc.ServiceError {
  return error instanceof Error && typeof (error as { code?: unknown }).code === 'number';
}

/** A call with one answer, as a promise. */
export function answer<A>(start: (callback: grpc.requestCallback<A>) => void): Promise<A> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error !== null) {
        reject(error);
      } else {
        resolve(value as A);
      }
    });
  });
}

/** Waits; the signal ends the wait early. */
export function sleep(millis: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const timer = setTimeout(done, millis);
    signal?.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
  });
}
