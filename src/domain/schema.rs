//! The tables of a store, whichever feeds write to them.

use super::plan::{Column, Fingerprint, Origin, Plan, Table};

/// The tables of a store, each once. A store knows its tables, and the plans come with deliveries and chunks.
#[derive(Clone, Debug)]
pub struct Schema {
    pub columns: Vec<Column>,
    /// Columns are indexes into [`Self::columns`].
    pub tables: Vec<Table>,
    /// The fingerprint of all plans. It is that of the plan if there is only one.
    pub fingerprint: Fingerprint,
}

impl Schema {
    /// Returns the tables of these plans. A table that several plans have is declared alike in each of them.
    pub fn of<'p>(plans: impl IntoIterator<Item = &'p Plan>) -> Self {
        let (mut columns, mut tables) = (Vec::new(), Vec::<Table>::new());
        let mut fingerprints = Vec::new();
        for plan in plans {
            let before = columns.len();
            columns.extend(plan.columns.iter().map(|column| shifted_column(column, before)));
            for table in &plan.tables {
                if tables.iter().all(|other| other.name != table.name) {
                    tables.push(shifted(table, before));
                }
            }
            fingerprints.push(plan.fingerprint.clone());
        }
        Self { columns, tables, fingerprint: fingerprint(fingerprints) }
    }

    pub fn table(&self, name: &str) -> Option<(usize, &Table)> {
        self.tables.iter().enumerate().find(|(_, table)| table.name == name)
    }

    /// Returns the columns of `table`, key first.
    pub fn columns_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Column> {
        table.all().filter_map(|index| self.columns.get(index))
    }
}

fn fingerprint(mut plans: Vec<Fingerprint>) -> Fingerprint {
    if let [only] = plans.as_slice() {
        return only.clone();
    }
    plans.sort_by(|one, other| one.0.cmp(&other.0));
    let plans: Vec<String> = plans.into_iter().map(|plan| plan.0).collect();
    Fingerprint::of(&plans.join("; "))
}

fn shifted_column(column: &Column, by: usize) -> Column {
    let origin = match &column.origin {
        Origin::PartOf(of, part) => Origin::PartOf(of + by, part.clone()),
        other => other.clone(),
    };
    Column { origin, ..column.clone() }
}

/// Returns a table whose columns begin at another index.
fn shifted(table: &Table, by: usize) -> Table {
    let shift = |columns: &[usize]| columns.iter().map(|column| column + by).collect();
    Table {
        partition_key: shift(&table.partition_key),
        clustering_key: table.clustering_key.iter().map(|(column, order)| (column + by, *order)).collect(),
        columns: shift(&table.columns),
        statics: shift(&table.statics),
        newest_by: table.newest_by.map(|column| column + by),
        ..table.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reading::{Precision, TimePart};
    use crate::domain::{Order, Type};

    fn column(name: &str, origin: Origin) -> Column {
        Column { origin, ..Column::of_field(name, Type::Int) }
    }

    fn table(name: &str, key: usize, column: usize) -> Table {
        Table {
            partition_key: vec![key],
            clustering_key: vec![(column, Order::Descending)],
            ..Table::empty(name)
        }
    }

    fn plan(columns: &[&str], tables: Vec<Table>) -> Plan {
        let columns = columns.iter().map(|name| column(name, Origin::Field((*name).into()))).collect();
        let fingerprint = Fingerprint::of(&format!("{columns:?} {tables:?}"));
        Plan { columns, tables, fingerprint, ..Plan::empty() }
    }

    #[test]
    fn the_schema_of_one_plan_is_its_tables() {
        let plan = plan(&["a", "b"], vec![table("t", 0, 1)]);
        let schema = Schema::of([&plan]);
        assert_eq!((&schema.columns, &schema.fingerprint), (&plan.columns, &plan.fingerprint));
        assert_eq!(format!("{:?}", schema.tables), format!("{:?}", plan.tables));
    }

    #[test]
    fn a_table_of_two_plans_is_there_once() {
        let one = plan(&["a", "b"], vec![table("t", 0, 1)]);
        let mut other = plan(&["x", "b", "a"], vec![table("u", 0, 1), table("t", 2, 1)]);
        let day = TimePart { of: Precision::Day, zone: None };
        other.columns.push(column("day", Origin::PartOf(1, day.clone())));
        let schema = Schema::of([&one, &other]);
        let shown: Vec<String> = schema
            .tables
            .iter()
            .map(|table| {
                let names: Vec<&str> = schema.columns_of(table).map(|column| column.name.as_str()).collect();
                format!("{}: {}", table.name, names.join(" "))
            })
            .collect();
        assert_eq!(shown, ["t: a b", "u: x b"]);
        assert_eq!(schema.columns.last().map(|column| &column.origin), Some(&Origin::PartOf(3, day)));
        assert_eq!(schema.table("u").map(|(at, _)| at), Some(1));
        let swapped = Schema::of([&other, &one]);
        assert_eq!(schema.fingerprint, swapped.fingerprint, "the order of feeds is no change");
        assert_ne!(schema.fingerprint, one.fingerprint);
    }
}
