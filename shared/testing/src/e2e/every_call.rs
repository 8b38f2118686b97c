//! A valid request for every RPC, which names records of a practice. An authorised
//! caller gets an answer. Requests that support `validate_only` are dry runs.

use bytes::Bytes;
use concord_proto::{
    pb::{
        imports::{
            BatchHeader, CancelImportRequest, CommitImportRequest, CreateImportRequest,
            DownloadFailuresRequest, FailuresFormat, GetBatchRequest, GetImportRequest,
            ListFailuresRequest, ListImportsRequest, ListPossibleDuplicatesRequest,
            RetryImportRequest, SealImportRequest, UploadBatchRequest, WatchImportRequest,
            upload_batch_request::Part,
        },
        internal::{
            ApplyChunkRequest, KeepSupportReadRequest, ListErasuresRequest, ResolveLinksRequest,
            SourceKey,
        },
        records::{
            AcknowledgeRequest, AddEntryRequest, AddPastEntryRequest, AddRoleRequest, AddressType,
            BatchGetClientsRequest, CancelScheduledEntryRequest, Client, ClientFields,
            ConnectProductRequest, Contact, CorrectEntryRequest, CreateClientRequest,
            CreateContactRequest, CreatePersonRequest, DeleteSubscriptionRequest,
            DisconnectProductRequest, EndEntryRequest, EndRoleRequest, Entry, GetClientRequest,
            GetContactRequest, GetPersonRequest, GetRecordSummaryRequest, GetSubscriptionRequest,
            LinkClientRequest, LinkPersonRequest, ListAuditEntriesRequest, ListClientLinksRequest,
            ListClientsRequest, ListConnectionsRequest, ListContactsRequest, ListEntriesRequest,
            ListPersonsRequest, ListSubscriptionsRequest, ListSupportReadsRequest, NewAddress,
            Person, PersonFields, RemoveContactRequest, RescindEntryRequest, SearchRecordsRequest,
            StartFrom, SubscribeRequest, Timeline, TraceChangeRequest, UnlinkClientRequest,
            UnlinkPersonRequest, UpdateClientRequest, UpdateContactRequest, UpdatePersonRequest,
            UpdateRoleRequest, correct_entry_request, create_contact_request::Who,
            list_contacts_request::Of,
        },
    },
    rpc::Rpc,
};
use prost::Message;

use super::{
    caller::{Caller, request_id},
    records::{
        address_entry, appoint, cancel, company, contact_request, correction, create, director,
        end, entries, house, mask, name_entry, new_person, past_address_entry, purge_request,
        removal, rescission, trading,
    },
};

/// The records of a practice that requests name.
pub struct Targets {
    pub client: Client,
    pub contact: Contact,
    pub person: Person,
    /// The current trading address.
    address: Entry,
    /// A trading address that starts next month.
    scheduled: Entry,
    /// The current postal address, without a successor.
    office: Entry,
    pub change: String,
    pub import: String,
}

/// A name that no other record has.
pub const NAME: &str = "Quagmire Holdings Limited";
/// The name of a subscription that no test creates.
const SUBSCRIPTION: &str = "ledger";

impl Targets {
    /// Creates them in the practice of the callers.
    pub async fn of(records: &Caller, imports: &Caller) -> Self {
        let office = NewAddress {
            r#type: AddressType::Postal.into(),
            ..trading("3 Quag Lane", "2015-01-01", "")
        };
        let addresses = vec![trading("1 Quag Lane", "2015-01-01", ""), office];
        let request = CreateClientRequest { addresses, ..company("QUAG01", NAME) };
        let client = create(records, request).await;
        let (contact, person) = appoint(records, &client.id, "Quinta", "Quagmire").await;
        let addresses = entries(records, &client.id, Timeline::Address).await;
        let of_type = |kind| addresses.iter().find(|entry| entry.address_type() == kind).unwrap();
        let (address, office) = (of_type(AddressType::Trading), of_type(AddressType::Postal));
        let next = address_entry(&client.id, "2 Quag Lane", "2026-04-01", &address.etag);
        let added = records.history().add_entry(next).await.unwrap().into_inner();
        let import = imports.imports().create_import(CreateImportRequest::default()).await;
        let now = entries(records, &client.id, Timeline::Address).await;
        let is = |id: &str| now.iter().find(|entry| entry.id == id).cloned().unwrap();
        let scheduled = added.entry.unwrap().id;
        Self {
            client: super::records::client(records, &client.id).await,
            contact,
            person,
            address: is(&address.id),
            scheduled: is(&scheduled),
            office: is(&office.id),
            change: added.change_ids[0].clone(),
            import: import.unwrap().into_inner().import_job.unwrap().id,
        }
    }

    /// The request for an RPC.
    pub fn request(&self, rpc: Rpc) -> Bytes {
        let message = self.of_records(rpc).or_else(|| self.of_imports(rpc));
        message.unwrap_or_else(|| self.of_support(rpc)).into()
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    fn of_records(&self, rpc: Rpc) -> Option<Vec<u8>> {
        let Self { client: Client { id: client, etag, .. }, contact, person, .. } = self;
        let (client, etag) = (client.clone(), etag.clone());
        let (person_id, person_etag) = (person.id.clone(), person.etag.clone());
        let (contact_id, contact_etag) = (contact.id.clone(), contact.etag.clone());
        let paths = |path: &str| Some(mask(&[path]));
        let (request_id, validate_only) = (request_id(), true);
        let external_id = String::new();
        Some(match rpc {
            Rpc::ClientCreateClient => {
                bytes(&CreateClientRequest { validate_only, ..company("OTHER1", "Other Limited") })
            }
            Rpc::ClientGetClient => bytes(&GetClientRequest { client }),
            Rpc::ClientBatchGetClients => bytes(&BatchGetClientsRequest { clients: vec![client] }),
            Rpc::ClientListClients => bytes(&ListClientsRequest::default()),
            Rpc::ClientUpdateClient => {
                let fields = ClientFields { phones: vec!["0117".into()], ..Default::default() };
                let (fields, update_mask) = (Some(fields), paths("phones"));
                bytes(&UpdateClientRequest {
                    client,
                    fields,
                    update_mask,
                    etag,
                    request_id,
                    validate_only,
                })
            }
            Rpc::ClientLinkClient => {
                bytes(&LinkClientRequest { client, external_id, request_id, validate_only })
            }
            Rpc::ClientUnlinkClient => {
                bytes(&UnlinkClientRequest { client, request_id, validate_only })
            }
            Rpc::ClientListClientLinks => bytes(&ListClientLinksRequest { client }),
            Rpc::PersonCreatePerson => {
                let person = Some(new_person("Otto", "Other"));
                bytes(&CreatePersonRequest { person, external_id, request_id, validate_only })
            }
            Rpc::PersonGetPerson => bytes(&GetPersonRequest { person: person_id }),
            Rpc::PersonListPersons => bytes(&ListPersonsRequest::default()),
            Rpc::PersonUpdatePerson => {
                let fields = PersonFields { phones: vec!["0117".into()], ..Default::default() };
                bytes(&UpdatePersonRequest {
                    person: person_id,
                    fields: Some(fields),
                    update_mask: paths("phones"),
                    etag: person_etag,
                    request_id,
                    validate_only,
                })
            }
            Rpc::PersonLinkPerson => bytes(&LinkPersonRequest {
                person: person_id,
                external_id,
                request_id,
                validate_only,
            }),
            Rpc::PersonUnlinkPerson => {
                bytes(&UnlinkPersonRequest { person: person_id, request_id, validate_only })
            }
            Rpc::ContactCreateContact => {
                let request = contact_request(&client, Who::Person(new_person("Otto", "Other")));
                bytes(&CreateContactRequest { validate_only, ..request })
            }
            Rpc::ContactListContacts => {
                let of = Some(Of::Client(client));
                bytes(&ListContactsRequest { of, ..ListContactsRequest::default() })
            }
            Rpc::ContactGetContact => bytes(&GetContactRequest { contact: contact_id }),
            Rpc::ContactUpdateContact => bytes(&UpdateContactRequest {
                contact: contact_id,
                is_primary: true,
                etag: contact_etag,
                request_id,
                validate_only,
            }),
            Rpc::ContactAddRole => bytes(&AddRoleRequest {
                contact: contact_id,
                role: Some(director()),
                etag: contact_etag,
                request_id,
                validate_only,
            }),
            Rpc::ContactUpdateRole => bytes(&UpdateRoleRequest {
                contact: contact_id,
                number: 1,
                role: Some(director()),
                etag: contact_etag,
                request_id,
                validate_only,
            }),
            Rpc::ContactEndRole => bytes(&EndRoleRequest {
                contact: contact_id,
                number: 1,
                resigned_on: "2026-02-01".into(),
                etag: contact_etag,
                request_id,
                validate_only,
            }),
            Rpc::ContactRemoveContact => {
                bytes(&RemoveContactRequest { validate_only, ..removal(contact) })
            }
            Rpc::HistoryListEntries => bytes(&ListEntriesRequest {
                record: client,
                timeline: Timeline::Address.into(),
                ..ListEntriesRequest::default()
            }),
            Rpc::HistoryAddEntry => {
                let request = name_entry(&client, "Quag Limited", "2026-02-01", &self.name_etag());
                bytes(&AddEntryRequest { validate_only, ..request })
            }
            Rpc::HistoryAddPastEntry => {
                let request =
                    past_address_entry(&client, "0 Quag Lane", "2012-01-01", "2013-01-01");
                bytes(&AddPastEntryRequest { validate_only, etag, ..request })
            }
            Rpc::HistoryCorrectEntry => {
                let value = Some(correct_entry_request::Value::Address(house("1 Quagg Lane")));
                let request = correction(&self.address, &["value"]);
                bytes(&CorrectEntryRequest { validate_only, value, ..request })
            }
            Rpc::HistoryEndEntry => {
                bytes(&EndEntryRequest { validate_only, ..end(&self.office, "2026-02-01") })
            }
            Rpc::HistoryCancelScheduledEntry => {
                bytes(&CancelScheduledEntryRequest { validate_only, ..cancel(&self.scheduled) })
            }
            Rpc::HistoryRescindEntry => {
                let request = rescission(&self.address, "never true");
                bytes(&RescindEntryRequest { validate_only, ..request })
            }
            _ => return None,
        })
    }

    fn name_etag(&self) -> String {
        let names = self.client.entries.iter();
        let mut names = names.filter(|entry| entry.timeline() == Timeline::RegisteredName);
        names.next().map(|entry| entry.etag.clone()).unwrap()
    }

    fn of_support(&self, rpc: Rpc) -> Vec<u8> {
        let record = self.client.id.clone();
        let subscription = SUBSCRIPTION.to_owned();
        match rpc {
            Rpc::ConnectionConnectProduct => {
                bytes(&ConnectProductRequest { product: "spare".into() })
            }
            Rpc::ConnectionDisconnectProduct => {
                bytes(&DisconnectProductRequest { product: "spare".into() })
            }
            Rpc::ConnectionListConnections => bytes(&ListConnectionsRequest {}),
            Rpc::ChangeSubscribe => bytes(&SubscribeRequest {
                start_from: StartFrom::Earliest.into(),
                ..SubscribeRequest::default()
            }),
            Rpc::ChangeAcknowledge => {
                bytes(&AcknowledgeRequest { subscription, cursor: "none".into() })
            }
            Rpc::ChangeGetSubscription => bytes(&GetSubscriptionRequest { subscription }),
            Rpc::ChangeListSubscriptions => bytes(&ListSubscriptionsRequest::default()),
            Rpc::ChangeDeleteSubscription => bytes(&DeleteSubscriptionRequest { subscription }),
            Rpc::SupportSearchRecords => bytes(&SearchRecordsRequest {
                query: "quagmire".into(),
                ..SearchRecordsRequest::default()
            }),
            Rpc::SupportGetRecordSummary => bytes(&GetRecordSummaryRequest { record }),
            Rpc::SupportTraceChange => bytes(&TraceChangeRequest {
                change: self.change.clone(),
                ..TraceChangeRequest::default()
            }),
            Rpc::SupportListAuditEntries => {
                bytes(&ListAuditEntriesRequest { record, ..ListAuditEntriesRequest::default() })
            }
            Rpc::SupportPurgeNow => bytes(&purge_request(&record, "asked for")),
            Rpc::SupportListSupportReads => bytes(&ListSupportReadsRequest::default()),
            Rpc::IngestKeepSupportRead => bytes(&KeepSupportReadRequest {
                rpc: "concord.imports.v1.ImportService/ListImports".into(),
                reason: "ticket 4711".into(),
                record_ids: vec!["imp_1".into()],
            }),
            Rpc::IngestListErasures => bytes(&ListErasuresRequest::default()),
            Rpc::IngestApplyChunk => bytes(&ApplyChunkRequest::default()),
            Rpc::IngestResolveLinks => {
                bytes(&ResolveLinksRequest { keys: vec![SourceKey::default()] })
            }
            other => panic!("no request for {other:?}: add one"),
        }
    }

    fn of_imports(&self, rpc: Rpc) -> Option<Vec<u8>> {
        let import_id = self.import.clone();
        Some(match rpc {
            Rpc::ImportCreateImport => bytes(&CreateImportRequest::default()),
            Rpc::ImportUploadBatch => {
                let batch_key = "b1".to_owned();
                let header = BatchHeader { import_id, batch_key, ..BatchHeader::default() };
                bytes(&UploadBatchRequest { part: Some(Part::Header(header)) })
            }
            Rpc::ImportGetBatch => bytes(&GetBatchRequest { import_id, batch_key: "b1".into() }),
            Rpc::ImportSealImport => bytes(&SealImportRequest {
                import_id,
                batch_count: 7,
                record_count: 7,
                ..SealImportRequest::default()
            }),
            Rpc::ImportCommitImport => bytes(&CommitImportRequest { import_id }),
            Rpc::ImportRetryImport => {
                bytes(&RetryImportRequest { import_id, ..RetryImportRequest::default() })
            }
            Rpc::ImportCancelImport => bytes(&CancelImportRequest { import_id }),
            Rpc::ImportListImports => bytes(&ListImportsRequest::default()),
            Rpc::ImportGetImport => bytes(&GetImportRequest { import_id }),
            Rpc::ImportWatchImport => bytes(&WatchImportRequest { import_id }),
            Rpc::ImportListFailures => {
                bytes(&ListFailuresRequest { import_id, ..ListFailuresRequest::default() })
            }
            Rpc::ImportDownloadFailures => {
                let format = FailuresFormat::Csv.into();
                bytes(&DownloadFailuresRequest { import_id, format })
            }
            Rpc::ImportListPossibleDuplicates => {
                let request = ListPossibleDuplicatesRequest::default();
                bytes(&ListPossibleDuplicatesRequest { import_id, ..request })
            }
            _ => return None,
        })
    }
}

fn bytes(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}
