//! Tests of the Cassandra store with the real program, on the real node that `NEEDLEDROP_TEST_CASSANDRA` names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/answers.rs"]
mod answers;
#[path = "common/newest.rs"]
mod newest_stories;
#[path = "common/ordered.rs"]
mod ordered;
#[path = "common/steps.rs"]
mod steps;
#[path = "common/stories.rs"]
mod stories;
#[path = "common/trades.rs"]
mod trades;
#[path = "common/two_feeds.rs"]
mod two_feeds;
#[path = "undo/model.rs"]
mod undo_model;
#[path = "common/upgrade.rs"]
mod upgrade;
#[path = "common/writer.rs"]
mod writer;

#[path = "cassandra/place.rs"]
mod place;
#[path = "cassandra/proxy.rs"]
mod proxy;
#[path = "cassandra/wire.rs"]
mod wire;

#[path = "cassandra/altered.rs"]
mod altered;
#[path = "cassandra/assumed.rs"]
mod assumed;
#[path = "cassandra/changes.rs"]
mod changes;
#[path = "cassandra/checked.rs"]
mod checked;
#[path = "cassandra/collections.rs"]
mod collections;
#[path = "cassandra/commands.rs"]
mod commands;
#[path = "cassandra/connection.rs"]
mod connection;
#[path = "cassandra/crash.rs"]
mod crash;
#[path = "cassandra/declared.rs"]
mod declared;
#[path = "cassandra/estimates.rs"]
mod estimates;
#[path = "cassandra/feeds.rs"]
mod feeds;
#[path = "cassandra/growth.rs"]
mod growth;
#[path = "cassandra/late.rs"]
mod late;
#[path = "cassandra/many.rs"]
mod many;
#[path = "cassandra/migration.rs"]
mod migration;
#[path = "cassandra/newest.rs"]
mod newest;
#[path = "cassandra/order.rs"]
mod order;
#[path = "cassandra/quarantine.rs"]
mod quarantine;
#[path = "cassandra/real_files.rs"]
mod real_files;
#[path = "cassandra/replaced.rs"]
mod replaced;
#[path = "cassandra/refused.rs"]
mod refused;
#[path = "cassandra/sending.rs"]
mod sending;
#[path = "cassandra/stamps.rs"]
mod stamps;
#[path = "cassandra/standby.rs"]
mod standby;
#[path = "cassandra/story.rs"]
mod story;
#[path = "cassandra/undone.rs"]
mod undone;
#[path = "cassandra/values.rs"]
mod values;
#[path = "cassandra/verified.rs"]
mod verified;
#[path = "cassandra/written.rs"]
mod written;
