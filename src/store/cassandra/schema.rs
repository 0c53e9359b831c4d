//! DDL from the plan, and the comparison with what is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use scylla::client::session::Session;
use scylla::policies::load_balancing::{
    LoadBalancingPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy,
};
use scylla::value::{CqlTimestamp, Row};

use super::request;
use crate::domain::{Column, Order, Plan, Table};
use crate::store::StoreError;
use crate::store::cassandra::settings::Settings;
use crate::store::failpoint;

/// The layout of ledger and quarantine; a newer one is refused.
pub const FORMAT: i64 = 5;

/// The first format with `needledrop_contents`.
const WITH_CONTENTS: i64 = 5;

/// Ledger and quarantine, in the order in which they are made: who has seen the last has seen all.
/// Offsets are in decoded bytes; `stamps` is a list of (first record, base, records); `tables` by name
/// (rows, collisions, refused, whether collisions are an estimate, fingerprint of the declaration);
/// `tail` is (byte, record, line) of the beginning of an open tail that was loaded; `ahead` is (bytes, their hash,
/// rules) of what was handed out; `note` is an open tail before its rows are sent: (byte, record, line) where it begins
/// and where it ends, hash up to its end, header, rules, bytes; `written` is the
/// write time of the row, `trusted` the last one of each earlier epoch that wrote it; `header` is that of a delivery, kept once beside its quarantined records.
pub const LEDGER: [(&str, &str); 8] = [
    (
        "needledrop_deliveries",
        "id bigint PRIMARY KEY, path text, generation int, state text, detail text, same_as bigint, \
         bytes bigint, records bigint, line bigint, hash text, head text, \
         noted_size bigint, noted_mtime bigint, noted_ctime bigint, fingerprint text, attempt text, \
         loaded bigint, skipped bigint, quarantined bigint, taken_up timestamp, changed timestamp, \
         stamps frozen<list<frozen<tuple<bigint, bigint, bigint>>>>, parts frozen<list<bigint>>, \
         tables frozen<map<text, frozen<tuple<bigint, bigint, bigint, boolean, text>>>>, \
         replayed bigint, discarded bigint, assumed bigint, \
         tail frozen<tuple<bigint, bigint, bigint>>, strikes int, ahead frozen<tuple<bigint, text, text>>, \
         note frozen<tuple<bigint, bigint, bigint, bigint, bigint, bigint, text, frozen<list<text>>, text, blob>>, \
         part_count bigint, written bigint, trusted frozen<list<bigint>>",
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
        "needledrop_lease",
        "name text PRIMARY KEY, holder text, epoch bigint, beat bigint, stamps bigint, tables text",
    ),
    ("needledrop_meta", "key text PRIMARY KEY, value text"),
];

/// Positions of tables in [`LEDGER`]. The last table gets the mark of the ledger once all tables exist.
const CONTENTS: usize = 3;
pub const DELIVERIES: usize = 0;
pub const LEASE: usize = 6;
pub const META: usize = 7;

/// Where the stamps of all tables in a keyspace come from, whichever ledgers write to these tables. It is beside the
/// tables, not in the ledger. `next` is the first stamp that nobody has reserved; `ledgers` has the end of the last
/// block of each ledger, by the name of its keyspace.
pub const STAMPS: (&str, &str) =
    ("needledrop_stamps", "name text PRIMARY KEY, next bigint, ledgers map<text, bigint>");

/// A name as CQL takes it: folded unless it was declared in double quotes, and always quoted.
pub fn quoted(name: &str, exact: bool) -> String {
    format!("\"{}\"", folded(name, exact).replace('"', "\"\""))
}

pub fn folded(name: &str, exact: bool) -> String {
    if exact { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// The name of a keyspace follows the same rule.
pub fn keyspace(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(exact) => exact.to_owned(),
        None => name.to_ascii_lowercase(),
    }
}

/// `keyspace.table`, quoted.
pub fn place(settings: &Settings, table: &Table) -> String {
    format!("{}.{}", quoted(&keyspace(&settings.keyspace), true), quoted(&table.name, table.exact))
}

pub fn ledger_place(settings: &Settings, table: &str) -> String {
    format!("{}.{table}", quoted(&keyspace(&settings.ledger_keyspace), true))
}

pub fn stamps_place(settings: &Settings) -> String {
    format!("{}.{}", quoted(&keyspace(&settings.keyspace), true), STAMPS.0)
}

fn create_stamps(settings: &Settings) -> String {
    format!("CREATE TABLE IF NOT EXISTS {} ({})", stamps_place(settings), STAMPS.1)
}

fn create_of_ledger(settings: &Settings, (name, columns): (&str, &str)) -> String {
    format!("CREATE TABLE IF NOT EXISTS {} ({columns})", ledger_place(settings, name))
}

pub fn column(column: &Column) -> String {
    quoted(&column.name, column.exact)
}

fn create_keyspace(settings: &Settings, name: &str) -> String {
    let options: Vec<String> =
        settings.replication.iter().map(|(key, value)| format!("'{key}': '{value}'")).collect();
    format!("CREATE KEYSPACE {} WITH replication = {{{}}}", quoted(name, true), options.join(", "))
}

/// `CREATE TABLE` of one table.
pub fn create_table(settings: &Settings, plan: &Plan, table: &Table) -> String {
    let mut ddl = format!("CREATE TABLE {} (\n", place(settings, table));
    for index in table.all() {
        let Some(one) = plan.columns.get(index) else { continue };
        let once = if table.statics.contains(&index) { " static" } else { "" };
        let _ = writeln!(ddl, "  {} {}{once},", column(one), one.kind);
    }
    let name = |index: &usize| plan.columns.get(*index).map(column).unwrap_or_default();
    let partition = table.partition_key.iter().map(name).collect::<Vec<_>>().join(", ");
    let clustering: String =
        table.clustering_key.iter().fold(String::new(), |all, (index, _)| all + ", " + &name(index));
    let _ = write!(ddl, "  PRIMARY KEY (({partition}){clustering})\n)");
    let mut with: Vec<String> = table.options.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if table.clustering_key.iter().any(|(_, order)| *order == Order::Descending) {
        let orders =
            table.clustering_key.iter().map(|(index, order)| format!("{} {}", name(index), word(*order)));
        with.insert(0, format!("CLUSTERING ORDER BY ({})", orders.collect::<Vec<_>>().join(", ")));
    }
    if !with.is_empty() {
        let _ = write!(ddl, " WITH {}", with.join("\n  AND "));
    }
    ddl
}

fn word(order: Order) -> &'static str {
    if order == Order::Descending { "DESC" } else { "ASC" }
}

/// Everything that `create` would make, in order.
pub fn ddl(settings: &Settings, plan: &Plan) -> Vec<String> {
    let mut all = Vec::new();
    for name in keyspaces(settings) {
        all.push(create_keyspace(settings, &name));
    }
    all.extend(plan.tables.iter().map(|table| create_table(settings, plan, table)));
    all.push(create_stamps(settings));
    all.extend(LEDGER.iter().map(|table| create_of_ledger(settings, *table)));
    all
}

pub fn keyspaces(settings: &Settings) -> Vec<String> {
    let mut names = vec![keyspace(&settings.keyspace), keyspace(&settings.ledger_keyspace)];
    names.dedup();
    names
}

/// Columns by table: name → description.
type Found = BTreeMap<String, BTreeMap<String, String>>;

/// What is there and what is missing.
pub struct SchemaState {
    /// Keyspaces, then declared tables, then those of the ledger.
    pub missing_keyspaces: Vec<String>,
    pub missing_tables: Vec<usize>,
    pub missing_stamps: bool,
    pub missing_ledger: Vec<usize>,
}

impl SchemaState {
    /// Whether there is no lease to take.
    pub fn lacks_lease(&self) -> bool {
        !self.missing_keyspaces.is_empty() || self.missing_ledger.contains(&LEASE)
    }

    /// Whether there is no ledger. A ledger of an earlier format also lacks tables, but only those added later.
    pub fn lacks_ledger(&self) -> bool {
        [DELIVERIES, META].iter().any(|at| self.missing_ledger.contains(at))
    }

    /// A missing table that a ledger of this format has to have.
    pub fn gone(&self, format: i64) -> Option<&'static str> {
        let mut missing = self.missing_ledger.iter().filter(|at| **at != CONTENTS || format >= WITH_CONTENTS);
        missing.next().and_then(|at| LEDGER.get(*at)).map(|(name, _)| *name)
    }

    /// Whether nothing of ours is there.
    pub fn is_fresh(&self) -> bool {
        self.missing_ledger.len() == LEDGER.len()
    }

    pub fn is_whole(&self) -> bool {
        self.missing_keyspaces.is_empty() && self.missing_tables.is_empty() && self.missing_ledger.is_empty()
    }

    /// The first thing that is missing, in words.
    pub fn missing(&self, plan: &Plan) -> Option<String> {
        let keyspace = self.missing_keyspaces.first().map(|name| format!("keyspace {name}"));
        let table = self.missing_tables.first().and_then(|index| plan.tables.get(*index));
        let ledger = self.missing_ledger.first().and_then(|index| LEDGER.get(*index));
        let stamps = self.missing_stamps.then(|| format!("table {}", STAMPS.0));
        keyspace
            .or_else(|| table.map(|table| format!("table {}", table.name)))
            .or(stamps)
            .or_else(|| ledger.map(|(name, _)| format!("table {name}")))
    }
}

/// Compares what is there with the declaration.
///
/// # Errors
/// A table of another shape, expected against found; or the store does not answer.
pub async fn look(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
    compares: bool,
) -> Result<SchemaState, StoreError> {
    let there = existing_keyspaces(session, settings).await?;
    let missing_keyspaces =
        keyspaces(settings).into_iter().filter(|name| !there.contains(name)).collect::<Vec<_>>();
    let tables = columns(session, settings, &keyspace(&settings.keyspace)).await?;
    let ledger = columns(session, settings, &keyspace(&settings.ledger_keyspace)).await?;
    let mut missing_tables = Vec::new();
    for (index, table) in plan.tables.iter().enumerate() {
        match tables.get(&folded(&table.name, table.exact)) {
            None => missing_tables.push(index),
            Some(found) if compares => compare(settings, plan, table, found)?,
            Some(_) => {}
        }
    }
    let missing_ledger =
        (0..LEDGER.len()).filter(|at| LEDGER.get(*at).is_some_and(|(name, _)| !ledger.contains_key(*name)));
    Ok(SchemaState {
        missing_keyspaces,
        missing_tables,
        missing_stamps: !tables.contains_key(STAMPS.0),
        missing_ledger: missing_ledger.collect(),
    })
}

fn compare(
    settings: &Settings,
    plan: &Plan,
    table: &Table,
    found: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let expected = expected(plan, table);
    if expected == *found {
        return Ok(());
    }
    let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| -> Vec<String> {
        let differs = a.iter().filter(|(name, kind)| b.get(*name) != Some(kind));
        differs.map(|(name, kind)| format!("{name} {kind}")).collect()
    };
    let told = |list: Vec<String>| if list.is_empty() { "nothing there".to_owned() } else { list.join(", ") };
    let (lacks, extra) = (told(only(&expected, found)), told(only(found, &expected)));
    Err(StoreError::Shape {
        store: settings.name(),
        what: format!("table {} has another shape:\n  expected {lacks}\n  found {extra}", table.name),
        next: "declare it as it is, rename the table, or move the old one away".to_owned(),
    })
}

fn expected(plan: &Plan, table: &Table) -> BTreeMap<String, String> {
    let mut shape = BTreeMap::new();
    for index in table.all() {
        let Some(one) = plan.columns.get(index) else { continue };
        let partition = table.partition_key.iter().position(|of| *of == index);
        let clustering = table.clustering_key.iter().position(|(of, _)| *of == index);
        let order = clustering.and_then(|at| table.clustering_key.get(at)).map(|(_, order)| word(*order));
        let place = match (partition, clustering) {
            (Some(at), _) => described("partition_key", at, "NONE"),
            (_, Some(at)) => described("clustering", at, order.unwrap_or("ASC")),
            _ if table.statics.contains(&index) => described("static", 0, "NONE"),
            _ => described("regular", 0, "NONE"),
        };
        shape.insert(folded(&one.name, one.exact), format!("{}{place}", one.kind));
    }
    shape
}

fn described(kind: &str, position: usize, order: &str) -> String {
    match kind {
        "partition_key" => format!(" partition key {}", position + 1),
        "clustering" => format!(" clustering key {} {}", position + 1, order.to_ascii_lowercase()),
        "static" => " static".to_owned(),
        _ => String::new(),
    }
}

async fn existing_keyspaces(session: &Session, settings: &Settings) -> Result<Vec<String>, StoreError> {
    let cql = "SELECT keyspace_name FROM system_schema.keyspaces";
    let rows = request::rows::<(String,)>(session, settings, cql, ()).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

async fn columns(session: &Session, settings: &Settings, keyspace: &str) -> Result<Found, StoreError> {
    let cql = "SELECT table_name, column_name, type, kind, position, clustering_order \
               FROM system_schema.columns WHERE keyspace_name = ?";
    type Row = (String, String, String, String, i32, String);
    let mut found = Found::new();
    for (table, column, kind, place, position, order) in
        request::rows::<Row>(session, settings, cql, (keyspace,)).await?
    {
        let position = usize::try_from(position).unwrap_or_default();
        let place = described(&place, position, &order);
        found.entry(table).or_default().insert(column, format!("{kind}{place}"));
    }
    Ok(found)
}

/// Makes the keyspaces, and the table of the lease: all else is made by who has that.
///
/// # Errors
/// What the cluster says.
pub async fn make_lease(
    session: &Session,
    settings: &Settings,
    state: &SchemaState,
) -> Result<(), StoreError> {
    for name in &state.missing_keyspaces {
        run(session, settings, &create_keyspace(settings, name)).await?;
    }
    let is_missing = state.missing_ledger.contains(&LEASE);
    make_ledger(session, settings, is_missing.then_some(&LEASE)).await
}

/// Makes tables of the ledger, one statement after another, each agreed on by all nodes.
///
/// # Errors
/// What the cluster says.
pub async fn make_ledger(
    session: &Session,
    settings: &Settings,
    missing: impl IntoIterator<Item = &usize>,
) -> Result<(), StoreError> {
    for table in missing.into_iter().filter_map(|at| LEDGER.get(*at)) {
        run(session, settings, &create_of_ledger(settings, *table)).await?;
    }
    Ok(())
}

/// Makes the table of the stamps. Another ledger may do the same at this moment.
///
/// # Errors
/// The cluster refuses it or does not answer.
pub async fn make_stamps(session: &Session, settings: &Settings) -> Result<(), StoreError> {
    run(session, settings, &create_stamps(settings)).await
}

/// Marks the ledger as ours, in this format.
///
/// # Errors
/// What the cluster says.
pub async fn mark(session: &Session, settings: &Settings) -> Result<(), StoreError> {
    run(session, settings, &marking(settings)).await
}

/// Columns that a ledger of an earlier format does not have: table, name, type.
const ADDED: [(&str, &str, &str); 12] = [
    ("needledrop_deliveries", "replayed", "bigint"),
    ("needledrop_deliveries", "discarded", "bigint"),
    ("needledrop_deliveries", "assumed", "bigint"),
    ("needledrop_deliveries", "tail", "frozen<tuple<bigint, bigint, bigint>>"),
    ("needledrop_deliveries", "strikes", "int"),
    ("needledrop_deliveries", "ahead", "frozen<tuple<bigint, text, text>>"),
    (
        "needledrop_deliveries",
        "note",
        "frozen<tuple<bigint, bigint, bigint, bigint, bigint, bigint, text, frozen<list<text>>, text, blob>>",
    ),
    ("needledrop_deliveries", "part_count", "bigint"),
    ("needledrop_deliveries", "written", "bigint"),
    ("needledrop_deliveries", "trusted", "frozen<list<bigint>>"),
    ("needledrop_quarantine", "state", "text"),
    ("needledrop_quarantine", "header", "frozen<list<text>> static"),
];

/// The statements that bring the tables of a ledger of an earlier format to the current format.
async fn additions(session: &Session, settings: &Settings) -> Result<Vec<String>, StoreError> {
    let there = columns(session, settings, &keyspace(&settings.ledger_keyspace)).await?;
    // A table that is not there at all is made whole.
    let is_older = |table: &str, name: &str| there.get(table).is_some_and(|of| !of.contains_key(name));
    let missing = ADDED.iter().filter(|(table, name, _)| is_older(table, name));
    let added = |(table, name, kind): &(&str, &str, &str)| {
        format!("ALTER TABLE {} ADD {name} {kind}", ledger_place(settings, table))
    };
    Ok(missing.map(added).collect())
}

/// Adds the columns that an earlier format does not have.
///
/// # Errors
/// What the cluster says.
pub async fn add_columns(session: &Session, settings: &Settings) -> Result<(), StoreError> {
    for ddl in additions(session, settings).await? {
        run(session, settings, &ddl).await?;
        failpoint::step("format added");
    }
    Ok(())
}

/// Whether the ledger was made before format 4: then deliveries may have provisional last records.
///
/// # Errors
/// What the cluster says.
pub async fn has_provisional(session: &Session, settings: &Settings) -> Result<bool, StoreError> {
    let there = columns(session, settings, &keyspace(&settings.ledger_keyspace)).await?;
    Ok(there.get("needledrop_deliveries").is_some_and(|of| of.contains_key("provisional")))
}

/// Records that the ledger has the current format, if its format is still `from`. A later version of needledrop may
/// have migrated it further in the meantime.
///
/// # Errors
/// What the cluster says.
pub async fn mark_brought_up(session: &Session, settings: &Settings, from: i64) -> Result<(), StoreError> {
    let place = ledger_place(settings, "needledrop_meta");
    let cql = format!("UPDATE {place} SET value = '{FORMAT}' WHERE key = 'format' IF value = '{from}'");
    run(session, settings, &cql).await
}

fn marking(settings: &Settings) -> String {
    let place = ledger_place(settings, "needledrop_meta");
    format!("INSERT INTO {place} (key, value) VALUES ('format', '{FORMAT}') IF NOT EXISTS")
}

/// What tells a table from another of the same name and shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    id: Option<uuid::Uuid>,
    /// Its declared columns that were ever dropped, and when, in microseconds.
    pub dropped: BTreeMap<String, i64>,
}

impl Identity {
    /// Its id, as it is noted.
    pub fn told(&self) -> String {
        self.id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// What became of it since then.
    pub fn since(&self, before: &Self) -> Option<String> {
        if self.id != before.id {
            return Some("was dropped or made anew".to_owned());
        }
        let (column, _) = self.dropped.iter().find(|(name, at)| before.dropped.get(*name) != Some(at))?;
        Some(format!("lost its column {column}"))
    }
}

/// When a column was dropped, in microseconds. Cassandra writes milliseconds, as the type of the column says,
/// Scylla microseconds: in milliseconds those would lie thousands of years ahead.
fn micros(at: CqlTimestamp) -> i64 {
    const YEAR_5138: i64 = 100_000_000_000_000;
    if at.0 < YEAR_5138 { at.0 * 1000 } else { at.0 }
}

/// The declared tables as they are, in the order of the plan.
///
/// # Errors
/// What the cluster says.
pub async fn identities(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
) -> Result<Vec<Identity>, StoreError> {
    let ids = "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = ?";
    let dropped = "SELECT table_name, column_name, dropped_time FROM system_schema.dropped_columns \
                   WHERE keyspace_name = ?";
    let keyspace = keyspace(&settings.keyspace);
    let (ids, dropped) = futures::try_join!(
        request::rows::<(String, uuid::Uuid)>(session, settings, ids, (&keyspace,)),
        request::rows::<(String, String, CqlTimestamp)>(session, settings, dropped, (&keyspace,)),
    )?;
    let ids: BTreeMap<String, uuid::Uuid> = ids.into_iter().collect();
    let identity = |table: &Table| {
        let name = folded(&table.name, table.exact);
        let of = |index: usize| plan.columns.get(index).map(|column| folded(&column.name, column.exact));
        let declared: Vec<String> = table.all().filter_map(of).collect();
        let own = dropped.iter().filter(|(of, column, _)| *of == name && declared.contains(column));
        let dropped = own.map(|(_, column, at)| (column.clone(), micros(*at))).collect();
        Identity { id: ids.get(&name).copied(), dropped }
    };
    Ok(plan.tables.iter().map(identity).collect())
}

/// Names of the declared tables that have no row.
///
/// # Errors
/// What the cluster says.
pub async fn empty_tables(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
) -> Result<Vec<String>, StoreError> {
    let mut empty = Vec::new();
    for table in &plan.tables {
        let key = table.partition_key.first().and_then(|index| plan.columns.get(*index)).map(column);
        let cql = format!("SELECT {} FROM {} LIMIT 1", key.unwrap_or_default(), place(settings, table));
        if request::rows::<Row>(session, settings, cql, ()).await?.is_empty() {
            empty.push(table.name.clone());
        }
    }
    Ok(empty)
}

/// Makes the declared tables that are missing.
///
/// # Errors
/// What the cluster says.
pub async fn make_tables(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
    missing: &[usize],
) -> Result<(), StoreError> {
    for table in missing.iter().filter_map(|index| plan.tables.get(*index)) {
        run(session, settings, &create_table(settings, plan, table)).await?;
    }
    Ok(())
}

/// One node makes all tables: the one with the lowest id of those that are connected. Two processes that make a table at
/// the same moment on different nodes would make it twice, with an id from each node.
fn maker(session: &Session) -> Option<Arc<dyn LoadBalancingPolicy>> {
    let state = session.get_cluster_state();
    let connected = state.get_nodes_info().iter().filter(|node| node.is_connected());
    let node = connected.min_by_key(|node| node.host_id)?;
    Some(SingleTargetLoadBalancingPolicy::new(NodeIdentifier::Node(Arc::clone(node)), None))
}

async fn run(session: &Session, settings: &Settings, cql: &str) -> Result<(), StoreError> {
    let mut statement = request::of_ledger(settings, cql);
    statement.set_load_balancing_policy(maker(session));
    match session.query_unpaged(statement, ()).await {
        Ok(_) => Ok(()),
        Err(error) if request::exists_already(&error) => Ok(()),
        Err(error) => Err(request::told(settings, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_by_both_servers() {
        let at = 1_795_700_000_000_000;
        assert_eq!(micros(CqlTimestamp(at / 1000)), at, "Cassandra");
        assert_eq!(micros(CqlTimestamp(at)), at, "Scylla");
    }
}
