/**
 * The product's own store: a copy of Concord's records in one JSON file.
 *
 * The resume point in the feed is stored with the records: the complete file is written
 * under another name and replaces the old one atomically. So after a crash the resume
 * point matches the records exactly, and no change is applied twice or missed. A
 * product uses a database for this, and does the same in one transaction.
 */

import * as fs from 'node:fs';
import * as path from 'node:path';

import type { Client, Contact, Event, Person, SnapshotEnd, SnapshotRecord } from './contract';

/** The image of a record. */
export type Image = Client | Person | Contact;

/** A stored record. */
export interface StoredRecord {
  kind: 'client' | 'person' | 'contact';
  practice: string;
  version: number;
  image: Image;
}

/** The point in the feed up to which the store has applied changes. */
export interface ResumePoint {
  /** The cursor to resume after; empty before the first record of a snapshot. */
  cursor: string;
  /**
   * Everything up to this position is applied. The cursor may be after it, behind
   * changes that the filters excluded.
   */
  position: number;
  inSnapshot: boolean;
}

/** The content of the file. */
export interface Content {
  resumePoint: ResumePoint | null;
  records: Record<string, StoredRecord>;
  /** The ids of the received records of the running snapshot. */
  seen: string[];
}

/** The result of applying a batch of events. */
export interface Applied {
  /** Number of new events. */
  events: number;
  /** Number of events that had already been applied. */
  duplicates: number;
}

interface Named {
  kind: StoredRecord['kind'];
  image: Image;
}

/** Applies messages of the feed. Only one process may open a store. */
export class Store {
  private resumePoint_: ResumePoint | null;
  private readonly records: Map<string, StoredRecord>;
  private readonly seen: Set<string>;

  constructor(private readonly file: string) {
    const content = read(file);
    this.resumePoint_ = content.resumePoint;
    this.records = new Map(Object.entries(content.records));
    this.seen = new Set(content.seen);
  }

  /** The point to resume from; null when nothing was received yet. */
  get resumePoint(): ResumePoint | null {
    return this.resumePoint_;
  }

  /**
   * Deletes the resume point, so that the next stream takes a snapshot. The records
   * stay until the new snapshot has replaced them.
   */
  clearResumePoint(): void {
    this.resumePoint_ = null;
    this.commit();
  }

  /**
   * Starts a new snapshot. There is no cursor to resume after until its first records
   * are stored.
   */
  beginSnapshot(): void {
    this.seen.clear();
    this.resumePoint_ = { cursor: '', position: 0, inSnapshot: true };
    this.commit();
  }

  /**
   * Stores records of a snapshot, regardless of their version: after a restore of
   * Concord from a backup its versions may be lower than the stored ones.
   */
  applySnapshot(records: SnapshotRecord[], cursor: string): void {
    const resumePoint = this.resumePoint_;
    const replacing = resumePoint?.inSnapshot === true;
    for (const record of records) {
      for (const named of imagesOfRecord(record)) {
        if (replacing) {
          this.upsert(record.practiceId, named);
          this.seen.add(named.image.id);
        } else {
          // The end of this snapshot is already stored, and only its acknowledgement
          // was lost: the stored record may be newer.
          this.upsertIfNewer(record.practiceId, named);
        }
      }
    }
    if (replacing) {
      this.resumePoint_ = { ...resumePoint, cursor };
    }
    this.commit();
  }

  /** Deletes the records that were not in the snapshot, and returns their number. */
  endSnapshot(end: SnapshotEnd): number {
    if (this.resumePoint_?.inSnapshot !== true) {
      return 0;
    }
    const deleted = [...this.records.keys()].filter((id) => !this.seen.has(id));
    for (const id of deleted) {
      this.records.delete(id);
    }
    this.seen.clear();
    this.resumePoint_ = { cursor: end.cursor, position: end.position, inSnapshot: false };
    this.commit();
    return deleted.length;
  }

  /** Applies new events, and advances the resume point in the same write. */
  applyEvents(events: Event[], cursor: string): Applied {
    const known = this.resumePoint_?.position ?? 0;
    const fresh = events.filter((event) => event.position > known);
    for (const event of fresh) {
      this.apply(event);
    }
    const last = fresh.at(-1);
    if (last !== undefined) {
      this.resumePoint_ = { cursor, position: last.position, inSnapshot: false };
      this.commit();
    }
    return { events: fresh.length, duplicates: events.length - fresh.length };
  }

  /**
   * Advances the resume point past changes that the filters excluded. Otherwise the
   * cursor of a subscriber that receives few events becomes too old.
   */
  advance(cursor: string, position: number): void {
    const resumePoint = this.resumePoint_;
    if (resumePoint !== null && !resumePoint.inSnapshot && position > resumePoint.position) {
      this.resumePoint_ = { cursor, position, inSnapshot: false };
      this.commit();
    }
  }

  private apply(event: Event): void {
    for (const named of imagesOfEvent(event)) {
      this.upsertIfNewer(event.practiceId, named);
    }
    if (event.kind === 'CHANGE_KIND_PURGED') {
      this.records.delete(event.recordId);
    }
  }

  private upsertIfNewer(practice: string, named: Named): void {
    // An image is the record at the time when the event was sent, which may be newer
    // than the change. So compare the version of the image.
    const stored = this.records.get(named.image.id);
    if (stored === undefined || stored.version < named.image.version) {
      this.upsert(practice, named);
    }
  }

  private upsert(practice: string, { kind, image }: Named): void {
    this.records.set(image.id, { kind, practice, version: image.version, image });
  }

  private commit(): void {
    write(this.file, {
      resumePoint: this.resumePoint_,
      records: Object.fromEntries(this.records),
      seen: [...this.seen],
    });
  }
}

/** The content of a store's file; an empty store when there is no file. */
export function read(file: string): Content {
  if (!fs.existsSync(file)) {
    return { resumePoint: null, records: {}, seen: [] };
  }
  return JSON.parse(fs.readFileSync(file, 'utf8')) as Content;
}

/** Replaces a store's file atomically and durably. */
export function write(file: string, content: Content): void {
  const next = `${file}.next`;
  fs.writeFileSync(next, JSON.stringify(content));
  flush(next);
  fs.renameSync(next, file);
  flush(path.dirname(file));
}

function flush(file: string): void {
  const handle = fs.openSync(file, 'r');
  try {
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}

function imagesOfRecord(record: SnapshotRecord): Named[] {
  return named(record.client, record.person, record.contact === null ? [] : [record.contact]);
}

function imagesOfEvent(event: Event): Named[] {
  return named(event.client, event.person, event.contacts);
}

function named(client: Client | null, person: Person | null, contacts: Contact[]): Named[] {
  const images: Named[] = [];
  if (client !== null) {
    images.push({ kind: 'client', image: client });
  }
  if (person !== null) {
    images.push({ kind: 'person', image: person });
  }
  return images.concat(contacts.map((image) => ({ kind: 'contact', image })));
}
