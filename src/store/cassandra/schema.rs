//! Generates the DDL from the plan, and compares the plan with the existing schema.

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
use crate::store::cassandra::settings::Settings;
use crate::store::{StoreError, failpoint};

/// The format of ledger and quarantine. A newer format is rejected.
pub const FORMAT: i64 = 5;

/// The first format with `needledrop_contents`.
const WITH_CONTENTS: i64 = 5;

/// The tables of ledger and quarantine, in the order in which they are created. Only the table of the lease is created
/// before all others. If the last table exists, all tables exist.
///
/// Offsets are in decoded bytes. Some columns of `needledrop_deliveries` have several parts:
///
/// - `stamps` is a list of (first record, base, records).
/// - `tables` has (rows, collisions, refused, whether collisions are an estimate, fingerprint of the declaration) by
///   table name.
/// - `tail` is (byte, record, line) of the beginning of an open tail that was loaded.
/// - `ahead` is (bytes, their hash, rules) of the furthest bytes that were sent.
/// - `note` is an open tail before its rows are sent: (byte, record, line) of its beginning and of its end, the hash up
///   to its end, header, rules, bytes.
/// - `written` is the write time of the row.
/// - `trusted` has the last write time of each earlier epoch that wrote the row.
///
/// In `needledrop_quarantine`, `header` is the header of a delivery. It is stored once, beside the quarantined records.
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

/// Indexes of tables in [`LEDGER`]. The format is recorded in the last table once all tables exist.
const CONTENTS: usize = 3;
pub const DELIVERIES: usize = 0;
pub const LEASE: usize = 6;
pub const META: usize = 7;

/// The table of stamps. All tables in a keyspace get their stamps from it, whichever ledgers write to these tables. It
/// is in the keyspace of the tables, not of the ledger. `next` is the first stamp that is not reserved. `ledgers` has
/// the end of the last block of each ledger, by the name of its keyspace.
pub const STAMPS: (&str, &str) =
    ("needledrop_stamps", "name text PRIMARY KEY, next bigint, ledgers map<text, bigint>");

/// Returns a name in CQL notation: folded to lower case unless it was declared in double quotes, and always quoted.
pub fn quoted(name: &str, exact: bool) -> String {
    format!("\"{}\"", folded(name, exact).replace('"', "\"\""))
}

pub fn folded(name: &str, exact: bool) -> String {
    if exact { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// Returns the name of a keyspace, folded to lower case unless it was declared in double quotes.
pub fn keyspace(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(exact) => exact.to_owned(),
        None => name.to_ascii_lowercase(),
    }
}

/// Returns `keyspace.table`, quoted.
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

/// Returns the `CREATE TABLE` statement of a table.
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

/// Returns the statements that create the whole store, in order.
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

/// What is missing in the cluster.
pub struct SchemaState {
    /// Names of keyspaces.
    pub missing_keyspaces: Vec<String>,
    /// Indexes of tables in the plan.
    pub missing_tables: Vec<usize>,
    pub missing_stamps: bool,
    /// Indexes of tables in [`LEDGER`].
    pub missing_ledger: Vec<usize>,
}

impl SchemaState {
    /// Whether the table of the lease does not exist.
    pub fn lacks_lease(&self) -> bool {
        !self.missing_keyspaces.is_empty() || self.missing_ledger.contains(&LEASE)
    }

    /// Whether there is no ledger. A ledger of an earlier format also lacks tables, but only tables that were added
    /// later.
    pub fn lacks_ledger(&self) -> bool {
        [DELIVERIES, META].iter().any(|at| self.missing_ledger.contains(at))
    }

    /// Returns a missing table that a ledger of this format must have.
    pub fn gone(&self, format: i64) -> Option<&'static str> {
        let mut missing = self.missing_ledger.iter().filter(|at| **at != CONTENTS || format >= WITH_CONTENTS);
        missing.next().and_then(|at| LEDGER.get(*at)).map(|(name, _)| *name)
    }

    /// Describes the first thing that is missing.
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

/// Reads the schema. With `compares`, compares the existing tables with the declaration.
///
/// # Errors
/// Returns an error if a table has another shape than declared, or if the cluster does not answer or rejects a request.
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

/// Creates the keyspaces and the table of the lease. The holder of the lease creates everything else.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
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

/// Creates tables of the ledger, one statement after another. All nodes agree on each table before the next is created.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
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

/// Creates the table of the stamps. A process with another ledger may do so at the same moment.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn make_stamps(session: &Session, settings: &Settings) -> Result<(), StoreError> {
    run(session, settings, &create_stamps(settings)).await
}

/// Records that the ledger has the current format, unless it has one already.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
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

/// Returns the statements that add the columns that a ledger of an earlier format does not have.
async fn additions(session: &Session, settings: &Settings) -> Result<Vec<String>, StoreError> {
    let there = columns(session, settings, &keyspace(&settings.ledger_keyspace)).await?;
    // A table that does not exist is created with all columns.
    let is_older = |table: &str, name: &str| there.get(table).is_some_and(|of| !of.contains_key(name));
    let missing = ADDED.iter().filter(|(table, name, _)| is_older(table, name));
    let added = |(table, name, kind): &(&str, &str, &str)| {
        format!("ALTER TABLE {} ADD {name} {kind}", ledger_place(settings, table))
    };
    Ok(missing.map(added).collect())
}

/// Adds the columns that a ledger of an earlier format does not have.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
pub async fn add_columns(session: &Session, settings: &Settings) -> Result<(), StoreError> {
    for ddl in additions(session, settings).await? {
        run(session, settings, &ddl).await?;
        failpoint::step("format added");
    }
    Ok(())
}

/// Whether the ledger was created before format 4. Its deliveries may then have provisional last records.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn has_provisional(session: &Session, settings: &Settings) -> Result<bool, StoreError> {
    let there = columns(session, settings, &keyspace(&settings.ledger_keyspace)).await?;
    Ok(there.get("needledrop_deliveries").is_some_and(|of| of.contains_key("provisional")))
}

/// Records that the ledger has the current format, if its format is still `from`. A later version of needledrop may
/// have migrated it further in the meantime.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects the request.
pub async fn mark_brought_up(session: &Session, settings: &Settings, from: i64) -> Result<(), StoreError> {
    let place = ledger_place(settings, "needledrop_meta");
    let cql = format!("UPDATE {place} SET value = '{FORMAT}' WHERE key = 'format' IF value = '{from}'");
    run(session, settings, &cql).await
}

fn marking(settings: &Settings) -> String {
    let place = ledger_place(settings, "needledrop_meta");
    format!("INSERT INTO {place} (key, value) VALUES ('format', '{FORMAT}') IF NOT EXISTS")
}

/// Distinguishes a table from another table of the same name and shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    id: Option<uuid::Uuid>,
    /// The declared columns that were ever dropped, and when, in microseconds.
    pub dropped: BTreeMap<String, i64>,
}

impl Identity {
    /// Returns the id as it is recorded in the ledger.
    pub fn told(&self) -> String {
        self.id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// Describes what happened to the table since `before`. Returns `None` if it is unchanged.
    pub fn since(&self, before: &Self) -> Option<String> {
        if self.id != before.id {
            return Some("was dropped or recreated".to_owned());
        }
        let (column, _) = self.dropped.iter().find(|(name, at)| before.dropped.get(*name) != Some(at))?;
        Some(format!("lost its column {column}"))
    }
}

/// Converts the time at which a column was dropped to microseconds. Cassandra stores milliseconds, as the type of the
/// column says. ScyllaDB stores microseconds, which would be thousands of years in the future if they were
/// milliseconds.
fn micros(at: CqlTimestamp) -> i64 {
    const YEAR_5138: i64 = 100_000_000_000_000;
    if at.0 < YEAR_5138 { at.0 * 1000 } else { at.0 }
}

/// Reads the identities of the declared tables, in the order of the plan.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
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

/// Returns the names of the declared tables that have no row.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
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

/// Creates the declared tables that are missing.
///
/// # Errors
/// Returns an error if the cluster does not answer or rejects a request.
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

/// Returns the policy that sends all DDL to one node: the connected node with the lowest id. Two processes that create
/// a table at the same moment on different nodes would create it twice, with an id from each node.
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
