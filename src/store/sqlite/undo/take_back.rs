//! Takes the values of a delivery out of the tables, in one transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::undo::{RowUndo, TableUndo, UndoEnd};
use crate::domain::{DeliveryId, Fingerprint, Stamp, Table, TableCount};
use crate::store::sqlite::fault::{Fault, SqlResult, is_rejection};
use crate::store::sqlite::ledger;
use crate::store::sqlite::rows::Writer;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::undo::begun::Undo;
use crate::store::sqlite::undo::expected::Expected;
use crate::store::sqlite::undo::find;
use crate::store::sqlite::undo::find::Statements;
use crate::store::sqlite::undo::without::{Columns, without};

/// Takes the delivery out of every table, or counts what would be taken out.
pub fn all(
    shared: &Shared,
    connection: &Connection,
    undo: &Undo,
    expected: &Expected,
    end: &UndoEnd,
) -> Result<Vec<TableUndo>, Fault> {
    let mut done = Vec::new();
    let is_found = |table: &Table| undo.found.iter().any(|found| found.table == table.name);
    let tables = shared.declared.tables.iter().enumerate();
    for (index, table) in tables.filter(|(_, table)| is_found(table)) {
        let work = InTable { shared, connection, undo, expected, end, index, table };
        let undone = work.table().map_err(|fault| rejected(fault, table))?;
        if undone.removed + undone.restored > 0 {
            done.push(undone);
        }
    }
    Ok(done)
}

/// Makes a table behind by a delivery, because it lacks some of its values now. The rows still count, since they are there.
pub fn set_behind(connection: &Connection, (id, table): &(DeliveryId, String)) -> SqlResult<()> {
    let Fingerprint(fingerprint) = TableCount::behind(table).fingerprint;
    let sql = "UPDATE _needledrop_counts SET fingerprint = ?3 WHERE delivery = ?1 AND table_name = ?2";
    connection.prepare_cached(sql)?.execute(params![id.0, table, fingerprint])?;
    Ok(())
}

/// Says which table rejects the undo, if it has a trigger, an index or a CHECK that does.
fn rejected(fault: Fault, table: &Table) -> Fault {
    match fault {
        Fault::Sqlite(error) if is_rejection(&error) => Fault::Shape {
            what: format!("table {} rejects the undo: {error}", table.name),
            next: "nothing was changed; drop the trigger, the index or the CHECK that does it, then try again",
        },
        other => other,
    }
}

struct InTable<'w> {
    shared: &'w Shared,
    connection: &'w Connection,
    undo: &'w Undo,
    expected: &'w Expected,
    end: &'w UndoEnd,
    index: usize,
    table: &'w Table,
}

impl InTable<'_> {
    fn table(&self) -> Result<TableUndo, Fault> {
        let statements = Statements::new(&self.shared.declared, self.table);
        let found = self.undo.found.iter().find(|found| found.table == self.table.name);
        let mut undone = TableUndo { table: self.table.name.clone(), ..TableUndo::default() };
        let examples = found.map_or(&[][..], |found| &found.examples);
        undone.examples = examples.iter().map(|key| RowUndo { key: key.clone(), restored: false }).collect();
        undone.removed = found.map_or(0, |found| found.own);
        if self.end.write {
            undone.removed = self.connection.execute(&statements.delete_own, [self.undo.id.0])? as u64;
        }
        self.shared_rows(&mut undone)?;
        if self.end.write && self.connection.prepare(&statements.any)?.exists([self.undo.id.0])? {
            let table = &self.table.name;
            return Err(Fault::Shape {
                what: format!("table {table} still has rows of this delivery after its undo"),
                next: "end other programs that write to the table, and check its triggers; then try again",
            });
        }
        Ok(undone)
    }

    /// Corrects the rows whose keys were noted, page by page.
    fn shared_rows(&self, undone: &mut TableUndo) -> Result<(), Fault> {
        let writer = Writer::new(self.shared, self.connection, self.table)?;
        let (mut after, mut first_of) = (0, HashMap::new());
        loop {
            let (keys, last) = self.expected.keys((self.index, self.table.key_len()), after)?;
            if keys.is_empty() {
                break;
            }
            for key in keys {
                self.shared_row(&writer, key, undone, &mut first_of)?;
            }
            after = last;
        }
        if self.end.write {
            self.correct_collisions(&first_of)?;
        }
        Ok(())
    }

    fn shared_row(
        &self,
        writer: &Writer<'_>,
        key: Vec<rusqlite::types::Value>,
        undone: &mut TableUndo,
        first_of: &mut HashMap<DeliveryId, (u64, Stamp)>,
    ) -> Result<(), Fault> {
        let Some(row) = writer.row(&key)? else { return Ok(()) };
        let expected = self.expected.row(self.shared, self.table, &key)?;
        let names = writer.names();
        let Table { empty, newest_by, .. } = self.table;
        let columns = Columns { names: &names, empty: *empty, is_newest_by: newest_by.is_some() };
        let rest = without(&row, expected.as_ref(), columns, &self.undo.stamps);
        if let Some(stamp) = rest.unexpected.filter(|_| !self.end.force) {
            return Err(self.unexpected(stamp)?);
        }
        let Some(rest) = rest.row else {
            undone.add(find::shown(&self.shared.declared, self.table, &key)?, false);
            return if self.end.write { Ok(writer.delete(&key)?) } else { Ok(()) };
        };
        if rest.first != row.first
            && let Some(owner) = ledger::owner(self.connection, rest.first)?
        {
            let count = first_of.entry(owner).or_insert((0, rest.first));
            *count = (count.0 + 1, count.1.max(rest.first));
        }
        if rest == row {
            return Ok(());
        }
        undone.add(find::shown(&self.shared.declared, self.table, &key)?, true);
        if self.end.write { Ok(writer.update(key, rest)?) } else { Ok(()) }
    }

    /// The first record of a key is not a collision. Only records that were sent to the table were counted.
    fn correct_collisions(&self, first_of: &HashMap<DeliveryId, (u64, Stamp)>) -> SqlResult<()> {
        let sql = "UPDATE _needledrop_counts SET collisions = max(collisions - ?3, 0) \
                   WHERE delivery = ?1 AND table_name = ?2 AND (fingerprint <> '' OR sent >= ?4)";
        let mut update = self.connection.prepare_cached(sql)?;
        for (id, (count, newest)) in first_of {
            update.execute(params![id.0, self.table.name, count, newest.0])?;
        }
        Ok(())
    }

    /// A value with this stamp was not in the expected row of its key.
    fn unexpected(&self, stamp: Stamp) -> SqlResult<Fault> {
        let owner = ledger::owner(self.connection, stamp)?;
        let sql = "SELECT path FROM _needledrop_deliveries WHERE id = ?1";
        let path: Option<String> = match owner {
            Some(id) => self.connection.query_row(sql, [id.0], |row| row.get(0)).optional()?,
            None => None,
        };
        let table = &self.table.name;
        Ok(match path {
            Some(path) => Fault::Shape {
                what: format!(
                    "table {table} has values of {path} that the current configuration does not give for the same keys"
                ),
                next: "restore the configuration under which that file was loaded; with --force, values that other files \
                       had for these keys may stay lost",
            },
            None => Fault::Shape {
                what: format!("table {table} has values that no delivery wrote, in rows of this delivery"),
                next: "remove the rows of other programs; with --force, their values stay",
            },
        })
    }
}
