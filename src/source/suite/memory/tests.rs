//! The suite, on both kinds of files.

use super::Memory;
use crate::domain::Feed;
use crate::source::Source;
use crate::source::suite::Fixture;

/// A source whose files can grow.
struct Growing(Memory);

/// A source whose files cannot grow.
struct Fixed(Memory);

macro_rules! fixture {
    ($name:ident, $new:ident) => {
        impl Fixture for $name {
            type Source = Memory;

            fn new() -> Self {
                Self(Memory::$new())
            }

            fn source_of(&self, feed: Feed) -> Memory {
                self.0.clone().of(feed)
            }

            fn put(&self, path: &str, bytes: &[u8]) {
                self.0.put(path, bytes);
            }

            fn append(&self, path: &str, bytes: &[u8]) {
                self.0.append(path, bytes);
            }

            fn remove(&self, path: &str) {
                self.0.remove(path);
            }

            fn tick(&self) {}
        }
    };
}
fixture!(Growing, growing);
fixture!(Fixed, fixed);

mod growing {
    crate::source::suite::source_suite!(super::Growing);
}

mod fixed {
    crate::source::suite::source_suite!(super::Fixed);
}

#[tokio::test]
async fn a_failure_is_returned_once_for_each_time_it_was_asked_for() {
    let memory = Memory::growing();
    memory.put("a.csv", b"1");
    memory.fail(2);
    assert!(memory.open(&"a.csv".into(), 0).await.is_err());
    assert!(memory.each(&mut |_| {}).await.is_err());
    assert!(memory.open(&"a.csv".into(), 0).await.is_ok());
}
