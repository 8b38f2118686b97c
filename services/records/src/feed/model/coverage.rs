//! Counts what happened in the schedules. A property that holds proves nothing if no
//! schedule could have violated it.

use std::ops::AddAssign;

macro_rules! coverage {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The number of occurrences of each event.
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct Coverage {
            $($(#[$doc])* pub(super) $name: usize,)+
        }

        impl Coverage {
            /// All counts, by name.
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
    /// Commits of a change after a change with a higher sequence number.
    late_commits,
    rollbacks,
    savepoint_rollbacks,
    savepoints_kept,
    /// Waits of a writer for a record locked by another.
    lock_waits,
    batches,
    /// Batches that left rows to the next batch.
    full_batches,
    /// Waits of a sequencer for the lock on a product's row.
    sequencer_waits,
    sequencer_crashes,
    purges,
    purge_crashes,
    connection_toggles,
    /// Connects that waited for writers that had read the connections before.
    connect_waits,
    /// Connects that were superseded by a disconnect or another connect before they
    /// returned.
    outdated_connects,
    /// Readers whose copy had to be exact because a connect had returned when they
    /// started, and during which writers committed.
    copies_after_connect,
    snapshots,
    /// Snapshots during which writers committed.
    busy_snapshots,
    lost_connections,
    resumed_snapshots,
    /// Connections that were resumed with a cursor before the last applied position.
    old_cursors,
    redeliveries,
    /// Readers that had to restart because a purge removed changes that they had not
    /// read.
    out_of_range,
    restored_backups,
    /// Cursors that a restored backup rejected.
    too_new,
    foreign,
    /// Cursors that a restored backup accepted: the history before the backup is
    /// shared.
    shared_cursors,
    /// Streams that stayed open while a restored backup replaced their database, and
    /// ended.
    replaced_pasts,
}
