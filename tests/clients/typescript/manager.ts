/** The product that changes records while the subscriber runs, for the test. */

import { randomUUID } from 'node:crypto';

import * as grpc from '@grpc/grpc-js';

import {
  type Client,
  type Contact,
  type Person,
  type ProductTrace,
  type Subscription,
  answer,
  isStatus,
  records,
  sleep,
} from './contract';
import type { Image } from './store';

// The server is stopped and killed in this test. A call whose answer was lost is
// retried with the same idempotency key (`requestId`), and takes effect once.
const RETRYABLE_CODES = new Set([
  grpc.status.ABORTED,
  grpc.status.CANCELLED,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.INTERNAL,
  grpc.status.UNAVAILABLE,
  grpc.status.UNKNOWN,
]);
const RETRY_TIMEOUT_MILLIS = 60_000;
const PAGE = 1000;

/** The last overload of a generated method, the only one that TypeScript infers. */
type Method<Q, A> = (request: Q, callback: grpc.requestCallback<A>) => grpc.ClientUnaryCall;

/** The overload that is called. */
type FullMethod<Q, A> = (
  request: Q,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: grpc.requestCallback<A>,
) => grpc.ClientUnaryCall;

/** A connected product of a practice. It makes one call at a time. */
export class Product {
  /** The ids of the existing clients that this object created. */
  readonly made: string[] = [];
  lastChange = '';
  private number = 0;
  private readonly metadata = new grpc.Metadata();
  private readonly connections;
  private readonly clients;
  private readonly persons;
  private readonly contacts;
  private readonly history;
  private readonly support;
  private readonly feed;

  constructor(
    address: string,
    practice: string,
    private readonly name: string,
    private readonly writer = 0,
    token = '',
  ) {
    if (practice !== '') {
      this.metadata.set('x-concord-practice', practice);
    }
    this.metadata.set('x-concord-product', name);
    this.metadata.set('x-concord-roles', 'owner');
    if (token !== '') {
      this.metadata.set('authorization', `Bearer ${token}`);
    }
    const insecure = grpc.credentials.createInsecure();
    const options = { 'grpc.max_reconnect_backoff_ms': 500 };
    this.connections = new records.ConnectionService(address, insecure, options);
    this.clients = new records.ClientService(address, insecure, options);
    this.persons = new records.PersonService(address, insecure, options);
    this.contacts = new records.ContactService(address, insecure, options);
    this.history = new records.HistoryService(address, insecure, options);
    this.support = new records.SupportService(address, insecure, options);
    this.feed = new records.ChangeService(address, insecure, options);
  }

  async connect(product: string): Promise<void> {
    const { connections } = this;
    await this.call(connections, connections.connectProduct, { product });
  }

  // Changes.

  async createClient(): Promise<string> {
    this.number += 1;
    const created = await this.change(this.clients, this.clients.createClient, {
      type: 'CLIENT_TYPE_SOLE_TRADER',
      clientReference: `${this.name}${this.writer}-${this.number}`,
      registeredName: { name: `Business ${this.number}` },
      emails: [email()],
    });
    const id = created.client?.id ?? '';
    this.made.push(id);
    return id;
  }

  async createContact(client: string): Promise<void> {
    this.number += 1;
    await this.change(this.contacts, this.contacts.createContact, {
      client,
      person: { name: { forename: 'Robin', surname: `Person ${this.number}` } },
      roles: [{ role: 'ROLE_PROPRIETOR' }],
    });
  }

  /** A client with a person: three records. */
  async createClientWithContact(): Promise<void> {
    await this.createContact(await this.createClient());
  }

  /** Makes one change, or a few related ones, of a record that this object created. */
  async makeRandomChange(): Promise<void> {
    const client = this.made[Math.floor(Math.random() * this.made.length)];
    const dice = Math.random();
    if (client === undefined || this.made.length < 5 || dice < 0.1) {
      await this.createClientWithContact();
    } else if (dice < 0.4) {
      await this.update(client);
    } else if (dice < 0.7) {
      await this.rename(client);
    } else if (dice < 0.8) {
      await this.createContact(client);
    } else if (dice < 0.9) {
      await this.removeContact(client);
    } else {
      await this.unlink(client);
    }
  }

  private async update(client: string): Promise<void> {
    const { etag } = await this.get(client);
    await this.change(this.clients, this.clients.updateClient, {
      client,
      fields: { emails: [email()] },
      updateMask: { paths: ['emails'] },
      etag,
    });
  }

  /** Adds a trading name, or corrects the existing one. */
  private async rename(client: string): Promise<void> {
    const name = `Trading ${Math.random()}`;
    const timeline = 'TIMELINE_TRADING_NAME';
    const { entries } = await this.get(client);
    const entry = entries.filter((one) => one.timeline === timeline).at(-1);
    const { history } = this;
    if (entry === undefined) {
      await this.change(history, history.addEntry, { record: client, timeline, name });
    } else {
      await this.change(history, history.correctEntry, {
        entry: entry.id,
        fields: ['value'],
        name,
        etag: entry.etag,
      });
    }
  }

  private async removeContact(client: string): Promise<void> {
    const [contact] = await this.contactsOf(client);
    if (contact !== undefined) {
      await this.change(this.contacts, this.contacts.removeContact, {
        contact: contact.id,
        etag: contact.etag,
      });
    }
  }

  /** Orphans a client; then restores it, leaves it, or purges it. */
  private async unlink(client: string): Promise<void> {
    await this.change(this.clients, this.clients.unlinkClient, { client });
    const dice = Math.random();
    if (dice < 0.5) {
      await this.change(this.clients, this.clients.linkClient, { client });
      return;
    }
    this.made.splice(this.made.indexOf(client), 1);
    if (dice < 0.8) {
      await this.change(this.support, this.support.purgeNow, {
        record: client,
        reason: 'a test',
      });
    }
  }

  // Reads.

  /** Every record of the practice by the API, by its id. */
  async allRecords(): Promise<Map<string, Image>> {
    const clients = await this.listClients();
    const all: Image[] = [...clients, ...(await this.listPersons())];
    for (const client of clients) {
      all.push(...(await this.contactsOf(client.id)));
    }
    return new Map(all.map((record) => [record.id, record]));
  }

  async subscription(subscription: string): Promise<Subscription> {
    const { feed } = this;
    const found = await this.call(feed, feed.getSubscription, { subscription });
    if (found.subscription === null) {
      throw new Error('an answer without its subscription');
    }
    return found.subscription;
  }

  /** The trace of the delivery of a change to a product. */
  async trace(change: string, product: string): Promise<ProductTrace | undefined> {
    const { support } = this;
    const traced = await this.call(support, support.traceChange, { change, product });
    return traced.changes[0]?.products[0];
  }

  /** A valid cursor of this product's own feed. */
  async currentCursor(): Promise<string> {
    const stream = this.feed.subscribe({ startFrom: 'START_FROM_NOW' }, this.metadata);
    stream.on('error', () => undefined);
    for await (const message of stream) {
      stream.cancel();
      return (message as { handshake: { cursor: string } }).handshake.cursor;
    }
    throw new Error('a stream without its handshake');
  }

  private async get(client: string): Promise<Client> {
    const found = await this.call(this.clients, this.clients.getClient, { client });
    if (found.client === null) {
      throw new Error('an answer without its client');
    }
    return found.client;
  }

  private async listClients(): Promise<Client[]> {
    const found: Client[] = [];
    let pageToken = '';
    do {
      const request = { pageSize: PAGE, pageToken, showOrphaned: true };
      const page = await this.call(this.clients, this.clients.listClients, request);
      found.push(...page.clients);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return found;
  }

  private async listPersons(): Promise<Person[]> {
    const found: Person[] = [];
    let pageToken = '';
    do {
      const request = { pageSize: PAGE, pageToken, showOrphaned: true };
      const page = await this.call(this.persons, this.persons.listPersons, request);
      found.push(...page.persons);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return found;
  }

  private async contactsOf(client: string): Promise<Contact[]> {
    const { contacts } = this;
    const request = { client, pageSize: PAGE };
    const page = await this.call(contacts, contacts.listContacts, request);
    return page.contacts.flatMap(({ contact }) => (contact === null ? [] : [contact]));
  }

  private async change<Q extends { requestId?: string }, A extends { changeIds: string[] }>(
    service: grpc.Client,
    method: Method<Q, A>,
    request: Q,
  ): Promise<A> {
    const answered = await this.call(service, method, { ...request, requestId: randomUUID() });
    this.lastChange = answered.changeIds.at(-1) ?? this.lastChange;
    return answered;
  }

  /** Calls a method, and retries while the server is unavailable. */
  private async call<Q, A>(
    service: grpc.Client,
    method: Method<Q, A>,
    request: Q,
  ): Promise<A> {
    const bound = (method as unknown as FullMethod<Q, A>).bind(service);
    const until = Date.now() + RETRY_TIMEOUT_MILLIS;
    for (;;) {
      try {
        const options = { deadline: Date.now() + 20_000 };
        return await answer<A>((callback) => {
          bound(request, this.metadata, options, callback);
        });
      } catch (error) {
        if (!isStatus(error) || !RETRYABLE_CODES.has(error.code) || Date.now() > until) {
          throw error;
        }
        await sleep(100);
      }
    }
  }
}

function email(): string {
  return `mail-${Math.floor(Math.random() * 1e12)}@example.org`;
}
