//! The suite for sources, and tests with links that replace a file or its folder between a check and an action.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SHIPPED, SourceConfig};
use crate::domain::Feed;
use crate::source::folder::archive::Archive;
use crate::source::folder::file::note;
use crate::source::folder::inbox::Inbox;
use crate::source::folder::move_or_delete::{Retirer, Way};
use crate::source::folder::openat_path::{Within, file};
use crate::source::folder::settings::Settings;
use crate::source::suite::{Fixture, source_suite};
use crate::source::{Found, Retire, Source, Stays};

/// Creates an inbox whose folder `sub` was replaced by a link to a folder outside. That folder contains the same file.
fn turned() -> (TempDir, Found) {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    ["inbox", "outside", "archive"].iter().for_each(|name| fs::create_dir(at(name)).unwrap());
    fs::write(at("outside/a.csv"), "bytes").unwrap();
    symlink(at("outside"), at("inbox/sub")).unwrap();
    let noted = note(&fs::metadata(at("outside/a.csv")).unwrap());
    (dir, Found { file: "sub/a.csv".into(), noted })
}

fn away(dir: &Path, way: Way) -> Retirer {
    Retirer { inbox: dir.join("inbox"), way, halt: CancellationToken::new() }
}

#[test]
fn nothing_outside_is_removed_or_moved_through_a_folder_that_became_a_link() {
    let (dir, leaving) = turned();
    let shipped: Config = serde_saphyr::from_str(SHIPPED).unwrap();
    let archive = Some(dir.path().join("archive"));
    let archive = Archive::new(SourceConfig { archive, ..shipped.source }.archive());
    for way in [Way::Delete, Way::Move(Arc::new(archive))] {
        let outcomes = away(dir.path(), way).all(std::slice::from_ref(&leaving));
        let error = outcomes.into_iter().next().unwrap().unwrap_err().to_string();
        assert!(error.ends_with("is a symbolic link or not a folder, and links are not followed"), "{error}");
        assert!(dir.path().join("outside/a.csv").exists());
    }
}

#[test]
fn a_place_stays_in_its_open_folder_even_if_another_takes_its_name() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    ["inbox", "inbox/sub", "outside"].iter().for_each(|name| fs::create_dir(at(name)).unwrap());
    fs::write(at("inbox/sub/a.csv"), "inside").unwrap();
    fs::write(at("outside/a.csv"), "outside").unwrap();
    let held = Within::of(&at("inbox"), "sub/a.csv").unwrap();
    fs::rename(at("inbox/sub"), at("inbox/was")).unwrap();
    symlink(at("outside"), at("inbox/sub")).unwrap();
    assert_eq!(fs::read_to_string(held.place()).unwrap(), "inside");
    fs::remove_file(held.place()).unwrap();
    assert!(at("outside/a.csv").exists() && !at("inbox/was/a.csv").exists());
    for out in ["../outside/a.csv", "/etc/passwd", "sub/../../outside/a.csv", ""] {
        assert!(Within::of(&at("inbox"), out).is_err(), "{out}");
    }
}

#[test]
fn links_are_not_followed_and_pipes_are_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    fs::write(at("secret"), "secret").unwrap();
    symlink(at("secret"), at("link")).unwrap();
    assert!(file(&at("link")).is_err() && file(&at("secret")).is_ok());
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // Opening a pipe returns immediately.
    assert!(file(&at("pipe")).is_ok());
}

#[tokio::test]
async fn a_pipe_that_replaced_a_file_is_not_read() {
    use crate::source::folder::file::FolderFile;
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe.csv");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let opened = tokio::time::timeout(std::time::Duration::from_secs(5), FolderFile::open(&pipe));
    let error = opened.await.unwrap().err().unwrap();
    assert_eq!(error.to_string(), "it is not a regular file");
}

/// A folder whose archive is in it.
struct Dropped(TempDir);

impl Dropped {
    fn place(&self, path: &str) -> PathBuf {
        let place = self.0.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }
}

impl Fixture for Dropped {
    type Source = Inbox;

    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn source_of(&self, feed: Feed) -> Inbox {
        let shipped: Config = serde_saphyr::from_str(SHIPPED).unwrap();
        Inbox::new(&SourceConfig { folder: self.0.path().to_owned(), feed, ..shipped.source }.folder())
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        fs::write(self.place(".put"), bytes).unwrap();
        fs::rename(self.place(".put"), self.place(path)).unwrap();
    }

    fn append(&self, path: &str, bytes: &[u8]) {
        fs::OpenOptions::new().append(true).open(self.place(path)).unwrap().write_all(bytes).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.place(path)).unwrap();
    }

    /// The clock of the file system may stand still for some milliseconds.
    fn tick(&self) {
        std::thread::sleep(Duration::from_millis(30));
    }
}

source_suite!(Dropped);

#[tokio::test]
async fn a_named_feed_has_a_folder_of_its_own_in_the_archive() {
    for (name, place) in [("", ".archive/sub/a.csv"), ("clicks", ".archive/clicks/sub/a.csv")] {
        let inbox = Dropped::new();
        inbox.put("sub/a.csv", b"1");
        let source = inbox.source_of(Feed::named(name).unwrap_or_default());
        let files = source.list().unwrap().files;
        assert_eq!((files[0].file.feed(), files[0].file.path()), (name, "sub/a.csv"));
        let left = Source::retire(&source, files, Retire::Move, CancellationToken::new()).await;
        assert!(left[0].is_ok() && inbox.0.path().join(place).is_file(), "{left:?}");
    }
}

/// The same file has the same key, however a user writes its path.
#[test]
fn repeated_slashes_make_no_other_key() {
    let inbox = Dropped::new();
    inbox.put("sub/a.csv", b"1");
    let source = inbox.source();
    assert_eq!(source.look_at(&source.place("sub//a.csv")).unwrap().file.text(), "sub/a.csv");
    assert!(source.typed(Path::new("sub//a.csv")).contains(&"sub/a.csv".into()));
}

/// The folder of one feed was replaced by a link to the inbox of another after its files were listed.
#[tokio::test]
async fn nothing_leaves_an_inbox_that_became_that_of_another_feed() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    ["a", "b"].iter().for_each(|name| fs::create_dir(at(name)).unwrap());
    let settings = |name: &str, other: &str| {
        let feed = |name: &str| Feed::named(name).unwrap();
        let shipped: Config = serde_saphyr::from_str(SHIPPED).unwrap();
        let own = SourceConfig { folder: at(name), feed: feed(name), ..shipped.source };
        let other = SourceConfig { folder: at(other), feed: feed(other), ..own.clone() };
        Settings { others: vec![other.inbox()], ..own.folder() }
    };
    let (a, b) = (Inbox::new(&settings("a", "b")), Inbox::new(&settings("b", "a")));
    fs::write(at("a/x.csv"), "bytes").unwrap();
    fs::remove_dir(at("b")).unwrap();
    symlink(at("a"), at("b")).unwrap();
    let [of_a, of_b] = [&a, &b].map(|inbox| inbox.look_at(&inbox.place("x.csv")).unwrap());
    assert!(a.list().is_ok(), "its folder is what it was");
    let error = b.list().unwrap_err().to_string();
    assert!(error.contains("feeds.a.source.folder"), "{error}");
    for how in [Retire::Delete, Retire::Move] {
        let stays = Source::retire(&b, vec![of_b.clone()], how, CancellationToken::new()).await;
        assert!(matches!(&stays[..], [Err(Stays::Busy(_))]), "{stays:?}");
        assert!(at("a/x.csv").is_file());
    }
    let left = Source::retire(&a, vec![of_a], Retire::Delete, CancellationToken::new()).await;
    assert!(left[0].is_ok() && !at("a/x.csv").exists(), "{left:?}");
}
