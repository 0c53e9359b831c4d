//! A source in memory, for tests of code that reads from a source. Its operations can be made to fail, and its files may
//! grow or not.

mod file;
mod tests;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use file::MemoryFile;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::domain::{Feed, FileKey, FileStat};
use crate::source::left_out::LeftOut;
use crate::source::one_feed::OneFeed;
use crate::source::{Events, Found, Retire, Signal, Stays};

/// A source in memory. Clones share the files.
#[derive(Clone, Debug)]
pub struct Memory {
    feed: Feed,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Content>,
    /// The moved files, by the path of the copy. The value has the path in the inbox too.
    moved: BTreeMap<String, (String, Content)>,
    /// The time of the next change. It only grows, so no two versions are equal.
    clock: i64,
    fixed: bool,
    /// How many of the next operations fail.
    failures: u32,
    /// Whether no file that is opened ever answers.
    hangs: bool,
    watchers: Vec<Sender<Signal>>,
}

/// The content of one file. An open file keeps it even if the path gets other content.
type Content = Arc<Mutex<(Vec<u8>, FileStat)>>;

/// How old a file is when it is written. Its times can be trusted at once.
const AGE: Duration = Duration::from_secs(3600);

/// The maximum number of waiting events. Later events are lost, as can happen with a real source.
const EVENTS: usize = 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Memory {
    /// Returns a source whose files can grow.
    pub fn growing() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let clock = i64::try_from((now - AGE).as_nanos()).unwrap();
        let state = Arc::new(Mutex::new(State { clock, ..State::default() }));
        Self { feed: Feed::default(), state }
    }

    /// Returns a source whose files only come, go and are replaced, as in an object store. It reports no changes.
    pub fn fixed() -> Self {
        let memory = Self::growing();
        lock(&memory.state).fixed = true;
        memory
    }

    /// Returns the same files as those of another feed.
    pub fn of(self, feed: Feed) -> Self {
        Self { feed, ..self }
    }

    fn key(&self, path: &str) -> FileKey {
        FileKey::new(&self.feed, path)
    }

    /// Makes the next operations fail.
    pub fn fail(&self, times: u32) {
        lock(&self.state).failures = times;
    }

    /// Lets no file answer from now on, like a network share that is away.
    pub fn hang(&self) {
        lock(&self.state).hangs = true;
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        let mut state = lock(&self.state);
        let noted = state.version(bytes.len());
        state.files.insert(path.to_owned(), Arc::new(Mutex::new((bytes.to_vec(), noted))));
        state.report(&Signal::Complete(self.key(path)));
    }

    pub fn append(&self, path: &str, bytes: &[u8]) {
        let mut state = lock(&self.state);
        let content = Arc::clone(&state.files[path]);
        let mut content = lock(&content);
        content.0.extend(bytes);
        content.1 = state.version(content.0.len());
        state.report(&Signal::Changing(self.key(path)));
    }

    pub fn remove(&self, path: &str) {
        lock(&self.state).files.remove(path);
    }

    /// Returns an error if a test asked for one with [`Self::fail`].
    fn works(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        match state.failures.checked_sub(1) {
            None => Ok(state),
            Some(left) => {
                state.failures = left;
                Err(io::Error::other("a failure that the test asked for"))
            }
        }
    }
}

impl State {
    fn version(&mut self, size: usize) -> FileStat {
        self.clock += 1;
        FileStat { size: size as u64, mtime: self.clock, ctime: self.clock }
    }

    fn report(&mut self, signal: &Signal) {
        let is_open = |watcher: &Sender<Signal>| {
            !matches!(watcher.try_send(signal.clone()), Err(TrySendError::Closed(_)))
        };
        self.watchers.retain(is_open);
    }

    fn content(&self, path: &str) -> Option<&Content> {
        self.files.get(path).or_else(|| self.moved.get(path).map(|(_, content)| content))
    }

    fn retire(&mut self, found: &Found, how: Retire) -> Result<(), Stays> {
        let path = found.file.path();
        let noted = lock(self.files.get(path).ok_or(Stays::Gone)?).1;
        if noted != found.noted {
            return Err(Stays::Busy("it has changed since it was loaded"));
        }
        let content = self.files.remove(path);
        if let (Retire::Move, Some(content)) = (how, content) {
            let copy = format!("moved/{}/{path}", self.moved.len());
            self.moved.insert(copy, (path.to_owned(), content));
        }
        Ok(())
    }
}

impl OneFeed for Memory {
    type File = MemoryFile;
    type Events = MemoryEvents;

    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn can_grow(&self) -> bool {
        !lock(&self.state).fixed
    }

    fn is_in_inbox(&self, path: &str) -> bool {
        !path.starts_with("moved/")
    }

    async fn each(&self, found: &mut (dyn FnMut(Found) + Send)) -> io::Result<LeftOut> {
        let files = self.works()?.files.clone();
        for (path, content) in files {
            found(Found { file: self.key(&path), noted: lock(&content).1 });
        }
        Ok(LeftOut::default())
    }

    async fn look(&self, path: &str) -> Option<Found> {
        let noted = lock(lock(&self.state).content(path)?).1;
        Some(Found { file: self.key(path), noted })
    }

    async fn may_exist(&self, path: &str) -> bool {
        self.look(path).await.is_some()
    }

    async fn open(&self, path: &str, offset: u64) -> io::Result<MemoryFile> {
        let hangs = lock(&self.state).hangs;
        if hangs {
            std::future::pending::<()>().await;
        }
        let content = self.works()?.content(path).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(MemoryFile::new(self.clone(), content, offset))
    }

    fn find_again(&mut self, events: Option<&MemoryEvents>) -> impl Future<Output = bool> + Send {
        std::future::ready(events.is_some() || !self.can_grow())
    }

    async fn watch(&self) -> io::Result<Option<MemoryEvents>> {
        let mut state = self.works()?;
        let (watcher, signals) = mpsc::channel(EVENTS);
        state.watchers.push(watcher);
        Ok((!state.fixed).then_some(MemoryEvents(signals)))
    }

    async fn retire(&self, files: Vec<Found>, how: Retire, _: CancellationToken) -> Vec<Result<(), Stays>> {
        files.iter().map(|found| self.works()?.retire(found, how)).collect()
    }

    async fn sweep(&self) -> io::Result<()> {
        Ok(())
    }

    fn remedy(&self, _: Retire) -> String {
        "make room".to_owned()
    }

    async fn copies(&self, path: &str, noted: FileStat) -> Vec<FileKey> {
        let state = lock(&self.state);
        let mut copies: Vec<_> = state.moved.iter().filter(|(_, (origin, _))| origin == path).collect();
        copies.sort_by_key(|(_, (_, content))| lock(content).1 != noted);
        copies.into_iter().map(|(copy, _)| self.key(copy)).collect()
    }

    fn origins(&self, path: &str) -> Vec<FileKey> {
        lock(&self.state).moved.get(path).map(|(origin, _)| self.key(origin)).into_iter().collect()
    }
}

/// The changes of a [`Memory`].
#[derive(Debug)]
pub struct MemoryEvents(Receiver<Signal>);

impl Events for MemoryEvents {
    async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    fn gaps(&self) -> Option<String> {
        None
    }
}
