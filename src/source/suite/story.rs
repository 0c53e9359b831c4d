//! Random changes of an inbox, compared with a model.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio_util::sync::CancellationToken;

use super::{Fixture, content, listed};
use crate::source::{Found, Retire, Source};

/// Something that happens in an inbox.
#[derive(Clone, Debug)]
enum Happens {
    Put(usize, Vec<u8>),
    Append(usize, Vec<u8>),
    Remove(usize),
    Retire(usize, bool),
}

const PATHS: [&str; 3] = ["a.csv", "b.csv", "sub/a.csv"];

fn happens() -> impl Strategy<Value = Happens> {
    let (path, bytes) = (0..PATHS.len(), prop::collection::vec(any::<u8>(), 0..8));
    prop_oneof![
        3 => (path.clone(), bytes.clone()).prop_map(|(path, bytes)| Happens::Put(path, bytes)),
        2 => (path.clone(), bytes).prop_map(|(path, bytes)| Happens::Append(path, bytes)),
        1 => path.clone().prop_map(Happens::Remove),
        2 => (path, any::<bool>()).prop_map(|(path, moved)| Happens::Retire(path, moved)),
    ]
}

/// After random changes, the listing has exactly the files of the model, and the archive has every file that was moved.
pub fn a_listing_is_that_of_the_model_after_random_changes<F: Fixture>() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new(config).run(&prop::collection::vec(happens(), 1..12), |story| {
        runtime.block_on(play::<F>(&story));
        Ok(())
    });
    ran.unwrap();
}

async fn play<F: Fixture>(story: &[Happens]) {
    let (fixture, mut files, mut moved) =
        (F::new(), [const { None::<Vec<u8>> }; 3], [const { Vec::new() }; 3]);
    let source = fixture.source();
    for happens in story {
        match happens {
            Happens::Put(path, bytes) => {
                fixture.put(PATHS[*path], bytes);
                files[*path] = Some(bytes.clone());
            }
            Happens::Append(path, bytes) if source.can_grow() => {
                if let Some(file) = &mut files[*path] {
                    fixture.append(PATHS[*path], bytes);
                    file.extend(bytes);
                }
            }
            Happens::Append(..) => {}
            Happens::Remove(path) => {
                if files[*path].take().is_some() {
                    fixture.remove(PATHS[*path]);
                }
            }
            Happens::Retire(path, is_moved) => {
                let Some(found) = source.look(&PATHS[*path].into()).await else { continue };
                let how = if *is_moved { Retire::Move } else { Retire::Delete };
                let left = source.retire(vec![found], how, CancellationToken::new()).await;
                assert!(matches!(left.as_slice(), [Ok(())]), "{left:?}");
                moved[*path].extend(files[*path].take().filter(|_| *is_moved));
            }
        }
    }
    let source = fixture.source();
    let there = PATHS.iter().zip(&files).filter_map(|(path, file)| Some((*path, file.clone()?)));
    let mut found = Vec::new();
    for Found { file, noted } in listed(&source).await {
        let bytes = content(&source, &file).await;
        assert_eq!(usize::try_from(noted.size), Ok(bytes.len()));
        found.push((file.path().to_owned(), bytes));
    }
    assert_eq!(found, there.map(|(path, bytes)| (path.to_owned(), bytes)).collect::<Vec<_>>());
    for (path, mut expected) in PATHS.iter().zip(moved) {
        let mut copies = Vec::new();
        for copy in source.copies(&(*path).into(), Default::default()).await {
            copies.push(content(&source, &copy).await);
        }
        copies.sort();
        expected.sort();
        assert_eq!(copies, expected, "{path}");
    }
}
