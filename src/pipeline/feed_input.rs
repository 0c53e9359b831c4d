//! What the stages need to know about each feed, and which feeds depend on each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::SourceConfig;
use crate::domain::{Feed, Feeds, Plan};

/// One feed as the stages need it.
#[derive(Clone)]
pub struct FeedInput<I> {
    pub plan: Arc<Plan>,
    pub source: I,
    pub settings: SourceConfig,
}

/// Feeds of a group, and the names of their tables.
type Group<'t, I> = (BTreeSet<&'t str>, Vec<(Feed, FeedInput<I>)>);

/// Splits feeds into groups. Feeds that share a table, directly or through other feeds, are in one group: the order of
/// their files decides which of them wins a key. Files of different groups need no order.
pub fn groups<I: Clone>(feeds: &Feeds<FeedInput<I>>) -> Vec<Feeds<FeedInput<I>>> {
    let mut groups: Vec<Group<'_, I>> = Vec::new();
    for (feed, input) in feeds.iter() {
        let mut tables: BTreeSet<&str> = input.plan.tables.iter().map(|table| table.name.as_str()).collect();
        let mut members = vec![(feed.clone(), input.clone())];
        let (shared, others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|(of_group, _)| !of_group.is_disjoint(&tables));
        for (of_group, of_members) in shared {
            tables.extend(of_group);
            members.extend(of_members);
        }
        groups = others;
        groups.push((tables, members));
    }
    groups.into_iter().map(|(_, members)| members.into_iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SHIPPED};
    use crate::domain::Table;

    /// Returns the groups of feeds with these tables, as the names of their feeds.
    fn grouped(feeds: &[(&str, &[&str])]) -> Vec<String> {
        let settings = serde_saphyr::from_str::<Config>(SHIPPED).unwrap().source;
        let input = |(name, tables): &(&str, &[&str])| {
            let tables = tables.iter().map(|name| Table::empty(name)).collect();
            let plan = Arc::new(Plan { tables, ..Plan::empty() });
            (Feed::named(name).unwrap(), FeedInput { plan, source: (), settings: settings.clone() })
        };
        let groups = groups(&feeds.iter().map(input).collect());
        let names = |group: &Feeds<FeedInput<()>>| {
            group.iter().map(|(feed, _)| feed.name()).collect::<Vec<_>>().join(" ")
        };
        let mut names: Vec<String> = groups.iter().map(names).collect();
        names.sort();
        names
    }

    #[test]
    fn feeds_that_share_a_table_are_in_one_group() {
        assert_eq!(grouped(&[("a", &["x"]), ("b", &["y"]), ("c", &["x", "z"])]), ["a c", "b"]);
        assert_eq!(grouped(&[("a", &["x"]), ("b", &["y"]), ("c", &["x", "y"])]), ["a b c"], "through c");
        assert_eq!(grouped(&[("a", &["x"])]), ["a"]);
    }
}
