//! Checks what feeds have in common: tables, inboxes and archives.

use crate::config::sections::{After, Config};
use crate::domain::{Plan, Table};
use crate::source::folder::apart::{lists, overlap, real};

/// A rule that two feeds break together: the setting, the problem, and what to do next.
pub type Conflict = (String, String, String);

/// Checks the feeds against each other.
///
/// # Errors
/// Returns an error for the first pair of feeds that do not fit together.
pub fn check(feeds: &[(&Config, &Plan)]) -> Result<(), Conflict> {
    for (at, (config, plan)) in feeds.iter().enumerate() {
        for (other_config, other) in feeds.iter().take(at) {
            tables(plan, other)?;
            inboxes(config, other_config)?;
            archives(config, other_config)?;
        }
    }
    Ok(())
}

/// Checks that the tables that two feeds share are declared alike.
fn tables(plan: &Plan, other: &Plan) -> Result<(), Conflict> {
    for table in &plan.tables {
        let Some(shared) = other.tables.iter().find(|one| one.name.eq_ignore_ascii_case(&table.name)) else {
            continue;
        };
        let Some((key, problem)) = difference((plan, table), (other, shared)) else { continue };
        let path = format!("tables.{}{key}", table.name);
        let there = other.feed.setting(&format!("tables.{}", shared.name));
        return Err((
            plan.feed.setting(&path),
            format!("{problem} in {there}, but feeds that share a table must declare it alike"),
            "declare the table alike in both feeds, or rename it in one of them".to_owned(),
        ));
    }
    Ok(())
}

/// Returns the first key in which two declarations of a table differ, and the problem.
fn difference(
    (plan, table): (&Plan, &Table),
    (other_plan, other): (&Plan, &Table),
) -> Option<(&'static str, String)> {
    let list = |plan: &Plan, columns: &[usize]| -> Vec<String> {
        let columns = columns.iter().filter_map(|index| plan.columns.get(*index));
        columns.map(|column| format!("{} {}{}", column.name, column.kind, exact(column.exact))).collect()
    };
    let clustering = |plan: &Plan, table: &Table| -> Vec<String> {
        let of = |(index, order): &(usize, _)| format!("{:?} {order:?}", list(plan, &[*index]));
        table.clustering_key.iter().map(of).collect()
    };
    let named = |table: &Table| (table.name.clone(), table.exact);
    let lists = [
        (".partition_key", [list(plan, &table.partition_key), list(other_plan, &other.partition_key)]),
        (".clustering_key", [clustering(plan, table), clustering(other_plan, other)]),
        (".columns", [list(plan, &table.columns), list(other_plan, &other.columns)]),
        (".static", [list(plan, &table.statics), list(other_plan, &other.statics)]),
    ];
    if named(table) != named(other) {
        return Some(("", format!("is the same name to a database as `{}`", other.name)));
    }
    for (key, [own, there]) in lists {
        if own != there {
            return Some((key, format!("is {}, but {}", own.join(", "), there.join(", "))));
        }
    }
    if table.empty != other.empty {
        return Some((".empty", format!("is {:?}, but {:?}", table.empty, other.empty).to_lowercase()));
    }
    (table.options != other.options).then(|| (".options", "differ from those".to_owned()))
}

fn exact(exact: bool) -> &'static str {
    if exact { " in quotes" } else { "" }
}

/// Checks that no file is in the inboxes of two feeds.
fn inboxes(config: &Config, other: &Config) -> Result<(), Conflict> {
    let (own, there) = (&config.source, &other.source);
    let (inbox, other_inbox) = (real(&own.folder), real(&there.folder));
    if !overlap((&inbox, own.subfolders), (&other_inbox, there.subfolders)) {
        return Ok(());
    }
    let where_else = there.feed.setting("source.folder");
    let problem = format!(
        "{}: its files would also be files of {where_else} ({})",
        own.folder.display(),
        there.folder.display()
    );
    let next = "give each feed a folder of its own; one feed can write to several tables".to_owned();
    Err((own.feed.setting("source.folder"), problem, next))
}

/// Checks that files that one feed moves are not files of the other feed, in its inbox or in its archive.
fn archives(config: &Config, other: &Config) -> Result<(), Conflict> {
    for (own, there) in [(config, other), (other, config)] {
        let (own, there) = (&own.source, &there.source);
        if own.after != After::Move {
            continue;
        }
        let (archive, inbox, other) = (real(&own.archive()), real(&there.folder), real(&there.archive()));
        let is_listed =
            archive == inbox || lists(&inbox, there.subfolders, &archive) || lists(&archive, true, &inbox);
        let is_shared =
            there.after == After::Move && (archive.starts_with(&other) || other.starts_with(&archive));
        let what = match (is_listed, is_shared) {
            (true, _) => there.feed.setting("source.folder"),
            (_, true) => there.feed.setting("source.archive"),
            _ => continue,
        };
        let problem = format!("{}: moved files would be among the files of {what}", own.archive().display());
        return Err((
            own.feed.setting("source.archive"),
            problem,
            "name a folder that no other feed uses".to_owned(),
        ));
    }
    Ok(())
}
