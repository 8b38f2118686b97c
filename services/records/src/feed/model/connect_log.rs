//! Records when a product may trust its copy of a practice's records: `ConnectProduct`
//! has returned, and the product was not disconnected since.

use super::rows::{Connection, PRACTICES, PRODUCTS, Practice, Product};

/// The number of connects and disconnects so far.
pub(super) type Toggles = usize;

/// The practices whose records a product may trust at a point in time: those that are
/// connected, and whose connect has returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trusted([Option<Toggles>; PRACTICES + 1]);

impl Trusted {
    /// Only the practices that have been connected from the start. A reader from the
    /// earliest position does not receive changes made before a later connect.
    pub(super) fn only_always_connected(self) -> Self {
        Self(self.0.map(|toggles| toggles.filter(|toggles| *toggles == 0)))
    }

    pub(super) fn any_by_returned_connect(&self) -> bool {
        (1..=PRACTICES).any(|practice| self.is_by_returned_connect(practice))
    }

    /// True if the practice was connected during the schedule.
    fn is_by_returned_connect(&self, practice: Practice) -> bool {
        self.0[practice].is_some_and(|toggles| toggles > 0)
    }
}

#[derive(Clone, Debug)]
pub(super) struct ConnectLog {
    toggles: [[Toggles; PRACTICES + 1]; PRODUCTS],
    /// The toggle number of the last connect that has returned.
    returned: [[Toggles; PRACTICES + 1]; PRODUCTS],
}

impl ConnectLog {
    /// All connected from the start.
    pub(super) fn new() -> Self {
        let none = [[0; PRACTICES + 1]; PRODUCTS];
        Self { toggles: none, returned: none }
    }

    /// Records a connect or disconnect. Returns its number.
    pub(super) fn toggled(&mut self, connection: Connection) -> Toggles {
        let toggles = &mut self.toggles[connection.product][connection.practice];
        *toggles += 1;
        *toggles
    }

    /// Records that the connect with this number has returned. Returns true if it is
    /// the newest toggle: the product may have been disconnected meanwhile, or
    /// connected again by a call that has not returned.
    pub(super) fn returned(&mut self, connection: Connection, number: Toggles) -> bool {
        let Connection { practice, product } = connection;
        let returned = &mut self.returned[product][practice];
        *returned = number.max(*returned);
        number == self.toggles[product][practice]
    }

    pub(super) fn trusted(&self, product: Product) -> Trusted {
        let (toggles, returned) = (self.toggles[product], self.returned[product]);
        let has_returned = |practice: Practice| toggles[practice] == returned[practice];
        Trusted(std::array::from_fn(|practice| has_returned(practice).then_some(toggles[practice])))
    }

    /// True if a practice that `then` trusts by a returned connect has stayed connected
    /// since.
    pub(super) fn any_holds_by_returned_connect(&self, then: &Trusted, product: Product) -> bool {
        let mut practices =
            (1..=PRACTICES).filter(|practice| then.is_by_returned_connect(*practice));
        practices.any(|practice| self.holds(then, product, practice))
    }

    /// True if the practice, trusted in `then`, has stayed connected since.
    pub(super) fn holds(&self, then: &Trusted, product: Product, practice: Practice) -> bool {
        then.0[practice] == Some(self.toggles[product][practice])
    }
}
