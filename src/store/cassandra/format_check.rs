//! Checks that the ledger is complete and has a format that this version knows.

use scylla::client::session::Session;

use crate::domain::Plan;
use crate::store::StoreError;
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::{request, schema};

/// Rejects a ledger from which a table has disappeared. If the table were created again, nobody would notice that its
/// content is lost.
pub async fn whole(
    session: &Session,
    settings: &Settings,
    plan: &Plan,
    state: &schema::SchemaState,
) -> Result<(), StoreError> {
    if state.missing_ledger.is_empty() {
        return Ok(());
    }
    let lacks = |at: usize| state.missing_ledger.contains(&at);
    let format = match (lacks(schema::DELIVERIES), lacks(schema::META)) {
        // The format is recorded after all tables have been created.
        (_, false) => stored_format(session, settings).await?.filter(|format| *format <= schema::FORMAT),
        (false, true) => (!is_empty(session, settings).await?).then_some(schema::FORMAT),
        (true, true) => None,
    };
    let Some(format) = format else { return Ok(()) };
    // Another process may have created the tables in the meantime.
    let state = schema::look(session, settings, plan, false).await?;
    let gone = state.gone(format);
    gone.map_or(Ok(()), |name| Err(damaged(settings, &format!("table {name} is gone"))))
}

pub fn damaged(settings: &Settings, what: &str) -> StoreError {
    StoreError::Shape {
        store: settings.name(),
        what: format!("its ledger is damaged: {what}"),
        next: "restore the needledrop_ tables from a backup, or drop them and load the kept files again"
            .to_owned(),
    }
}

pub async fn stored_format(session: &Session, settings: &Settings) -> Result<Option<i64>, StoreError> {
    let place = schema::ledger_place(settings, "needledrop_meta");
    let cql = format!("SELECT value FROM {place} WHERE key = 'format'");
    let asked = request::of_ledger(settings, cql);
    let stored = match request::rows::<(Option<String>,)>(session, settings, asked, ()).await {
        // The table is being created. It is in the schema, but cannot be read yet.
        Err(StoreError::Changed { .. }) => return Ok(None),
        stored => stored?,
    };
    Ok(stored.first().and_then(|(value,)| value.as_ref()).and_then(|value| value.parse().ok()))
}

pub async fn check_format(session: &Session, settings: &Settings, mark: bool) -> Result<(), StoreError> {
    let shape =
        |what: String, next: &str| StoreError::Shape { store: settings.name(), what, next: next.to_owned() };
    match stored_format(session, settings).await? {
        Some(schema::FORMAT) => Ok(()),
        Some(older) if older < schema::FORMAT => Err(shape(
            format!("its ledger has format {older}, this version uses {}", schema::FORMAT),
            "migrate it with `needledrop schema --apply`, as a role that may CREATE tables in the keyspace of the \
             ledger, and ALTER and MODIFY the needledrop_ tables",
        )),
        Some(other) => Err(shape(
            format!("its ledger has format {other}, this version knows {}", schema::FORMAT),
            "use the version of needledrop that made it, or a newer one",
        )),
        // The tables were created by hand, or their creation was interrupted.
        None if is_empty(session, settings).await? => {
            if mark {
                schema::mark(session, settings).await
            } else {
                Ok(())
            }
        }
        None => Err(damaged(settings, "needledrop_meta has no format")),
    }
}

/// Whether no delivery was ever entered.
pub async fn is_empty(session: &Session, settings: &Settings) -> Result<bool, StoreError> {
    let place = schema::ledger_place(settings, "needledrop_deliveries");
    let cql = format!("SELECT id FROM {place} LIMIT 1");
    let asked = request::of_ledger(settings, cql);
    match request::rows::<(i64,)>(session, settings, asked, ()).await {
        // The table is being created, and cannot be read yet.
        Err(StoreError::Changed { .. }) => Ok(true),
        rows => Ok(rows?.is_empty()),
    }
}

pub fn missing_told(settings: &Settings, missing: &str) -> StoreError {
    StoreError::Shape {
        store: settings.name(),
        what: format!("{missing} does not exist, and store.create_schema is false"),
        next: "make it (`needledrop schema --apply`), or set store.create_schema to true".to_owned(),
    }
}
