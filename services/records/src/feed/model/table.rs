//! Rows with the transactions that inserted and deleted them, as in PostgreSQL (`xmin`
//! and `xmax`).

use super::transactions::{TransactionId, Transactions};

#[derive(Clone, Debug)]
struct Row<T> {
    value: T,
    made_by: TransactionId,
    removed_by: Option<TransactionId>,
}

/// A table. Dead rows stay until a vacuum.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    rows: Vec<Row<T>>,
}

impl<T: Copy> Table<T> {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    pub(super) fn insert(&mut self, by: TransactionId, value: T) {
        self.rows.push(Row { value, made_by: by, removed_by: None });
    }

    /// The rows that a statement sees. `viewer` is its transaction, if it writes. The
    /// last inserted row comes first, because it is usually the one that is searched
    /// for.
    pub(super) fn seen<'a>(
        &'a self,
        transactions: &'a Transactions,
        viewer: Option<TransactionId>,
    ) -> impl Iterator<Item = &'a T> {
        let seen = move |row: &&Row<T>| row.is_seen(transactions, viewer);
        self.rows.iter().rev().filter(seen).map(|row| &row.value)
    }

    /// Deletes the rows that `by` sees and `which` selects.
    pub(super) fn remove(
        &mut self,
        transactions: &Transactions,
        by: TransactionId,
        which: impl Fn(&T) -> bool,
    ) {
        for row in &mut self.rows {
            if which(&row.value) && row.is_seen(transactions, Some(by)) {
                row.removed_by = Some(by);
            }
        }
    }

    /// Updates the rows that `by` sees and `which` selects.
    pub(super) fn update(
        &mut self,
        transactions: &Transactions,
        by: TransactionId,
        which: impl Fn(&T) -> bool,
        change: impl Fn(&mut T),
    ) {
        let chosen = |row: &&mut Row<T>| which(&row.value) && row.is_seen(transactions, Some(by));
        let mut made = Vec::new();
        for row in self.rows.iter_mut().filter(chosen) {
            row.removed_by = Some(by);
            let mut value = row.value;
            change(&mut value);
            made.push(Row { value, made_by: by, removed_by: None });
        }
        self.rows.extend(made);
    }

    /// All rows that were ever committed, including deleted ones.
    pub(super) fn committed<'a>(
        &'a self,
        transactions: &'a Transactions,
    ) -> impl Iterator<Item = &'a T> {
        let is_committed = |row: &&Row<T>| transactions.is_committed(row.made_by);
        self.rows.iter().filter(is_committed).map(|row| &row.value)
    }

    /// The rows that one transaction inserted.
    pub(super) fn made_by(&self, transaction: TransactionId) -> impl Iterator<Item = &T> {
        self.rows.iter().filter(move |row| row.made_by == transaction).map(|row| &row.value)
    }

    /// Removes the rows that no statement can see any longer.
    pub(super) fn vacuum(&mut self, transactions: &Transactions) {
        self.rows.retain(|row| {
            let removed = row.removed_by.is_some_and(|by| transactions.is_committed(by));
            !removed && !transactions.is_aborted(row.made_by)
        });
    }
}

impl<T> Row<T> {
    fn is_seen(&self, transactions: &Transactions, viewer: Option<TransactionId>) -> bool {
        transactions.counts(self.made_by, viewer)
            && !self.removed_by.is_some_and(|by| transactions.counts(by, viewer))
    }
}
