//! Chooses the feed that a command works on.

use std::path::{Path, PathBuf};

use crate::cli::outcome::Failure;
use crate::daemon::app::App;
use crate::domain::feed::title;
use crate::domain::{Feed, FileKey};
use crate::pipeline::feed_input::FeedInput;
use crate::source::backend::AnySource;
use crate::source::folder::inbox;

/// A declared feed.
pub type Declared = FeedInput<AnySource>;

/// Returns the feed with this name.
pub fn named<'a>(app: &'a App, name: &str) -> Result<&'a Declared, Failure> {
    let found = app.feeds.values().find(|feed| feed.plan.feed.name() == name);
    found.ok_or_else(|| {
        let problem = match name {
            "" => "no feed without a name is declared".to_owned(),
            name => format!("there is no feed `{name}`"),
        };
        Failure::usage(format!("{problem}\n  next: choose from {}", names(app)))
    })
}

/// Returns the feed named `asked`, if a name is given.
pub fn asked<'a>(app: &'a App, asked: Option<&str>) -> Result<Option<&'a Feed>, Failure> {
    asked.map(|name| named(app, name).map(|feed| &feed.plan.feed)).transpose()
}

/// Returns the feed named `asked`. Without a name, returns the only feed.
pub fn only<'a>(app: &'a App, asked: Option<&str>) -> Result<&'a Declared, Failure> {
    let mut all = app.feeds.values();
    match (asked, all.next(), all.next()) {
        (Some(name), ..) => named(app, name),
        (None, Some(only), None) => Ok(only),
        _ => Err(Failure::usage(format!(
            "there are several feeds\n  next: choose one with --feed: {}",
            names(app)
        ))),
    }
}

/// Returns the feed whose inbox or archive contains `place`. If no feed does, returns the feed named `asked` or the only
/// feed.
pub fn of_place<'a>(app: &'a App, place: &Path, asked: Option<&str>) -> Result<&'a Declared, Failure> {
    // An inbox that lists no subfolders may contain another inbox, and usually contains its own archive. The innermost
    // folder decides.
    let depth = |feed: &&Declared| {
        let folders = [&feed.source.folder, &feed.source.archive.folder];
        let having = folders.into_iter().filter(|folder| place.starts_with(folder));
        having.map(|folder| folder.components().count()).max()
    };
    let owner = app.feeds.values().filter(|feed| depth(feed).is_some()).max_by_key(depth);
    match (owner, asked) {
        (Some(owner), Some(name)) if owner.plan.feed.name() != named(app, name)?.plan.feed.name() => {
            Err(belongs(place, owner.plan.feed.name()))
        }
        (Some(owner), _) => Ok(owner),
        (None, asked) => only(app, asked),
    }
}

/// Returns the key that was typed, if it is written with its feed: `FEED//PATH`, or `//PATH` for the feed without a name.
pub fn key(typed: &Path) -> Option<FileKey> {
    let read = FileKey::from_text(typed.to_string_lossy());
    let has_feed = read.path() != read.text();
    has_feed.then(|| FileKey::new(&Feed::named(read.feed()).unwrap_or_default(), read.path()))
}

/// Says that a file is not one of the feed that was asked for.
pub fn belongs(file: &Path, feed: &str) -> Failure {
    Failure::usage(format!("{}: belongs to {}\n  next: leave --feed out", file.display(), title(feed)))
}

/// Returns the places that a typed path may mean: relative to the working directory, as a key with a feed, or relative to
/// an inbox.
pub fn places(app: &App, path: &Path, asked: Option<&str>) -> Result<Vec<PathBuf>, Failure> {
    // `.` and `..` are folders too, although they have no name of their own.
    let folder = path.canonicalize().ok().filter(|place| place.is_dir());
    let here: Vec<PathBuf> = folder.into_iter().chain(inbox::real_place(path)).collect();
    if let Some(place) = here.into_iter().find(|place| place.exists()) {
        return Ok(vec![place]);
    }
    let by_key = key(path).and_then(|key| Some(app.feeds.of(&key).ok()?.source.place(key.path())));
    if let Some(place) = by_key.filter(|place| place.exists()) {
        return Ok(vec![place]);
    }
    let asked = self::asked(app, asked)?;
    let feeds = app.feeds.values().filter(|feed| asked.is_none_or(|asked| *asked == feed.plan.feed));
    Ok(feeds.map(|feed| feed.source.folder.join(path)).filter(|place| place.exists()).collect())
}

/// Returns the feed in a path that is the key of a file, if this feed is not declared.
pub fn undeclared(app: &App, path: &Path) -> Option<String> {
    let key = FileKey::from_text(path.to_string_lossy());
    (!key.feed().is_empty() && app.feeds.of(&key).is_err()).then(|| key.feed().to_owned())
}

/// What a listing for people shows instead of an empty name.
pub const NO_NAME: &str = "(no name)";

/// Returns the name of the feed of a file, or `no_name` if it is empty.
pub fn or_no_name<'f>(file: &'f FileKey, no_name: &'f str) -> &'f str {
    Some(file.feed()).filter(|name| !name.is_empty()).unwrap_or(no_name)
}

/// Whether more than one feed is declared, so that a listing names the feed of each line.
pub fn are_several(app: &App) -> bool {
    app.feeds.values().nth(1).is_some()
}

/// Returns the names of all feeds, as they are typed.
pub fn names(app: &App) -> String {
    let shown = |feed: &Feed| match feed.is_named() {
        true => feed.to_string(),
        false => "\"\" (the feed without a name)".to_owned(),
    };
    app.feeds.iter().map(|(feed, _)| shown(feed)).collect::<Vec<_>>().join(", ")
}
