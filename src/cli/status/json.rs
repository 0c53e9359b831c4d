//! The status as JSON.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use crate::cli::status::counted::{OfFeed, Status};
use crate::cli::status::verified;
use crate::cli::{feed, left_out, render};
use crate::daemon::app::App;
use crate::domain::Feed;

/// Returns the status without its deliveries.
pub fn status(status: &Status, app: &App) -> Map<String, Json> {
    let tables: Map<String, Json> = status
        .tables
        .iter()
        .map(|table| {
            let counts = json!({
                "rows_written": table.rows,
                "collisions": table.collisions,
                "estimated": table.estimated,
                "behind": table.behind,
                "count": table.count,
            });
            (table.name.clone(), counts)
        })
        .collect();
    let backlog = status.backlog.sum(None).map(|(files, bytes)| json!({ "files": files, "bytes": bytes }));
    let inbox = feed::only(app, status.asked.as_ref().map(Feed::name)).ok();
    let inbox = inbox.map(|feed| &feed.settings.folder);
    let fields = json!({
        "store": app.config.store.name(),
        "inbox": inbox,
        "feeds": feeds(status, app),
        "states": status.states.counts(),
        "backlog": backlog,
        "left_out": left_out::json(&status.left_out),
        "quarantine": render::quarantine(&status.quarantine),
        "interrupted_undos": status.interrupted.iter().map(|one| one.file.text()).collect::<Vec<_>>(),
        "verified": status.verification.as_ref().map(verified::json),
        "tables": tables,
    });
    fields.as_object().cloned().unwrap_or_default()
}

/// Returns the part of each feed. A feed that is not declared has no inbox.
pub fn feeds(status: &Status, app: &App) -> Map<String, Json> {
    let none = OfFeed::default();
    let of_feed = |name: &str| {
        let inbox = app.feeds.values().find(|feed| feed.plan.feed.name() == name);
        let backlog = status.backlog.sum(Some(name)).filter(|_| inbox.is_some());
        let OfFeed { states, quarantine } = status.feeds.get(name).unwrap_or(&none);
        json!({
            "declared": inbox.is_some(),
            "inbox": inbox.map(|feed| &feed.settings.folder),
            "states": states.counts(),
            "backlog": backlog.map(|(files, bytes)| json!({ "files": files, "bytes": bytes })),
            "quarantine": render::quarantine(quarantine),
        })
    };
    let declared = app.feeds.iter().map(|(feed, _)| feed);
    let declared = declared.filter(|feed| status.asked.as_ref().is_none_or(|asked| asked == *feed));
    let declared = declared.map(Feed::name);
    let names: BTreeSet<&str> = declared.chain(status.feeds.keys().map(String::as_str)).collect();
    names.into_iter().map(|name| (name.to_owned(), of_feed(name))).collect()
}
