//! Generates the statements of a writing transaction.

use super::{
    random::Random,
    rows::{Practice, RecordId, records_of},
    setup::Defect,
    world::World,
};

/// A statement, or a pause before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Pause(usize),
    /// Reads the products that are connected to a practice.
    ReadConnections(Practice),
    /// Takes a sequence number long before it is needed; only with a [`Defect`].
    Reserve,
    Lock(RecordId),
    Write(RecordId),
    Savepoint,
    /// Inserts a row of `feed_change`, which takes its sequence number.
    InsertChange,
    /// Inserts the rows of `feed_pending`.
    InsertPending,
    /// As `InsertPending`, after the commit; only with a [`Defect`].
    InsertPendingLate,
    RollBackToSavepoint,
    ReleaseSavepoint,
    Commit,
    RollBack,
}

/// Maximum number of steps of a pause between two statements.
const LONG: usize = 12;

/// The practice of most transactions and of most connects, so that they interleave.
pub(super) const BUSY: Practice = 1;

/// A random transaction.
///
/// Its records are of one practice and are locked in order, so that it cannot deadlock.
/// A record may be written twice. A slow writer may pause anywhere, so it may lock its
/// next record late, when its transaction already has a number and a lock.
pub(super) fn write(world: &mut World, is_slow: bool) -> Vec<Statement> {
    let practice = [BUSY, BUSY, BUSY, 2, 3][world.random.below(5)];
    let records = choose_records(&mut world.random, practice);
    let mut script = vec![Statement::ReadConnections(practice)];
    if world.random.once_in(6) {
        with_savepoint(&mut world.random, &mut script, records.clone());
    } else {
        script.extend(writing(&records));
        script.extend(appending(&records));
    }
    let is_given_up = world.random.once_in(14);
    script.push(if is_given_up { Statement::RollBack } else { Statement::Commit });
    if world.has(Defect::SeqTakenBeforeLock) {
        script.splice(1..1, vec![Statement::Reserve; records.len()]);
    }
    if world.has(Defect::PendingAfterCommit) {
        script.retain(|statement| *statement != Statement::InsertPending);
        script.extend((!is_given_up).then_some(Statement::InsertPendingLate));
    }
    with_pauses(&mut world.random, &script, is_slow)
}

fn choose_records(random: &mut Random, practice: Practice) -> Vec<RecordId> {
    let among = records_of(practice);
    let count = random.between(1, 3);
    let mut records: Vec<RecordId> =
        (0..count).map(|_| among.start + random.below(among.len())).collect();
    records.sort_unstable();
    records
}

/// Writes and appends some of the records after a savepoint, which is usually rolled
/// back.
fn with_savepoint(random: &mut Random, script: &mut Vec<Statement>, mut records: Vec<RecordId>) {
    // A second change of a record after the savepoint would get its number before the
    // first.
    records.dedup();
    let (before, behind) = records.split_at(random.below(records.len()));
    script.extend(writing(before));
    script.push(Statement::Savepoint);
    script.extend(writing(behind));
    script.extend(appending(behind));
    let is_kept = random.once_in(3);
    script.push(if is_kept { Statement::ReleaseSavepoint } else { Statement::RollBackToSavepoint });
    script.extend(appending(before));
}

fn writing(records: &[RecordId]) -> impl Iterator<Item = Statement> {
    records.iter().flat_map(|record| [Statement::Lock(*record), Statement::Write(*record)])
}

/// `store::changes::append`: after the locks, directly before the commit.
fn appending(records: &[RecordId]) -> impl Iterator<Item = Statement> {
    let insert_pending = (!records.is_empty()).then_some(Statement::InsertPending);
    std::iter::repeat_n(Statement::InsertChange, records.len()).chain(insert_pending)
}

fn with_pauses(random: &mut Random, script: &[Statement], is_slow: bool) -> Vec<Statement> {
    let one_in = if is_slow { 2 } else { 12 };
    let mut paused = Vec::new();
    for statement in script {
        if random.once_in(one_in) {
            paused.push(Statement::Pause(random.between(1, LONG)));
        }
        paused.push(*statement);
    }
    paused
}
