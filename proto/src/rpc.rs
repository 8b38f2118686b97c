//! Every RPC, and the path by which HTTP/2 names it. Generated from the proto files, so
//! that a `match` over [`Rpc`] does not build while an RPC is missing from it.

use std::{collections::HashMap, sync::LazyLock};

include!(concat!(env!("OUT_DIR"), "/rpcs.rs"));

/// The RPC of a request path such as `/concord.records.v1.ClientService/GetClient`.
pub fn rpc_of_path(path: &str) -> Option<Rpc> {
    static BY_PATH: LazyLock<HashMap<&str, Rpc>> =
        LazyLock::new(|| ALL.iter().map(|(rpc, path)| (*path, *rpc)).collect());
    BY_PATH.get(path).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rpc_of_path_finds_known_paths_only() {
        let rpc = rpc_of_path("/concord.records.v1.ClientService/CreateClient");
        assert_eq!(rpc, Some(Rpc::ClientCreateClient));
        assert_eq!(rpc_of_path("/concord.records.v1.ClientService/Create"), None);
    }
}
