"""The product that changes records while the subscriber runs, for the test."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from concord.records.v1 import (
    changes_pb2,
    changes_pb2_grpc,
    clients_pb2,
    clients_pb2_grpc,
    connections_pb2,
    connections_pb2_grpc,
    contacts_pb2,
    contacts_pb2_grpc,
    history_pb2,
    history_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
    support_pb2,
    support_pb2_grpc,
)
from store import Image, as_json

# The server is stopped and killed in this test. A call whose answer was lost is
# retried with the same idempotency key (`request_id`), and takes effect once.
RETRYABLE_CODES = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}
RETRY_TIMEOUT_SECONDS = 60.0
PAGE = 1000


class Product:
    """A connected product of a practice. Not thread-safe."""

    def __init__(
        self, records: str, practice: str, name: str, seed: int = 0, token: str = ""
    ) -> None:
        self.made: list[str] = []
        """The ids of the existing clients that this object created."""
        self.last_change = ""
        self._practice = practice
        self._random = random.Random(f"{practice} {name} {seed}")
        self._prefix = f"{name}{seed}-"
        self._number = 0
        self._metadata = [
            ("x-concord-practice", practice),
            ("x-concord-product", name),
            ("x-concord-roles", "owner"),
        ]
        if token:
            self._metadata.append(("authorization", f"Bearer {token}"))
        options = [("grpc.max_reconnect_backoff_ms", 500)]
        channel = grpc.insecure_channel(records, options=options)
        self.connections = connections_pb2_grpc.ConnectionServiceStub(channel)
        self.clients = clients_pb2_grpc.ClientServiceStub(channel)
        self.persons = people_pb2_grpc.PersonServiceStub(channel)
        self.contacts = contacts_pb2_grpc.ContactServiceStub(channel)
        self.history = history_pb2_grpc.HistoryServiceStub(channel)
        self.support = support_pb2_grpc.SupportServiceStub(channel)
        self.feed = changes_pb2_grpc.ChangeServiceStub(channel)

    def call(self, method: Callable[..., Any], request: Message) -> Any:
        """Calls a method, and retries while the server is unavailable."""
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            setattr(request, "request_id", str(uuid.uuid4()))
        until = time.monotonic() + RETRY_TIMEOUT_SECONDS
        while True:
            try:
                answer = method(request, metadata=self._metadata, timeout=20)
                break
            except grpc.RpcError as error:
                if error.code() not in RETRYABLE_CODES or time.monotonic() > until:
                    raise
                time.sleep(0.1)
        if "change_ids" in answer.DESCRIPTOR.fields_by_name and answer.change_ids:
            self.last_change = answer.change_ids[-1]
        return answer

    def connect(self, product: str) -> None:
        request = connections_pb2.ConnectProductRequest(product=product)
        self.call(self.connections.ConnectProduct, request)

    # Changes.

    def create_client(self) -> str:
        self._number += 1
        answer = self.call(
            self.clients.CreateClient,
            clients_pb2.CreateClientRequest(
                type=clients_pb2.CLIENT_TYPE_SOLE_TRADER,
                client_reference=f"{self._prefix}{self._number}",
                registered_name=clients_pb2.NewName(name=f"Business {self._number}"),
                emails=[self._email()],
            ),
        )
        self.made.append(answer.client.id)
        return str(answer.client.id)

    def create_contact(self, client: str) -> str:
        self._number += 1
        name = history_pb2.PersonName(forename="Robin", surname=f"Person {self._number}")
        answer = self.call(
            self.contacts.CreateContact,
            contacts_pb2.CreateContactRequest(
                client=client,
                person=people_pb2.NewPerson(name=name),
                roles=[contacts_pb2.ContactRole(role=contacts_pb2.ROLE_PROPRIETOR)],
            ),
        )
        return str(answer.contact.id)

    def create_client_with_contact(self) -> None:
        """A client with a person: three records."""
        self.create_contact(self.create_client())

    def make_random_change(self) -> None:
        """Makes one change, or a few related ones, of a record that this object created."""
        if len(self.made) < 5:
            self.create_client_with_contact()
            return
        ways: list[tuple[int, Callable[[str], None]]] = [
            (6, self._update),
            (6, self._rename),
            (2, self._add_contact),
            (2, self._remove_contact),
            (2, self._unlink),
            (1, self._purge),
            (2, lambda _: self.create_client_with_contact()),
        ]
        [(_, way)] = self._random.choices(ways, [weight for weight, _ in ways])
        way(self._random.choice(self.made))

    def _link(self, client: str) -> None:
        self.call(self.clients.LinkClient, clients_pb2.LinkClientRequest(client=client))

    def _update(self, client: str) -> None:
        stored = self._get(client)
        self.call(
            self.clients.UpdateClient,
            clients_pb2.UpdateClientRequest(
                client=client,
                fields=clients_pb2.ClientFields(emails=[self._email()]),
                update_mask=FieldMask(paths=["emails"]),
                etag=stored.etag,
            ),
        )

    def _rename(self, client: str) -> None:
        """Adds a trading name, or corrects the existing one."""
        name = f"Trading {self._random.getrandbits(40)}"
        line = history_pb2.TIMELINE_TRADING_NAME
        entries = [entry for entry in self._get(client).entries if entry.timeline == line]
        if not entries:
            request = history_pb2.AddEntryRequest(record=client, timeline=line, name=name)
            self.call(self.history.AddEntry, request)
            return
        self.call(
            self.history.CorrectEntry,
            history_pb2.CorrectEntryRequest(
                entry=entries[-1].id, fields=["value"], name=name, etag=entries[-1].etag
            ),
        )

    def _add_contact(self, client: str) -> None:
        self.create_contact(client)

    def _remove_contact(self, client: str) -> None:
        contacts = self.contacts_of(client)
        if contacts:
            self.call(
                self.contacts.RemoveContact,
                contacts_pb2.RemoveContactRequest(contact=contacts[0].id, etag=contacts[0].etag),
            )

    def _unlink(self, client: str) -> None:
        """Orphans a client, and usually restores it."""
        self.call(self.clients.UnlinkClient, clients_pb2.UnlinkClientRequest(client=client))
        if self._random.random() < 0.7:
            self._link(client)
        else:
            self.made.remove(client)

    def _purge(self, client: str) -> None:
        self.made.remove(client)
        self.call(self.clients.UnlinkClient, clients_pb2.UnlinkClientRequest(client=client))
        request = support_pb2.PurgeNowRequest(record=client, reason="a test")
        self.call(self.support.PurgeNow, request)

    def _get(self, client: str) -> clients_pb2.Client:
        request = clients_pb2.GetClientRequest(client=client)
        answer: clients_pb2.GetClientResponse = self.call(self.clients.GetClient, request)
        return answer.client

    def _email(self) -> str:
        return f"mail-{self._random.getrandbits(40)}@example.org"

    # Reads.

    def contacts_of(self, client: str) -> list[contacts_pb2.Contact]:
        request = contacts_pb2.ListContactsRequest(client=client, page_size=PAGE)
        return [both.contact for both in self.call(self.contacts.ListContacts, request).contacts]

    def all_records(self) -> dict[str, tuple[int, str]]:
        """Every record of the practice by the API: its version and its JSON."""
        clients = self._pages(
            self.clients.ListClients,
            clients_pb2.ListClientsRequest(page_size=PAGE, show_orphaned=True),
            "clients",
        )
        persons = self._pages(
            self.persons.ListPersons,
            people_pb2.ListPersonsRequest(page_size=PAGE, show_orphaned=True),
            "persons",
        )
        contacts = [one for client in clients for one in self.contacts_of(client.id)]
        records: list[Image] = [*clients, *persons, *contacts]
        return {record.id: (record.version, as_json(record)) for record in records}

    def subscription(self, name: str) -> changes_pb2.Subscription:
        request = changes_pb2.GetSubscriptionRequest(subscription=name)
        answer: changes_pb2.GetSubscriptionResponse = self.call(self.feed.GetSubscription, request)
        return answer.subscription

    def trace(self, change: str, product: str) -> support_pb2.ProductTrace:
        """The trace of the delivery of a change to a product."""
        request = support_pb2.TraceChangeRequest(change=change, product=product)
        answer: support_pb2.TraceChangeResponse = self.call(self.support.TraceChange, request)
        return answer.changes[0].products[0]

    def current_cursor(self) -> str:
        """A valid cursor of this product's own feed."""
        request = changes_pb2.SubscribeRequest(start_from=changes_pb2.START_FROM_NOW)
        stream = self.feed.Subscribe(request, metadata=self._metadata)
        try:
            return str(next(stream).handshake.cursor)
        finally:
            stream.cancel()

    def _pages(self, method: Callable[..., Any], request: Any, field: str) -> list[Any]:
        found: list[Any] = []
        while True:
            answer = self.call(method, request)
            found.extend(getattr(answer, field))
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token
