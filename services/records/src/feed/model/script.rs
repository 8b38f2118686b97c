//! The statements of a writing transaction.

use super::{
    random::Random,
    rows::{Practice, RecordId, records_of},
    setup::Defect,
    world::World,
};

/// One statement, or a pause before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Pause(usize),
    /// Looks which products hear of a practice.
    Audience(Practice),
    /// Takes a number long before it is needed; only by [`Defect`].
    Reserve,
    Lock(RecordId),
    Write(RecordId),
    Savepoint,
    /// Inserts one row of `feed_change`, which takes its number.
    Number,
    /// Inserts the rows of `feed_pending`.
    Announce,
    /// The same after the commit; only by [`Defect`].
    AnnounceLate,
    RollBackToSavepoint,
    ReleaseSavepoint,
    Commit,
    RollBack,
}

/// So many steps a writer may let pass between two statements.
const LONG: usize = 12;

/// The practice of most transactions, and of most connects, so that they meet.
pub(super) const BUSY: Practice = 1;

/// A transaction by chance.
///
/// Its records are of one practice, and are locked in their order, so that
/// there are no deadlocks. One may be written twice. A slow writer may pause
/// anywhere: with a number of its transaction and one lock, it comes to its next
/// record late.
pub(super) fn write(world: &mut World, is_slow: bool) -> Vec<Statement> {
    let practice = [BUSY, BUSY, BUSY, 2, 3][world.random.below(5)];
    let records = choose_records(&mut world.random, practice);
    let mut script = vec![Statement::Audience(practice)];
    if world.random.once_in(6) {
        with_savepoint(&mut world.random, &mut script, records.clone());
    } else {
        script.extend(writing(&records));
        script.extend(appending(&records));
    }
    let is_given_up = world.random.once_in(14);
    script.push(if is_given_up { Statement::RollBack } else { Statement::Commit });
    if world.has(Defect::NumberedBeforeLock) {
        script.splice(1..1, vec![Statement::Reserve; records.len()]);
    }
    if world.has(Defect::AnnouncedAfterCommit) {
        script.retain(|statement| *statement != Statement::Announce);
        script.extend((!is_given_up).then_some(Statement::AnnounceLate));
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

/// Some of the records are written, and appended to the feed, behind a
/// savepoint; mostly it is rolled back to, and they never were.
fn with_savepoint(random: &mut Random, script: &mut Vec<Statement>, mut records: Vec<RecordId>) {
    // A second change of one record behind the savepoint would get its number
    // before the first.
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

/// `store::changes::append`: after the locks, and before nothing but the commit.
fn appending(records: &[RecordId]) -> impl Iterator<Item = Statement> {
    let announce = (!records.is_empty()).then_some(Statement::Announce);
    std::iter::repeat_n(Statement::Number, records.len()).chain(announce)
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
