//! Listing, versions, reading and events.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::{Fixture, content, listed, rest};
use crate::domain::{Feed, FileKey};
use crate::source::{Events, Found, Retire, Signal, Source, SourceFile, Stays};

pub async fn every_file_is_listed_once_with_its_version<F: Fixture>() {
    let fixture = F::new();
    let source = fixture.source();
    assert_eq!(listed(&source).await, []);
    fixture.put("a.csv", b"1");
    fixture.put("sub/b.csv", b"22");
    let all = listed(&source).await;
    assert_eq!(all.iter().map(|found| found.file.path()).collect::<Vec<_>>(), ["a.csv", "sub/b.csv"]);
    for found in all {
        assert!(source.is_in_inbox(&found.file) && source.may_exist(&found.file).await);
        assert_eq!(source.look(&found.file).await, Some(found));
    }
}

pub async fn a_version_changes_with_the_bytes_and_only_then<F: Fixture>() {
    let fixture = F::new();
    let source = fixture.source();
    let version = async || source.look(&"a.csv".into()).await.unwrap().noted;
    fixture.put("a.csv", b"1,2");
    let first = version().await;
    assert_eq!(first.size, 3);
    assert_eq!(content(&source, &"a.csv".into()).await, b"1,2");
    assert_eq!(version().await, first, "reading changes nothing");
    fixture.tick();
    fixture.put("a.csv", b"1,3");
    let second = version().await;
    assert!(second != first && second.size == 3);
    assert_eq!(source.open(&"a.csv".into(), 0).await.unwrap().noted(), second);
}

pub async fn a_file_is_read_from_any_offset<F: Fixture>() {
    let fixture = F::new();
    let source = fixture.source();
    fixture.put("a.csv", b"0123456789");
    for offset in [0, 4, 10] {
        let file = source.open(&"a.csv".into(), offset).await.unwrap();
        let expected = b"0123456789".split_at(usize::try_from(offset).unwrap()).1;
        assert_eq!(file.position(), offset);
        assert_eq!(file.at(2, 3).await.unwrap(), b"234");
        assert_eq!(file.at(8, 9).await.unwrap(), b"89", "up to the end");
        assert_eq!(rest(&file).await.unwrap(), expected);
        assert_eq!(file.position(), 10);
        assert_eq!(rest(&file.again().await.unwrap()).await.unwrap(), b"0123456789");
    }
    let file = source.open(&"a.csv".into(), 3).await.unwrap();
    let mut all = Vec::new();
    file.reader().unwrap().read_to_end(&mut all).await.unwrap();
    assert_eq!((all.as_slice(), file.position()), (b"3456789".as_slice(), 10));
}

pub async fn an_open_file_never_has_the_bytes_of_another<F: Fixture>() {
    let fixture = F::new();
    let source = fixture.source();
    fixture.put("a.csv", b"old old");
    let file = source.open(&"a.csv".into(), 3).await.unwrap();
    fixture.tick();
    fixture.put("a.csv", b"new new");
    assert_eq!(content(&source, &"a.csv".into()).await, b"new new");
    for bytes in [file.again().await, Ok(file)] {
        let Ok(file) = bytes else { continue };
        let position = usize::try_from(file.position()).unwrap();
        assert!(rest(&file).await.is_ok_and(|bytes| bytes == b"old old"[position..]) || position == 0);
        assert!(file.at(0, 3).await.map_or(true, |bytes| bytes == b"old"));
    }
}

pub async fn appended_bytes_are_seen_and_read<F: Fixture>() {
    let fixture = F::new();
    let source = fixture.source();
    if !source.can_grow() {
        return;
    }
    fixture.put("a.csv", b"1\n");
    let mut file = source.open(&"a.csv".into(), 0).await.unwrap();
    assert_eq!(rest(&file).await.unwrap(), b"1\n");
    fixture.tick();
    fixture.append("a.csv", b"2\n");
    let now = file.look().await.unwrap();
    assert!(now != file.noted() && now.size == 4, "the version at opening is kept until it is replaced");
    file.note(now);
    assert_eq!(file.noted(), now);
    assert_eq!(rest(&file).await.unwrap(), b"2\n");
}

pub async fn a_missing_file_is_not_found<F: Fixture>() {
    let source = F::new().source();
    assert!(source.look(&"a.csv".into()).await.is_none() && !source.may_exist(&"a.csv".into()).await);
    let error = source.open(&"a.csv".into(), 0).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

/// An event may name the file, or say that a listing is needed.
pub async fn changes_are_reported<F: Fixture>() {
    let fixture = F::new();
    let mut source = fixture.source();
    let Some(mut events) = source.watch().await.unwrap() else { return };
    assert!(source.find_again(Some(&events)).await, "the inbox is still the same");
    fixture.put("a.csv", b"1");
    let reported = async {
        let complete = Signal::Complete("a.csv".into());
        while ![Signal::Unclear, complete.clone()].contains(&events.next().await) {}
    };
    tokio::time::timeout(Duration::from_secs(10), reported).await.unwrap();
}

/// A source of one feed knows nothing about the files of others, even if it has a file with the same path.
pub async fn a_file_of_another_feed_is_not_seen<F: Fixture>() {
    let feeds = ["", "one", "two"].map(|name| Feed::named(name).unwrap_or_default());
    for (own, other) in feeds.iter().zip(feeds.iter().cycle().skip(1)) {
        let fixture = F::new();
        fixture.put("a.csv", b"1");
        let source = fixture.source_of(own.clone());
        let [file, foreign] = [own, other].map(|feed| FileKey::new(feed, "a.csv"));
        let found = source.look(&file).await.unwrap();
        assert_eq!(listed(&source).await, std::slice::from_ref(&found));
        assert_eq!(found.file, file);
        assert!(!source.is_in_inbox(&foreign) && source.look(&foreign).await.is_none());
        assert!(source.may_exist(&foreign).await, "it cannot tell");
        assert_eq!(source.open(&foreign, 0).await.err().unwrap().kind(), std::io::ErrorKind::NotFound);
        let files = vec![Found { file: foreign.clone(), ..found.clone() }, found.clone()];
        let left = source.retire(files, Retire::Move, CancellationToken::new()).await;
        assert!(matches!(left.as_slice(), [Err(Stays::Busy(_)), Ok(())]), "{left:?}");
        let source = fixture.source_of(own.clone());
        assert_eq!(source.copies(&foreign, found.noted).await, []);
        let copies = source.copies(&file, found.noted).await;
        let [copy] = copies.as_slice() else { panic!("{copies:?}") };
        assert!(source.origins(copy).contains(&file));
        assert_eq!(source.origins(&FileKey::new(other, copy.path())), []);
    }
}
