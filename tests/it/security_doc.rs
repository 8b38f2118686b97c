//! Checks that the table of RPCs and roles in the docs matches the access rules.
//!
//! After a change of the rules, `CONCORD_UPDATE_DOCS=1 cargo test --test it security_doc`
//! updates the table.

use std::{env, fmt::Write as _, fs, path::Path};

use concord_core::access::{CallScope, Role, rule};
use concord_proto::rpc::ALL;

const BEGIN: &str = "<!-- table of roles: written by tests/it/security_doc.rs -->\n";
const END: &str = "<!-- end of the table of roles -->";

#[test]
fn documented_role_table_matches_access_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let doc = fs::read_to_string(&path).unwrap();
    let (before, rest) = doc.split_once(BEGIN).expect("the beginning of the table");
    let (written, after) = rest.split_once(END).expect("the end of the table");
    if env::var_os("CONCORD_UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
    } else {
        assert_eq!(written, table(), "docs/security.md is out of date");
    }
}

fn table() -> String {
    let mut table = String::from("| Call |");
    for role in Role::ALL {
        write!(table, " {role} |").unwrap();
    }
    table.push_str(" of |\n|---|");
    table.push_str(&":-:|".repeat(Role::ALL.len()));
    table.push_str("---|\n");
    for (rpc, path) in ALL {
        let rule = rule(*rpc);
        let name = path.trim_start_matches("/concord.").replace(".v1.", " ").replace('/', ".");
        write!(table, "| {name} |").unwrap();
        for role in Role::ALL {
            table.push_str(if rule.roles.contains(role) { " ✓ |" } else { "  |" });
        }
        let scope = match rule.scope {
            CallScope::Practice => "one practice",
            CallScope::Product => "one practice, or all of the product's",
        };
        writeln!(table, " {scope} |").unwrap();
    }
    table
}
