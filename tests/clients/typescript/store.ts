/**
 * The product's own store: what it holds of Concord, in one JSON file.
 *
 * The place in the feed lies beside the records and is written with them: the whole
 * file is written anew under another name and takes the old one's place in one step.
 * So whatever happens to the process, the place says exactly what the records hold,
 * and nothing is applied twice or left out. A product has a database for this, and
 * does the same in one transaction.
 */

import * as fs from 'node:fs';
import * as path from 'node:path';

import type { Client, Contact, Event, Person, SnapshotEnd, SnapshotRecord } from './contract';

/** A record as it is at a version. */
export type Image = Client | Person | Contact;

/** A record that is held. */
export interface Held {
  kind: 'client' | 'person' | 'contact';
  practice: string;
  version: number;
  image: Image;
}

/** How far the store has come. */
export interface Place {
  /** What to go on after; empty before the first record of a snapshot. */
  cursor: string;
  /**
   * Everything up to here is applied. The cursor may stand further on, after what the
   * filters left out.
   */
  position: number;
  inSnapshot: boolean;
}

/** What the file holds. */
export interface Content {
  place: Place | null;
  records: Record<string, Held>;
  /** The records of the running snapshot that have come. */
  seen: string[];
}

/** What a batch of events did to the store. */
export interface Applied {
  /** Those that were new. */
  events: number;
  /** Those that had been applied before. */
  duplicates: number;
}

interface Named {
  kind: Held['kind'];
  image: Image;
}

/** Applies what the feed says. One process has it open at a time. */
export class Store {
  private place_: Place | null;
  private readonly records: Map<string, Held>;
  private readonly seen: Set<string>;

  constructor(private readonly file: string) {
    const content = read(file);
    this.place_ = content.place;
    this.records = new Map(Object.entries(content.records));
    this.seen = new Set(content.seen);
  }

  /** Where the feed goes on; null when nothing was heard yet. */
  get place(): Place | null {
    return this.place_;
  }

  /**
   * The place is of no use any longer: everything is to be read anew. The records
   * stay until the new snapshot has replaced them.
   */
  forgetPlace(): void {
    this.place_ = null;
    this.commit();
  }

  /**
   * A fresh snapshot comes. There is nothing to go on after before its first records
   * are here.
   */
  beginSnapshot(): void {
    this.seen.clear();
    this.place_ = { cursor: '', position: 0, inSnapshot: true };
    this.commit();
  }

  /**
   * A snapshot replaces what is held, whatever its version: after Concord was
   * restored from a backup its versions may be lower than those held.
   */
  applySnapshot(records: SnapshotRecord[], cursor: string): void {
    const place = this.place_;
    const replacing = place?.inSnapshot === true;
    for (const record of records) {
      for (const named of imagesOfRecord(record)) {
        if (replacing) {
          this.keep(record.practiceId, named);
          this.seen.add(named.image.id);
        } else {
          // The end of this snapshot is here already, and only its acknowledgement
          // was lost: what is held may be newer.
          this.keepIfNewer(record.practiceId, named);
        }
      }
    }
    if (replacing) {
      this.place_ = { ...place, cursor };
    }
    this.commit();
  }

  /** What was not in the snapshot is gone. Says how many records that were. */
  endSnapshot(end: SnapshotEnd): number {
    if (this.place_?.inSnapshot !== true) {
      return 0;
    }
    const gone = [...this.records.keys()].filter((id) => !this.seen.has(id));
    for (const id of gone) {
      this.records.delete(id);
    }
    this.seen.clear();
    this.place_ = { cursor: end.cursor, position: end.position, inSnapshot: false };
    this.commit();
    return gone.length;
  }

  /** Applies the events that are new, and moves the place with them. */
  applyEvents(events: Event[], cursor: string): Applied {
    const known = this.place_?.position ?? 0;
    const fresh = events.filter((event) => event.position > known);
    for (const event of fresh) {
      this.apply(event);
    }
    const last = fresh.at(-1);
    if (last !== undefined) {
      this.place_ = { cursor, position: last.position, inSnapshot: false };
      this.commit();
    }
    return { events: fresh.length, duplicates: events.length - fresh.length };
  }

  /**
   * Everything up to the cursor was left out by the filters. A reader that hears
   * little must move on all the same, or its cursor grows too old.
   */
  moveOn(cursor: string, position: number): void {
    const place = this.place_;
    if (place !== null && !place.inSnapshot && position > place.position) {
      this.place_ = { cursor, position, inSnapshot: false };
      this.commit();
    }
  }

  private apply(event: Event): void {
    for (const named of imagesOfEvent(event)) {
      this.keepIfNewer(event.practiceId, named);
    }
    if (event.kind === 'CHANGE_KIND_PURGED') {
      this.records.delete(event.recordId);
    }
  }

  private keepIfNewer(practice: string, named: Named): void {
    // An image is the record as it was when the event was sent, which may be newer
    // than the change. Its own version says what it is.
    const held = this.records.get(named.image.id);
    if (held === undefined || held.version < named.image.version) {
      this.keep(practice, named);
    }
  }

  private keep(practice: string, { kind, image }: Named): void {
    this.records.set(image.id, { kind, practice, version: image.version, image });
  }

  private commit(): void {
    write(this.file, {
      place: this.place_,
      records: Object.fromEntries(this.records),
      seen: [...this.seen],
    });
  }
}

/** What a store's file holds; nothing when there is no file. */
export function read(file: string): Content {
  if (!fs.existsSync(file)) {
    return { place: null, records: {}, seen: [] };
  }
  return JSON.parse(fs.readFileSync(file, 'utf8')) as Content;
}

/** Replaces a store's file in one step that lasts. */
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
