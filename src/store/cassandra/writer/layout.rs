//! Where the values of a table are in the rows of a chunk. Each feed has its own columns, also for a table that feeds share.

use std::sync::Arc;

use crate::domain::{Plan, RowChunk, Schema, Table, Type};
use crate::store::cassandra::writer::hash::Key;

/// Where the values of one table are in the rows of a plan.
pub struct Layout {
    /// The index of the table in the plan.
    pub table: usize,
    /// All columns in the order of the statement, key first.
    pub columns: Vec<(usize, Type)>,
    pub key: Key,
}

/// The layouts of a plan by index of the table in the schema. `None` for tables that the plan does not have.
pub type Layouts = Arc<[Option<Layout>]>;

impl Layout {
    fn of(plan: &Plan, (at, table): (usize, &Table)) -> Self {
        let columns = table.all().filter_map(|index| Some((index, plan.columns.get(index)?.kind)));
        Self { table: at, columns: columns.collect(), key: Key::of(plan, table) }
    }
}

/// Returns the layouts of a plan.
pub fn layouts(schema: &Schema, plan: &Plan) -> Layouts {
    let of = |table: &Table| plan.table(&table.name).map(|declared| Layout::of(plan, declared));
    schema.tables.iter().map(of).collect()
}

/// Returns the layouts of each chunk. Chunks of one plan share them.
pub fn of_chunks(schema: &Schema, chunks: &[&RowChunk]) -> Vec<Layouts> {
    let mut made: Vec<(&Arc<Plan>, Layouts)> = Vec::new();
    let mut all = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let plan = &chunk.source.plan;
        let known = made.iter().find(|(other, _)| Arc::ptr_eq(other, plan)).map(|(_, made)| Arc::clone(made));
        all.push(known.unwrap_or_else(|| {
            let layouts = layouts(schema, plan);
            made.push((plan, Arc::clone(&layouts)));
            layouts
        }));
    }
    all
}

/// Returns the indexes in the schema of the tables of a chunk's plan.
pub fn tables_of(schema: &Schema, chunk: &RowChunk) -> Vec<usize> {
    let at = |table: &Table| schema.table(&table.name).map(|(at, _)| at);
    chunk.source.plan.tables.iter().filter_map(at).collect()
}
