//! From when on a product may trust what it holds of a practice: `ConnectProduct`
//! has answered, and the product was not disconnected since.

use super::rows::{Connection, PRACTICES, PRODUCTS, Practice, Product};

/// How often something was connected or disconnected until a moment.
pub(super) type Toggles = usize;

/// What a product may trust at a moment: the practices that it is connected to,
/// by an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trusted([Option<Toggles>; PRACTICES + 1]);

impl Trusted {
    /// Without those that were not connected once: what happened then is told to
    /// nobody who reads from the beginning.
    pub(super) fn of_always(self) -> Self {
        Self(self.0.map(|toggles| toggles.filter(|toggles| *toggles == 0)))
    }

    pub(super) fn is_any_by_answer(&self) -> bool {
        (1..=PRACTICES).any(|practice| self.is_by_answer(practice))
    }

    /// Whether it was connected in the course of the schedule.
    fn is_by_answer(&self, practice: Practice) -> bool {
        self.0[practice].is_some_and(|toggles| toggles > 0)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Connects {
    toggles: [[Toggles; PRACTICES + 1]; PRODUCTS],
    /// The last toggle that was a connect, and was answered.
    answered: [[Toggles; PRACTICES + 1]; PRODUCTS],
}

impl Connects {
    /// With all connected, and answered.
    pub(super) fn new() -> Self {
        let none = [[0; PRACTICES + 1]; PRODUCTS];
        Self { toggles: none, answered: none }
    }

    /// It was connected or disconnected; the number is for the answer.
    pub(super) fn toggled(&mut self, connection: Connection) -> Toggles {
        let toggles = &mut self.toggles[connection.product][connection.practice];
        *toggles += 1;
        *toggles
    }

    /// The connect of this number is answered. It may have been disconnected
    /// meanwhile, or even connected again by somebody who still waits: says whether
    /// it was not.
    pub(super) fn answered(&mut self, connection: Connection, number: Toggles) -> bool {
        let Connection { practice, product } = connection;
        let answered = &mut self.answered[product][practice];
        *answered = number.max(*answered);
        number == self.toggles[product][practice]
    }

    pub(super) fn trusted(&self, product: Product) -> Trusted {
        let (toggles, answered) = (self.toggles[product], self.answered[product]);
        let is_answered = |practice: Practice| toggles[practice] == answered[practice];
        Trusted(std::array::from_fn(|practice| is_answered(practice).then_some(toggles[practice])))
    }

    /// Whether anything of what was trusted then, by an answer, was connected ever
    /// since.
    pub(super) fn hold_by_answer(&self, then: &Trusted, product: Product) -> bool {
        let mut practices = (1..=PRACTICES).filter(|practice| then.is_by_answer(*practice));
        practices.any(|practice| self.holds(then, product, practice))
    }

    /// Whether what was trusted then was connected ever since.
    pub(super) fn holds(&self, then: &Trusted, product: Product, practice: Practice) -> bool {
        then.0[practice] == Some(self.toggles[product][practice])
    }
}
