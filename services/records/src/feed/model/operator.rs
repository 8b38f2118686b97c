//! Connects and disconnects products, and takes a backup. The steps of a connect are
//! those of `service::connections`.

use super::{
    connect_log::Toggles,
    rows::{CONSTANT_PRODUCT, Connection, PRODUCTS},
    script::BUSY,
    setup::Defect,
    transactions::TransactionId,
    world::{Backup, Step, World},
};

#[derive(Debug)]
enum At {
    Wait(usize),
    /// The transaction that connects a product has committed. Finds the transactions
    /// that have read the connections, maybe before.
    FindReaders(Connecting),
    /// Waits until they have ended.
    WaitForReaders(Connecting, Vec<TransactionId>),
}

#[derive(Clone, Copy, Debug)]
struct Connecting {
    connection: Connection,
    toggles: Toggles,
}

#[derive(Debug)]
pub(super) struct Operator {
    toggles_left: usize,
    takes_backup: bool,
    at: At,
}

impl Operator {
    pub(super) fn new(toggles: usize, takes_backup: bool) -> Self {
        Self { toggles_left: toggles, takes_backup, at: At::Wait(10) }
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        match &mut self.at {
            At::Wait(0) => return self.begin(world),
            At::Wait(steps) => {
                *steps -= 1;
                return Step::Waiting;
            }
            At::FindReaders(connecting) => {
                let readers = world.database.open_readers();
                world.coverage.connect_waits += usize::from(!readers.is_empty());
                self.at = At::WaitForReaders(*connecting, readers);
            }
            At::WaitForReaders(connecting, readers) => {
                let open = world.database.open_readers();
                readers.retain(|reader| open.contains(reader));
                if !readers.is_empty() {
                    return Step::Waiting;
                }
                let connecting = *connecting;
                self.finish_connect(world, connecting);
            }
        }
        Step::Progressed
    }

    fn begin(&mut self, world: &mut World) -> Step {
        self.schedule_next(world);
        if self.toggles_left > 0 {
            self.toggles_left -= 1;
            self.toggle(world);
        } else if self.takes_backup {
            self.takes_backup = false;
            let (database, observer) = (world.database.clone(), world.observer.of_backup());
            world.backup = Some(Backup { database, observer });
            world.log_step(|| "operator: takes a backup".to_owned());
        } else {
            return Step::Finished;
        }
        Step::Progressed
    }

    fn schedule_next(&mut self, world: &mut World) {
        self.at = At::Wait(world.random.between(1, 25));
    }

    fn toggle(&mut self, world: &mut World) {
        let practice = [BUSY, BUSY, 2, 3][world.random.below(4)];
        let product = world.random.between(CONSTANT_PRODUCT + 1, PRODUCTS - 1);
        let connection = Connection { practice, product };
        let transaction = world.database.begin();
        let is_connected = world.database.toggle(transaction, connection);
        world.database.commit(transaction);
        let toggles = world.observer.connects.toggled(connection);
        world.coverage.connection_toggles += 1;
        let what = if is_connected { "connects" } else { "disconnects" };
        world.log_step(|| format!("operator: {what} {connection:?}"));
        let connecting = Connecting { connection, toggles };
        if is_connected && world.has(Defect::ConnectDoesNotWait) {
            self.finish_connect(world, connecting);
        } else if is_connected {
            self.at = At::FindReaders(connecting);
        }
    }

    fn finish_connect(&mut self, world: &mut World, connecting: Connecting) {
        let Connecting { connection, toggles } = connecting;
        let is_newest = world.observer.connects.returned(connection, toggles);
        world.coverage.outdated_connects += usize::from(!is_newest);
        world.log_step(|| format!("operator: has connected {connection:?}"));
        self.schedule_next(world);
    }
}
