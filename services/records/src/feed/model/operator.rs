//! Who connects products to practices, disconnects them, and takes a backup: the
//! steps of a connect are those of `service::connections`.

use super::{
    connects::Toggles,
    rows::{CONSTANT_PRODUCT, Connection, PRODUCTS},
    script::BUSY,
    setup::Defect,
    transactions::TransactionId,
    world::{Backup, Step, World},
};

#[derive(Debug)]
enum At {
    Wait(usize),
    /// A product was connected, the transaction is committed: finds those that
    /// have looked, perhaps before.
    FindLooks(Connecting),
    /// Then waits until they have ended.
    WaitForLooks(Connecting, Vec<TransactionId>),
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
                return Step::Waited;
            }
            At::FindLooks(connecting) => {
                let looks = world.database.open_looks();
                world.coverage.connect_waits += usize::from(!looks.is_empty());
                self.at = At::WaitForLooks(*connecting, looks);
            }
            At::WaitForLooks(connecting, looks) => {
                let open = world.database.open_looks();
                looks.retain(|look| open.contains(look));
                if !looks.is_empty() {
                    return Step::Waited;
                }
                let connecting = *connecting;
                self.answer(world, connecting);
            }
        }
        Step::Worked
    }

    fn begin(&mut self, world: &mut World) -> Step {
        self.rest(world);
        if self.toggles_left > 0 {
            self.toggles_left -= 1;
            self.toggle(world);
        } else if self.takes_backup {
            self.takes_backup = false;
            let (database, witness) = (world.database.clone(), world.witness.of_backup());
            world.backup = Some(Backup { database, witness });
            world.say(|| "operator: takes a backup".to_owned());
        } else {
            return Step::Finished;
        }
        Step::Worked
    }

    fn rest(&mut self, world: &mut World) {
        self.at = At::Wait(world.random.between(1, 25));
    }

    fn toggle(&mut self, world: &mut World) {
        let practice = [BUSY, BUSY, 2, 3][world.random.below(4)];
        let product = world.random.between(CONSTANT_PRODUCT + 1, PRODUCTS - 1);
        let connection = Connection { practice, product };
        let transaction = world.database.begin();
        let is_connected = world.database.toggle(transaction, connection);
        world.database.commit(transaction);
        let toggles = world.witness.connects.toggled(connection);
        world.coverage.connection_toggles += 1;
        let what = if is_connected { "connects" } else { "disconnects" };
        world.say(|| format!("operator: {what} {connection:?}"));
        let connecting = Connecting { connection, toggles };
        if is_connected && world.has(Defect::AnsweredAtOnce) {
            self.answer(world, connecting);
        } else if is_connected {
            self.at = At::FindLooks(connecting);
        }
    }

    fn answer(&mut self, world: &mut World, connecting: Connecting) {
        let Connecting { connection, toggles } = connecting;
        let is_newest = world.witness.connects.answered(connection, toggles);
        world.coverage.outdated_answers += usize::from(!is_newest);
        world.say(|| format!("operator: has connected {connection:?}"));
        self.rest(world);
    }
}
