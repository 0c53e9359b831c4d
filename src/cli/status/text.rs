//! The status as text.

use std::io::Write;

use serde_json::Value as Json;

use crate::cli::status::counted::{NEWEST, Status};
use crate::cli::status::{json, verified};
use crate::cli::{feed, left_out, render};
use crate::daemon::app::App;
use crate::domain::undo;

/// Writes a line for each feed, if there are several or if the ledger has another one.
fn feeds(status: &Status, app: &App, out: &mut impl Write) -> std::io::Result<()> {
    let is_declared = |name: &str| app.feeds.iter().any(|(feed, _)| feed.name() == name);
    let are_all = status.feeds.keys().all(|name| is_declared(name));
    if let (true, 1, Some(feed)) = (are_all, app.feeds.values().count(), app.feeds.values().next()) {
        return writeln!(out, "inbox    {}", feed.settings.folder.display());
    }
    for (name, feed) in json::feeds(status, app) {
        let name = if name.is_empty() { feed::NO_NAME.to_owned() } else { name };
        let states = feed["states"].as_object().cloned().unwrap_or_default();
        let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let states = if states.is_empty() { "nothing loaded yet".to_owned() } else { states.join(", ") };
        let open = match feed["quarantine"]["open"].as_u64() {
            None | Some(0) => String::new(),
            Some(open) => format!("; {} open in quarantine", render::grouped(open)),
        };
        let inbox = feed["inbox"].as_str().unwrap_or("not declared");
        let backlog = match (&feed["inbox"], feed["backlog"]["files"].as_u64()) {
            (Json::Null, _) => String::new(),
            (_, None) => "; its inbox cannot be read".to_owned(),
            (_, Some(files)) => format!("; backlog {files} files"),
        };
        writeln!(out, "feed     {name}: {inbox}; {states}{open}{backlog}")?;
    }
    Ok(())
}

/// Writes the status. With `all_generations`, also deliveries whose file has a newer one.
pub fn status(
    status: &Status,
    app: &App,
    all_generations: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    writeln!(out, "store    {}", app.config.store.name())?;
    feeds(status, app, out)?;
    let states: Vec<String> =
        status.states.counts().iter().map(|(state, count)| format!("{count} {state}")).collect();
    writeln!(
        out,
        "state    {}",
        if states.is_empty() { "nothing loaded yet".to_owned() } else { states.join(", ") }
    )?;
    match status.backlog.sum(None) {
        None => writeln!(out, "backlog  unknown: the inbox cannot be read")?,
        Some((files, bytes)) => writeln!(out, "backlog  {files} files, {}", bytesize::ByteSize(bytes))?,
    }
    for text in left_out::lines(&status.left_out) {
        writeln!(out, "left out {text}")?;
    }
    for text in status.undeclared.warnings() {
        writeln!(out, "warning  {text}")?;
    }
    for one in &status.interrupted {
        writeln!(out, "warning  {}: {}", one.file, undo::interrupted(one))?;
    }
    let all = &status.quarantine;
    if all.quarantined + all.replayed > 0 {
        let (open, discarded) = (render::grouped(all.open()), render::grouped(all.discarded));
        let replayed = render::grouped(all.replayed);
        writeln!(
            out,
            "quarantine  {open} open, {discarded} discarded; {replayed} replayed; see `needledrop quarantine list`"
        )?;
    }
    for text in verified::lines(status.verification.as_ref(), app) {
        writeln!(out, "verified {text}")?;
    }
    writeln!(out)?;
    tables(status, out)?;
    writeln!(out)?;
    newest(status, (all_generations, feed::are_several(app)), out)
}

fn tables(status: &Status, out: &mut impl Write) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = status
        .tables
        .iter()
        .map(|table| {
            let behind = match table.behind {
                0 => String::new(),
                n => format!("behind by {n} deliveries; run `needledrop load --table {}`", table.name),
            };
            let count = table.count.map(render::grouped).unwrap_or_default();
            vec![
                table.name.clone(),
                render::grouped(table.rows),
                render::collisions(table.collisions, table.estimated),
                count,
                behind,
            ]
        })
        .collect();
    let counted = status.tables.iter().any(|table| table.count.is_some());
    render::table(
        out,
        &["table", "rows written", "collisions", if counted { "rows now" } else { "" }, ""],
        &rows,
    )
}

/// Writes the newest deliveries, each with its feed if several are declared.
fn newest(
    status: &Status,
    (all_generations, with_feed): (bool, bool),
    out: &mut impl Write,
) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = status
        .newest
        .values()
        .rev()
        .filter(|delivery| all_generations || !status.states.is_history(delivery))
        .take(NEWEST)
        .map(|delivery| {
            let row = [
                delivery.file.to_string(),
                delivery.generation.to_string(),
                delivery.state.to_string(),
                render::grouped(delivery.receipt.records),
                render::grouped(delivery.receipt.quarantined),
                render::time(delivery.changed),
                delivery.detail.lines().next().or(delivery.remark()).unwrap_or_default().to_owned(),
            ];
            let feed = with_feed.then(|| feed::or_no_name(&delivery.file, feed::NO_NAME).to_owned());
            feed.into_iter().chain(row).collect()
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let names = ["newest", "generation", "state", "records", "quarantined", "changed", ""];
    let names: Vec<&str> = with_feed.then_some("feed").into_iter().chain(names).collect();
    render::table(out, &names, &rows)
}
