//! The names and labels of each enum.

use super::{Row, Term};
use concord_proto::pb::records::{AddressType, ClientType, Jurisdiction, Role, Timeline};

macro_rules! terms {
    ($type:ident, $label:literal: $($variant:ident, $name:literal, $text:literal;)+) => {
        impl Term for $type {
            const LABEL: &'static str = $label;
            const ROWS: &'static [Row<Self>] = &[
                $(Row { term: Self::$variant, name: $name, label: $text },)+
            ];
        }
    };
}

terms! { ClientType, "Client type":
    PrivateLimitedCompany, "PRIVATE_LIMITED_COMPANY", "Private limited company";
    PublicLimitedCompany, "PUBLIC_LIMITED_COMPANY", "Public limited company";
    LimitedLiabilityPartnership, "LIMITED_LIABILITY_PARTNERSHIP", "Limited liability partnership";
    LimitedPartnership, "LIMITED_PARTNERSHIP", "Limited partnership";
    Partnership, "PARTNERSHIP", "Partnership";
    SoleTrader, "SOLE_TRADER", "Sole trader";
    Individual, "INDIVIDUAL", "Individual";
    Trust, "TRUST", "Trust";
    Charity, "CHARITY", "Charity";
    ClubOrSociety, "CLUB_OR_SOCIETY", "Club or society";
    Other, "OTHER", "Other";
}

terms! { Jurisdiction, "Jurisdiction":
    EnglandWales, "ENGLAND_WALES", "England and Wales";
    Scotland, "SCOTLAND", "Scotland";
    NorthernIreland, "NORTHERN_IRELAND", "Northern Ireland";
    Ireland, "IRELAND", "Ireland";
    Other, "OTHER", "Other";
    Jersey, "JERSEY", "Jersey";
    Guernsey, "GUERNSEY", "Guernsey";
    IsleOfMan, "ISLE_OF_MAN", "Isle of Man";
}

terms! { Role, "Role":
    Director, "DIRECTOR", "Director";
    Secretary, "SECRETARY", "Secretary";
    Shareholder, "SHAREHOLDER", "Shareholder";
    Member, "MEMBER", "Member";
    DesignatedMember, "DESIGNATED_MEMBER", "Designated member";
    Partner, "PARTNER", "Partner";
    Trustee, "TRUSTEE", "Trustee";
    Settlor, "SETTLOR", "Settlor";
    Beneficiary, "BENEFICIARY", "Beneficiary";
    Proprietor, "PROPRIETOR", "Proprietor";
    Psc, "PSC", "Person with significant control";
    PayrollContact, "PAYROLL_CONTACT", "Payroll contact";
    AccountsContact, "ACCOUNTS_CONTACT", "Accounts contact";
    Other, "OTHER", "Other";
}

terms! { AddressType, "Address type":
    RegisteredOffice, "REGISTERED_OFFICE", "Registered office";
    Sail, "SAIL", "SAIL address";
    Trading, "TRADING", "Trading address";
    Bank, "BANK", "Bank address";
    Postal, "POSTAL", "Postal address";
    Invoice, "INVOICE", "Invoice address";
    OfficerService, "OFFICER_SERVICE", "Officer's service address";
    Residential, "RESIDENTIAL", "Residential address";
    Other, "OTHER", "Other address";
}

terms! { Timeline, "Timeline":
    RegisteredName, "REGISTERED_NAME", "Registered name";
    TradingName, "TRADING_NAME", "Trading name";
    PersonName, "PERSON_NAME", "Name";
    Address, "ADDRESS", "Address";
}
