//! Files that leave the inbox.

use tokio_util::sync::CancellationToken;

use super::{Fixture, content, listed};
use crate::source::{Found, Retire, Source, Stays};

async fn retire(source: &impl Source, files: Vec<Found>, how: Retire) -> Vec<Result<(), Stays>> {
    source.sweep().await.unwrap();
    source.retire(files, how, CancellationToken::new()).await
}

pub async fn a_moved_file_is_found_by_its_path<F: Fixture>() {
    let fixture = F::new();
    fixture.put("a.csv", b"1");
    fixture.put("sub/b.csv", b"2");
    let files = listed(&fixture.source()).await;
    let outcomes = retire(&fixture.source(), files.clone(), Retire::Move).await;
    assert!(matches!(outcomes.as_slice(), [Ok(()), Ok(())]), "{outcomes:?}");
    let source = fixture.source();
    assert_eq!(listed(&source).await, []);
    for (Found { file, noted }, bytes) in files.iter().zip([b"1", b"2"]) {
        assert!(source.look(file).await.is_none());
        let copies = source.copies(file, *noted).await;
        let [copy] = copies.as_slice() else { panic!("{copies:?}") };
        assert_eq!(content(&source, copy).await, bytes);
        assert!(source.origins(copy).contains(file));
        assert!(!source.is_in_inbox(copy) && source.origins(file).is_empty());
    }
}

pub async fn moved_files_of_one_name_are_all_kept<F: Fixture>() {
    let fixture = F::new();
    let mut versions = Vec::new();
    for bytes in [b"first".as_slice(), b"the second"] {
        fixture.put("a.csv", bytes);
        let files = listed(&fixture.source()).await;
        versions.push(files[0].noted);
        assert!(retire(&fixture.source(), files, Retire::Move).await[0].is_ok());
        fixture.tick();
    }
    let source = fixture.source();
    for (version, bytes) in versions.into_iter().zip([b"first".as_slice(), b"the second"]) {
        let copies = source.copies(&"a.csv".into(), version).await;
        assert_eq!(copies.len(), 2);
        assert_eq!(content(&source, &copies[0]).await, bytes, "the most likely one comes first");
    }
}

pub async fn a_deleted_file_has_no_copy<F: Fixture>() {
    let fixture = F::new();
    fixture.put("a.csv", b"1");
    let files = listed(&fixture.source()).await;
    assert!(retire(&fixture.source(), files.clone(), Retire::Delete).await[0].is_ok());
    let source = fixture.source();
    assert!(!source.may_exist(&files[0].file).await);
    assert_eq!(source.copies(&files[0].file, files[0].noted).await, []);
}

pub async fn only_unchanged_files_leave<F: Fixture>() {
    for how in [Retire::Move, Retire::Delete] {
        let fixture = F::new();
        ["a.csv", "b.csv", "c.csv", "d.csv"].iter().for_each(|path| fixture.put(path, b"1"));
        let files = listed(&fixture.source()).await;
        fixture.tick();
        fixture.put("b.csv", b"2");
        fixture.remove("c.csv");
        let outcomes = retire(&fixture.source(), files, how).await;
        let expected = matches!(outcomes.as_slice(), [Ok(()), Err(Stays::Busy(_)), Err(Stays::Gone), Ok(())]);
        assert!(expected, "{how:?}: {outcomes:?}");
        assert_eq!(content(&fixture.source(), &"b.csv".into()).await, b"2");
    }
}
