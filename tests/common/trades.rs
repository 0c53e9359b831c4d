//! The shipped example of trades, and what every store must answer about them.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::common::{World, files};

/// Returns the configuration of the example.
pub fn example() -> String {
    std::fs::read_to_string(root().join("config/examples/trades.yaml")).unwrap()
}

/// Copies the files of the example into the inbox.
pub fn copy_in(world: &World) {
    world.copy_in(&files(&root().join("data/trades")));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Loads the trades, and asks the questions that their tables are declared for.
pub fn assert_answers(world: &World) {
    let check = world.run(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    let summary = world.once(0);
    assert_eq!(summary["deliveries"], json!({ "loaded": 2 }));
    assert_eq!(summary["records"], json!({ "read": 41, "loaded": 41, "skipped": 0, "quarantined": 0 }));

    // The newest trade is first. Two trades in the same millisecond are ordered by id. Amounts are stored as they
    // were written.
    let rows = world.query("trades_by_symbol", &["symbol=NDRP", "day=2026-03-02"]);
    let row = |at: &str, id: u32, side: &str, price: &str, quantity: &str, fee: &str, venue: &str| {
        json!(["NDRP", "2026-03-02", format!("2026-03-02T{at}Z"), id, side, price, quantity, fee, venue])
    };
    let expected = json!([
        row("15:34:25.555", 900_151, "sell", "40.71", "10", "0.37", "XQUA"),
        row("15:13:29.900", 900_148, "sell", "40.89", "40", "1.47", "XQUA"),
        row("13:11:46.268", 900_139, "buy", "40.80", "10", "0.37", "Dark Pool, Nord"),
        row("13:01:26.454", 900_131, "buy", "41.37", "1000", "37.23", "Dark Pool, Nord"),
        row("11:42:25.115", 900_121, "sell", "41.67", "250", "9.38", "XQUA"),
        row("11:42:25.115", 900_117, "sell", "41.67", "10", "0.38", "XNDL"),
        row("11:09:53.822", 900_111, "sell", "40.72", "40", "1.47", "XNDL"),
        row("09:45:42.232", 900_107, "buy", "40.77", "250", "9.17", "XQUA"),
    ]);
    assert_eq!(json!(rows), expected);

    // A trade that was reported late: `trades_by_symbol` has it under its own day, `trades_by_account` under the day
    // of its file.
    let late = ["symbol=LARK", "day=2026-03-02", "executedAt=2026-03-02T16:59:58.412Z"];
    assert_eq!(world.query("trades_by_symbol", &late)[0][3], 900_159);
    let account = world.query("trades_by_account", &["account=A-1012", "file_day=2026-03-03"]);
    let ids: Vec<_> = account.iter().map(|row| row[3].clone()).collect();
    assert_eq!(ids.last().unwrap(), &json!(900_159), "{ids:?}");

    // No fee was charged, so the column is empty.
    let free = ["symbol=LARK", "day=2026-03-02", "executedAt=2026-03-02T11:31:26.202Z"];
    assert_eq!(world.query("trades_by_symbol", &free)[0][7], Json::Null);
}
