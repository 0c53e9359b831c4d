//! Whether the ledger is whole and has a format that this version knows.

use crate::domain::Plan;
use crate::store::StoreError;
use crate::store::cassandra::settings::Settings;
use crate::store::cassandra::{request, schema};
use scylla::client::session::Session;

/// Refuses a ledger of which a table is gone: made anew it would know of nothing.
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
        // It is marked when all of it is there.
        (_, false) => stored_format(session, settings).await?.filter(|format| *format <= schema::FORMAT),
        (false, true) => (!is_empty(session, settings).await?).then_some(schema::FORMAT),
        (true, true) => None,
    };
    let Some(format) = format else { return Ok(()) };
    // Another may have made it since we looked.
    let state = schema::look(session, settings, plan, false).await?;
    let gone = state.gone(format);
    gone.map_or(Ok(()), |name| Err(damaged(settings, &format!("table {name} is gone"))))
}

pub fn damaged(settings: &Settings, what: &str) -> StoreError {
    StoreError::Shape {
        store: settings.name(),
        what: format!("its ledger is damaged: {what}"),
        next: "restore the needledrop_ tables from a backup, or drop them and load the kept files anew"
            .to_owned(),
    }
}

pub async fn stored_format(session: &Session, settings: &Settings) -> Result<Option<i64>, StoreError> {
    let place = schema::ledger_place(settings, "needledrop_meta");
    let cql = format!("SELECT value FROM {place} WHERE key = 'format'");
    let asked = request::of_ledger(settings, cql);
    let stored = match request::rows::<(Option<String>,)>(session, settings, asked, ()).await {
        // It is being made: it stands in the schema, and cannot be asked yet.
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
        // Made by hand, or its making was cut short.
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

/// Whether nothing was ever entered.
pub async fn is_empty(session: &Session, settings: &Settings) -> Result<bool, StoreError> {
    let place = schema::ledger_place(settings, "needledrop_deliveries");
    let cql = format!("SELECT id FROM {place} LIMIT 1");
    let asked = request::of_ledger(settings, cql);
    match request::rows::<(i64,)>(session, settings, asked, ()).await {
        // As with the format: it is being made.
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
