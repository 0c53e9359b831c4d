//! A source in memory, for tests of what reads from a source. It can also fail, and be one whose files do not grow.

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

use crate::domain::FileStat;
use crate::source::{Events, Found, Retire, Signal, Source, Stays};

/// A source in memory. Clones share the files.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<State>>);

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
    watchers: Vec<Sender<Signal>>,
}

/// The content of one file. An open file shares it even after its path got another content.
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
        Self(Arc::new(Mutex::new(State { clock, ..State::default() })))
    }

    /// Returns a source whose files only come, go and are replaced, as in an object store. It reports no changes.
    pub fn fixed() -> Self {
        let memory = Self::growing();
        lock(&memory.0).fixed = true;
        memory
    }

    /// Lets the next operations that can fail do so.
    pub fn fail(&self, times: u32) {
        lock(&self.0).failures = times;
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        let mut state = lock(&self.0);
        let noted = state.version(bytes.len());
        state.files.insert(path.to_owned(), Arc::new(Mutex::new((bytes.to_vec(), noted))));
        state.report(&Signal::Complete(path.to_owned()));
    }

    pub fn append(&self, path: &str, bytes: &[u8]) {
        let mut state = lock(&self.0);
        let content = Arc::clone(&state.files[path]);
        let mut content = lock(&content);
        content.0.extend(bytes);
        content.1 = state.version(content.0.len());
        state.report(&Signal::Changing(path.to_owned()));
    }

    pub fn remove(&self, path: &str) {
        lock(&self.0).files.remove(path);
    }

    /// Fails if a failure was asked for.
    fn works(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.0);
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

    fn retire(&mut self, file: &Found, how: Retire) -> Result<(), Stays> {
        let noted = lock(self.files.get(&*file.path).ok_or(Stays::Gone)?).1;
        if noted != file.noted {
            return Err(Stays::Busy("it has changed since it was loaded"));
        }
        let content = self.files.remove(&*file.path);
        if let (Retire::Move, Some(content)) = (how, content) {
            let copy = format!("moved/{}/{}", self.moved.len(), file.path);
            self.moved.insert(copy, (file.path.to_string(), content));
        }
        Ok(())
    }
}

impl Source for Memory {
    type File = MemoryFile;
    type Events = MemoryEvents;

    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn can_grow(&self) -> bool {
        !lock(&self.0).fixed
    }

    fn is_in_inbox(&self, path: &str) -> bool {
        !path.starts_with("moved/")
    }

    async fn each(&self, found: &mut (dyn FnMut(Found) + Send)) -> io::Result<()> {
        let files = self.works()?.files.clone();
        for (path, content) in files {
            found(Found { path: path.into(), noted: lock(&content).1 });
        }
        Ok(())
    }

    async fn look(&self, path: &str) -> Option<Found> {
        let noted = lock(lock(&self.0).content(path)?).1;
        Some(Found { path: path.into(), noted })
    }

    async fn may_exist(&self, path: &str) -> bool {
        self.look(path).await.is_some()
    }

    async fn open(&self, path: &str, offset: u64) -> io::Result<MemoryFile> {
        let content = self.works()?.content(path).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(MemoryFile::new(self.clone(), content, offset))
    }

    fn find_again(&mut self, events: Option<&MemoryEvents>) -> bool {
        events.is_some() || !self.can_grow()
    }

    fn watch(&self) -> io::Result<Option<MemoryEvents>> {
        let mut state = self.works()?;
        let (watcher, signals) = mpsc::channel(EVENTS);
        state.watchers.push(watcher);
        Ok((!state.fixed).then_some(MemoryEvents(signals)))
    }

    async fn retire(&self, files: Vec<Found>, how: Retire, _: CancellationToken) -> Vec<Result<(), Stays>> {
        files.iter().map(|file| self.works()?.retire(file, how)).collect()
    }

    async fn sweep(&self) -> io::Result<()> {
        Ok(())
    }

    fn remedy(&self, _: Retire) -> String {
        "make room".to_owned()
    }

    async fn copies(&self, path: &str, noted: FileStat) -> Vec<String> {
        let state = lock(&self.0);
        let mut copies: Vec<_> = state.moved.iter().filter(|(_, (origin, _))| origin == path).collect();
        copies.sort_by_key(|(_, (_, content))| lock(content).1 != noted);
        copies.into_iter().map(|(copy, _)| copy.clone()).collect()
    }

    fn origins(&self, path: &str) -> Vec<String> {
        lock(&self.0).moved.get(path).map(|(origin, _)| origin.clone()).into_iter().collect()
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
