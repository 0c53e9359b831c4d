//! The declarations of the tables of the ledger, and of the table of the stamps.

/// The format of ledger and quarantine. A newer format is rejected.
pub const FORMAT: i64 = 10;

/// The first format with `needledrop_contents`.
pub const WITH_CONTENTS: i64 = 5;

/// The first format with `needledrop_corrections`.
pub const WITH_CORRECTIONS: i64 = 8;

/// The tables of ledger and quarantine, in the order in which they are created. Only the table of the lease is created
/// before all others. If the last table exists, all tables exist.
///
/// Offsets are in decoded bytes. Some columns of `needledrop_deliveries` have several parts:
///
/// - `stamps` is a list of (first record, base, records).
/// - `tables` has (rows, collisions, refused, whether collisions are an estimate, fingerprint of the declaration) by
///   table name.
/// - `older` has the number of records that were older than their row, by table name. Null if there were none.
/// - `tail` is (byte, record, line) of the beginning of an open tail that was loaded.
/// - `ahead` is (bytes, their hash, rules) of the furthest bytes that were sent.
/// - `note` is an open tail before its rows are sent: (byte, record, line) of its beginning and of its end, the hash up
///   to its end, header, rules, bytes.
/// - `lenient` has how often lenient settings acted, as in `comments=2 trimmed=5`. Null if they never did.
/// - `replacement` says, as JSON, how a delivery replaces an earlier generation of its file.
/// - `mirrored_by` is the generation that took the place of an undone delivery.
/// - `written` is the write time of the row.
/// - `trusted` has the last write time of each earlier epoch that wrote the row.
///
/// In `needledrop_quarantine`, `header` is the header of a delivery. It is stored once, beside the quarantined records.
///
/// In `needledrop_corrections`, `stamp` is the first stamp of a correction, `tables` has the ids of the corrected tables by
/// name, and `state` is `open` or `settled`. All are in one partition, so that they are read at once.
pub const LEDGER: [(&str, &str); 9] = [
    (
        "needledrop_deliveries",
        "id bigint PRIMARY KEY, path text, generation int, state text, detail text, same_as bigint, \
         bytes bigint, records bigint, line bigint, hash text, head text, \
         noted_size bigint, noted_mtime bigint, noted_ctime bigint, fingerprint text, attempt text, \
         loaded bigint, skipped bigint, quarantined bigint, taken_up timestamp, changed timestamp, \
         stamps frozen<list<frozen<tuple<bigint, bigint, bigint>>>>, parts frozen<list<bigint>>, \
         tables frozen<map<text, frozen<tuple<bigint, bigint, bigint, boolean, text>>>>, older frozen<map<text, bigint>>, \
         replayed bigint, discarded bigint, assumed bigint, \
         tail frozen<tuple<bigint, bigint, bigint>>, strikes int, ahead frozen<tuple<bigint, text, text>>, \
         note frozen<tuple<bigint, bigint, bigint, bigint, bigint, bigint, text, frozen<list<text>>, text, blob>>, \
         part_count bigint, lenient text, replacement text, mirrored_by int, written bigint, trusted frozen<list<bigint>>",
    ),
    ("needledrop_paths", "path text, generation int, id bigint, PRIMARY KEY (path, generation)"),
    ("needledrop_heads", "head text, id bigint, PRIMARY KEY (head, id)"),
    (
        "needledrop_contents",
        "head text, bytes bigint, hash text, id bigint, PRIMARY KEY ((head, bytes), hash, id)",
    ),
    (
        "needledrop_quarantine",
        "delivery bigint, record bigint, line bigint, bytes bigint, length bigint, column_name text, \
         reason text, detail text, raw blob, state text, header frozen<list<text>> static, \
         PRIMARY KEY (delivery, record)",
    ),
    (
        "needledrop_keys",
        "delivery bigint, table_name text, bytes bigint, hashes blob, \
         PRIMARY KEY (delivery, table_name, bytes)",
    ),
    (
        "needledrop_corrections",
        "name text, stamp bigint, delivery bigint, tables frozen<map<text, text>>, state text, \
         PRIMARY KEY (name, stamp)",
    ),
    (
        "needledrop_lease",
        "name text PRIMARY KEY, holder text, epoch bigint, beat bigint, stamps bigint, tables text",
    ),
    ("needledrop_meta", "key text PRIMARY KEY, value text"),
];

/// Indexes of tables in [`LEDGER`]. The format is recorded in the last table once all tables exist.
pub const CONTENTS: usize = 3;
pub const DELIVERIES: usize = 0;
pub const CORRECTIONS: usize = 6;
pub const LEASE: usize = 7;
pub const META: usize = 8;

/// The table of stamps. All tables in a keyspace get their stamps from it, whichever ledgers write to these tables. It
/// is in the keyspace of the tables, not of the ledger. `next` is the first stamp that is not reserved. `ledgers` has
/// the end of the last block of each ledger, by the name of its keyspace.
pub const STAMPS: (&str, &str) =
    ("needledrop_stamps", "name text PRIMARY KEY, next bigint, ledgers map<text, bigint>");
