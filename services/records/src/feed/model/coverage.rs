//! What happened in the schedules: that a property holds says nothing where it
//! was never in danger.

use std::ops::AddAssign;

macro_rules! coverage {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// How often each of these happened.
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct Coverage {
            $($(#[$doc])* pub(super) $name: usize,)+
        }

        impl Coverage {
            /// All of it, by name.
            pub(super) fn counts(&self) -> Vec<(&'static str, usize)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }

        impl AddAssign for Coverage {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

coverage! {
    commits,
    /// Commits of a change after one with a higher number.
    late_commits,
    rollbacks,
    savepoint_rollbacks,
    savepoints_kept,
    /// A writer waited for another's record.
    lock_waits,
    batches,
    /// Batches that left something to the next.
    full_batches,
    /// A sequencer waited for the product's row.
    sequencer_waits,
    sequencer_crashes,
    purges,
    purge_crashes,
    connection_toggles,
    /// A connect was answered only when writers had ended that had looked before.
    connect_waits,
    /// Products were disconnected, or connected by another, before the answer.
    outdated_answers,
    /// Readers whose copy had to be exact as a connect had been answered when they
    /// began, and during which writers committed.
    copies_after_connect,
    snapshots,
    /// Snapshots during which writers committed.
    busy_snapshots,
    lost_connections,
    resumed_snapshots,
    /// Connections that were resumed with a cursor of before what was applied.
    old_cursors,
    redeliveries,
    /// Readers that had to begin anew, as they had missed what was purged.
    out_of_range,
    restored_backups,
    /// Cursors that were presented to a restored backup, and refused.
    too_new,
    foreign,
    /// And accepted: for what is before the backup, they are the same.
    shared_cursors,
    /// Streams that stayed open while a restored backup took the place of their
    /// database, and ended.
    replaced_pasts,
}
